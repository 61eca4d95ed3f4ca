"""The chroot of current libraries: where it comes from, when it counts as there, and that it leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import debian

CHROOT = HERE / "chroot"
MIRROR = "http://mirror.example/debian"
LINE = f"deb [arch=amd64 signed-by=/a.gpg] {MIRROR} bookworm main contrib # the archive\n"
STANZA = f"""# the archive
Types: deb deb-src
URIs: {MIRROR}
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /a.gpg
"""
OTHERS = "deb http://other.example/debian-security bookworm-security main\ndeb http://other.example/x bookworm stable\n"
DISABLED = STANZA.replace(MIRROR, "http://off.example/debian") + "Enabled: no\n"


def configuration(etc: Path, *, release: str, **files: str) -> Path:
    (etc / "apt/sources.list.d").mkdir(parents=True)
    (etc / "os-release").write_text(release)
    for name, text in files.items():
        path = etc / "apt/sources.list" if name == "main" else etc / "apt/sources.list.d" / name.replace("_", ".")
        path.write_text(text)
    return etc


DEBIAN = 'ID=debian\nVERSION_CODENAME="bookworm"\n'


@pytest.mark.parametrize(
    "files",
    [
        {"main": OTHERS + "#" + LINE.replace("mirror", "off") + LINE},
        {"main": "", "a_list": OTHERS, "b_list": LINE},
        {"debian_sources": STANZA},
        {"other_list": OTHERS, "debian_sources": DISABLED + "\n" + STANZA},
    ],
)
def test_the_mirror_is_apts(tmp_path: Path, files: dict[str, str]) -> None:
    assert debian.mirror(configuration(tmp_path, release=DEBIAN, **files)) == MIRROR


def test_another_distributions_mirror_is_no_debian(tmp_path: Path) -> None:
    release = "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n"
    line = "deb http://archive.example/ubuntu noble main\n"
    assert debian.mirror(configuration(tmp_path, release=release, main=line)) is None
    assert "://" in debian.default_mirror()


def chroot(*args: str, cache: Path, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "PATH": path}
    return subprocess.run([sys.executable, CHROOT, *args], env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def no_sid(tmp_path: Path) -> str:
    """A PATH where mmdebstrap fails after it has written something, as when sid cannot be installed."""
    programs = tmp_path / "programs"
    programs.mkdir()
    stand_in = programs / "mmdebstrap"
    stand_in.write_text(
        '#!/bin/sh\nfor argument; do case $argument in */root) mkdir -p "$argument/etc" ;; esac; done\n'
        "echo 'E: Unable to correct problems' >&2\nexit 25\n"
    )
    stand_in.chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


def test_what_cannot_be_made_is_skipped_with_the_reason(tmp_path: Path, no_sid: str) -> None:
    for _ in range(2):  # nor does what the first one left count
        done = chroot("make", cache=tmp_path, path=no_sid)
        assert done.returncode == 75
        assert done.stdout.startswith("skipped: mmdebstrap failed with status 25\nE: Unable to correct problems")
        assert list((tmp_path / "slipway/current").glob("*-*")) == []
    assert chroot("run", "true", cache=tmp_path).returncode == 1


def test_the_group_is_skipped_then(tmp_path: Path, no_sid: str) -> None:
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PATH": no_sid}
    command = [sys.executable, debian.ROOT / "scripts/test", "current"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "       E: Unable to correct problems\n" in done.stdout
    assert re.search(r"^0 passed, 0 failed, [1-9] skipped$", done.stdout, re.MULTILINE)


def test_an_unfinished_one_never_counts(tmp_path: Path) -> None:
    """Killed while it is made: nothing is cleaned up, and nothing is taken for complete."""
    programs = tmp_path / "programs"
    programs.mkdir()
    stand_in = programs / "mmdebstrap"
    stand_in.write_text(
        f'#!/bin/sh\nfor a; do case $a in */root) mkdir "$a"; : >{tmp_path}/begun;; esac; done\nexec sleep 60\n'
    )
    stand_in.chmod(0o755)
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PATH": f"{programs}:{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, CHROOT, "make"], env=env, stdout=subprocess.DEVNULL) as making:
        until(lambda: (tmp_path / "begun").exists())
        making.kill()
    assert [path.name for path in (tmp_path / "slipway/current").glob("chroot-*")] == []
    assert len(list((tmp_path / "slipway/current").glob("unfinished-*/root"))) == 1
    assert chroot("run", "true", cache=tmp_path).returncode == 1


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run_in_chroot(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, CHROOT, "run", *command], capture_output=True, text=True, check=False)


def test_a_command_runs_in_this_tree_with_its_status_and_changes_nothing() -> None:
    write = "test $PWD = $0 && test -x dev && echo new >/etc/written && cat /etc/written && exit 7"
    done = run_in_chroot("sh", "-c", write, str(debian.ROOT))
    assert (done.returncode, done.stdout, done.stderr) == (7, "new\n", "")
    assert run_in_chroot("test", "-e", "/etc/written").returncode == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_mount_and_no_process_is_left(tmp_path: Path, number: signal.Signals) -> None:
    """The process that ran the command is killed; the one in the chroot, and its namespace, go with it."""
    fifo = debian.ROOT / f"build-fifo-{os.getpid()}"  # the tree is what both see
    os.mkfifo(fifo)
    try:
        command = [sys.executable, CHROOT, "run", "sh", "-c", f"(setsid sh -c 'exec 3>{fifo}; sleep 600') & echo; wait"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
            reader = os.open(fifo, os.O_RDONLY)
            assert running.stdout and running.stdout.read(1) == b"\n"
            running.send_signal(number)
            assert os.read(reader, 1) == b""  # all that held its other end have gone
            os.close(reader)
    finally:
        fifo.unlink()
    assert [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "/slipway/current/" in line] == []


def test_the_given_h2o_wins_over_debians(tmp_path: Path) -> None:
    """Debian's headers and library are in the chroot, too."""
    (tmp_path / "include/h2o").mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    (tmp_path / "include/h2o.h").touch()
    (tmp_path / "include/h2o/version.h").write_text('#define H2O_VERSION "99.1"\n#define H2O_VERSION_MINOR 3\n')
    subprocess.run(["ar", "rc", tmp_path / "lib/libh2o-evloop.a"], check=True)
    folder = f"build-chroot-{os.getpid()}"
    configure = (
        f"scripts/configure {folder} -Dh2o_prefix=/opt/h2o -Dh2o_libdir=/opt/h2o/lib -Dtests=false && "
        f"grep ^Message: {folder}/configure.log && ninja -C {folder} -t commands demo | tail -n 1"
    )
    command = [sys.executable, CHROOT, "run", "--h2o", tmp_path, "sh", "-c", configure]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        shutil.rmtree(debian.ROOT / folder, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('Message: h2o "99.1" of /opt/h2o\n')
    assert "/opt/h2o/lib/libh2o-evloop.a" in done.stdout and "-lh2o-evloop" not in done.stdout
