"""What a service says of its own death, and what scripts/symbolize makes of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness import BUILD, ROOT, Service

DEATHS = [signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT]


def die(service: Service, number: signal.Signals) -> dict:
    service.exit_status = None
    service.signal(number)
    assert service.wait() != 0
    (line,) = service.logs(message=f"crashed: {number.name}")
    # What sanitizers say of it is meant.
    for report in service.folder.glob("sanitizer*"):
        report.unlink()
    return line


@pytest.mark.parametrize("number", DEATHS, ids=lambda number: number.name)
def test_a_crash_is_reported_in_one_line(start, number: signal.Signals) -> None:
    service = start("demo")
    pid = service.process.pid
    line = die(service, number)
    assert line["severity"] == "CRITICAL"
    assert line["serviceContext"] == {"service": "demo", "version": (ROOT / "VERSION").read_text().strip()}
    report = line["crash"]
    assert (report["signal"], report["version"]) == (number.name, line["serviceContext"]["version"])
    assert (report["thread"], report["tid"]) == ("demo", pid)
    assert re.fullmatch("[0-9a-f]{40}", report["build_id"])
    assert "stderr" not in report  # nothing was written
    assert "address" not in report  # nothing was accessed
    assert all(re.fullmatch(r"[^+]+\+0x[0-9a-f]+|0x[0-9a-f]+", frame) for frame in report["frames"])
    assert any(frame.startswith("demo+") for frame in report["frames"])
    assert not service.logs(lambda line: "crash" in line and line["crash"] != report)


def test_lines_before_the_crash_are_not_lost(start) -> None:
    service = start("demo")
    die(service, signal.SIGABRT)
    assert service.logs(message="ready")


def test_the_first_process_of_a_pid_namespace_ends_too(start) -> None:
    """As of a container: the kernel keeps signals from it for which it has no handler."""
    alone = ["unshare", "--pid", "--fork"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no PID namespace can be made here")
    service = start("demo", prefix=alone)
    service.exit_status = None
    parent = service.process.pid
    os.kill(int(Path(f"/proc/{parent}/task/{parent}/children").read_text()), signal.SIGABRT)
    assert service.wait() != 0
    (line,) = service.logs(message="crashed: SIGABRT")
    assert line["crash"]["tid"] == 1
    for report in service.folder.glob("sanitizer*"):
        report.unlink()


def test_symbolize_names_the_lines(start, tmp_path: Path) -> None:
    service = start("demo")
    if "no symbols" in subprocess.run(["nm", service.program], capture_output=True, text=True, check=False).stderr:
        pytest.skip("the programs of images have their symbols elsewhere: tests/nix/test_build.py")
    line = die(service, signal.SIGABRT)
    log = tmp_path / "log"
    log.write_text(f"not JSON\n[1]\n{{}}\n{json.dumps(line)}\n")
    command = [ROOT / "scripts/symbolize", "--build", tmp_path, "--build", BUILD, log]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, *frames = done.stdout.splitlines()
    assert first.endswith("SIGABRT in thread demo") and "demo 0." in first
    source = [frame for frame in frames if re.search(r"main at .*src/demo/main\.c:\d+", frame)]
    assert len(source) == 1
    assert any(re.search(r"svc_signals_wait at .*src/lib/svc/signals\.c:\d+", frame) for frame in frames)


def test_symbolize_says_what_is_missing(tmp_path: Path) -> None:
    line = {
        "time": "t",
        "serviceContext": {"service": "demo"},
        "crash": {
            "signal": "SIGSEGV",
            "address": "0x8",
            "thread": "x",
            "version": "1",
            "build_id": "00",
            "frames": ["demo+0x1"],
        },
    }
    log = tmp_path / "log"
    log.write_text(json.dumps(line))
    command = [ROOT / "scripts/symbolize", "--build", BUILD, log]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "t demo 1: SIGSEGV at 0x8 in thread x",
        "  no program demo with build id 00 (--build)",
        "  #0  demo+0x1",
    ]
    log.write_text("{}\n")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "symbolize: no crash report\n")
