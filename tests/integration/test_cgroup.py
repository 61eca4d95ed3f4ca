"""What runs services in memory cgroups: cgroup.py."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import cgroup
from harness import START_S, Service

pytestmark = pytest.mark.limited

LIMIT = 32 << 20


def take(group: cgroup.Group, size: int) -> int:
    """The exit status of a process in the group that writes to so many bytes of memory."""
    command = [*group.prefix, sys.executable, "-c", f"bytearray(b'x') * {size}"]
    return subprocess.run(command, check=False, timeout=START_S).returncode


def test_a_process_beyond_the_limit_is_killed_and_counted() -> None:
    group = cgroup.make_or_skip(LIMIT)
    try:
        assert take(group, LIMIT // 4) == 0
        assert LIMIT // 4 < group.peak < LIMIT
        assert group.oom_kills == 0
        assert take(group, LIMIT * 4) == -signal.SIGKILL
        assert group.oom_kills == 1
    finally:
        group.remove()
    assert not group.folder.exists()


def test_a_group_is_removed_with_what_runs_in_it() -> None:
    group = cgroup.make_or_skip(LIMIT)
    command = [*group.prefix, "sh", "-c", "echo; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.read(1)  # it has been moved
        group.remove()
        assert process.wait(START_S) == -signal.SIGKILL
    assert not group.folder.exists()


def test_a_service_runs_with_the_limit_of_its_manifest(limited: Callable[..., Service]) -> None:
    demo = limited("demo")
    assert demo.memory.limit == cgroup.limit_of("demo")
    assert str(demo.process.pid) in (demo.memory.folder / "cgroup.procs").read_text().split()
    assert 0 < demo.memory.peak < demo.memory.limit


def test_quantities() -> None:
    assert [cgroup.quantity(text) for text in ("128Mi", "1Gi", "5M", "7")] == [128 << 20, 1 << 30, 5_000_000, 7]
    assert cgroup.limit_of("route-guide") == 128 << 20
    assert cgroup.settings_of("route-guide")["CHAT_MAX_BYTES"] == "16Mi"


def test_version_2_takes_the_nearest_group_that_may_have_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a folder that has the files of version 2, because a machine has only one version."""
    for name in (".", "system", "system/job"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("memory pids\n" if name != "system/job" else "pids\n")
        (folder / "cgroup.subtree_control").write_text("pids\n")
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path)
    monkeypatch.setattr(cgroup, "own_groups", lambda: {"": "/system/job"})
    group = cgroup.make_or_skip(LIMIT)
    assert group.folder.parent == tmp_path / "system"
    assert (tmp_path / "system/cgroup.subtree_control").read_text() == "+memory"
    assert (group.folder / "memory.max").read_text() == str(LIMIT)
    (group.folder / "memory.events").write_text("oom 7\noom_kill 3\noom_group_kill 0\n")
    (group.folder / "memory.current").write_text("4096\n")
    assert (group.oom_kills, group.peak) == (3, 4096)
