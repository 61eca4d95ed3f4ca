"""scripts/logs: the lines of a service and of a trace, of `./dev up` and of a cluster."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from fake_cluster import Fake
from harness import ROOT

TRACE, OTHER = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"


def line(second: int, service: str, message: str, trace: str = TRACE, severity: str = "INFO") -> str:
    said = {
        "severity": severity,
        "time": f"2026-11-28T01:00:{second:02}.000000000Z",
        "message": message,
        "logging.googleapis.com/trace": f"projects/p/traces/{trace}",
        "serviceContext": {"service": service},
    }
    return json.dumps(said) + "\n"


def messages(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [json.loads(text)["message"] for text in done.stdout.splitlines()]


def plain(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The messages, and lines that are not JSON as they are."""
    return [json.loads(text)["message"] if text.startswith("{") else text for text in done.stdout.splitlines()]


def logs(*args: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts/logs", *args], env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """As `./dev up --replicas 2` leaves it: a part of a log that was full, and another service's."""
    folder = tmp_path / "data/log"
    folder.mkdir(parents=True)
    (folder / "notes.log.1").write_text(line(1, "notes", "first"))
    (folder / "notes.log").write_text(line(4, "notes", "fourth", OTHER, "ERROR"))
    (folder / "notes-2.log").write_text(line(2, "notes", "second"))
    (folder / "users.log").write_text("not JSON\n" + line(3, "users", "third") + "nor this\n")
    return tmp_path / "data"


def test_all_replicas_in_the_order_of_time(data: Path) -> None:
    assert messages(logs("notes", "--data", data)) == ["first", "second", "fourth"]


def test_a_trace_through_all_services(data: Path) -> None:
    assert messages(logs("all", "--data", data, "--trace", TRACE[:8].upper())) == ["first", "second", "third"]
    assert messages(logs("users", "--data", data, "--trace", TRACE)) == ["third"]
    assert logs("all", "--data", data, "--trace", "ff").returncode == 1


def test_errors(data: Path) -> None:
    assert messages(logs("all", "--data", data, "--errors")) == ["fourth"]


def test_what_is_no_line_of_a_service_keeps_its_place(data: Path) -> None:
    assert plain(logs("all", "--data", data)) == ["first", "second", "not JSON", "third", "nor this", "fourth"]


def test_no_logs(tmp_path: Path) -> None:
    done = logs("notes", "--data", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--cluster" in done.stderr
    assert logs("nosuch").returncode == 2


def test_readable_on_a_terminal(data: Path) -> None:
    primary, terminal = pty.openpty()
    subprocess.run([ROOT / "scripts/logs", "users", "--data", data], stdout=terminal, timeout=60, check=True)
    os.close(terminal)
    shown = os.read(primary, 65536).decode()
    os.close(primary)
    assert "INFO" in shown and "third" in shown and TRACE[:8] in shown and "{" not in shown


def test_a_cluster(tmp_path: Path) -> None:
    fake = Fake(tmp_path)

    def pod(name: str, service: str, printed: str, **more: str) -> dict[str, object]:
        labels = {"app.kubernetes.io/instance": "slipway", "app.kubernetes.io/name": service}
        return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "printed": printed, **more}

    fake.put(
        pod("notes-a", "notes", line(3, "notes", "third") + line(4, "notes", "fourth", OTHER)),
        pod("notes-b", "notes", line(1, "notes", "first"), previous=line(0, "notes", "before") + "it died\n"),
        pod("users-a", "users", line(2, "users", "second")),
        context="there",
    )
    env = fake.env | {"KUBECONTEXT": "there"}
    assert messages(logs("notes", "--cluster", env=env)) == ["first", "third", "fourth"]
    assert messages(logs("all", "--cluster", "--trace", TRACE, env=env)) == ["first", "second", "third"]
    previous = logs("notes", "--cluster", "--previous", env=env)  # notes-a has none
    assert (previous.returncode, plain(previous)) == (0, ["before", "it died"])
    assert previous.stderr == "logs: error: previous terminated container not found\n"
    assert logs("users", "--cluster", "--previous", env=env).returncode == 1
    refused = logs("notes", "--cluster", env=env | {"FAKE_REFUSES": "logs"})
    assert refused.returncode == 1 and "Unable to connect" in refused.stderr
