"""cgroup -- runs the release binary of a service inside a memory cgroup with the limit of its manifest.

    def test_bounded(limited):                           # a fixture of conftest.py
        demo = limited("demo", WORKERS=2)                # a harness.Service, with the env values of its manifest
        ...
        assert demo.memory.oom_kills == 0
        assert demo.memory.peak < demo.memory.limit      # bytes

The limit is `resources.limits.memory` of the first container in k8s/base/NAME. Mark such tests `limited`: `scripts/test`
runs them in a step of their own, because they test the release binaries and not those of $SLIPWAY_BUILD. The release
binaries are in $SLIPWAY_RELEASE, else in build-release/ (`just build-release` builds them).

Both versions of cgroups work. Making a group needs root, or sudo without a password. Where no group can be made, the test is
skipped and the reason is printed; with CI set it fails. Groups are removed when the test ends; groups that a killed test
run left behind are removed by the next.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness
from harness import ROOT, Service

RELEASE = Path(os.environ.get("SLIPWAY_RELEASE") or ROOT / "build-release").resolve()
PREFIX = "slipway-test-"
NAMES = itertools.count()
MOUNT = Path("/sys/fs/cgroup")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


class Unavailable(Exception):
    """No memory cgroup can be made here; the text says why."""


# ---- the manifest ----


def quantity(text: str) -> int:
    """Bytes of a Kubernetes quantity such as 128Mi."""
    match = re.fullmatch(r"(\d+)([kMG]i?|)", text)
    assert match, f"{text} is not a number of bytes"
    return int(match[1]) * UNITS[match[2]]


def container(name: str, folder: str = "k8s/base") -> dict[str, Any]:
    """The first container of the workload whose manifests are in that folder, below its name."""
    for path in sorted((ROOT / folder / name).glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and document["kind"] in ("Deployment", "StatefulSet"):
                return document["spec"]["template"]["spec"]["containers"][0]
    raise AssertionError(f"{folder}/{name} has no Deployment and no StatefulSet")


def limit_of(name: str, folder: str = "k8s/base") -> int:
    """The memory limit, in bytes, that the manifest states."""
    return quantity(container(name, folder)["resources"]["limits"]["memory"])


def settings_of(name: str) -> dict[str, object]:
    """The manifest's environment, without what the harness sets for every service."""
    stated = {each["name"]: each["value"] for each in container(name).get("env", []) if "value" in each}
    return {key: value for key, value in stated.items() if key not in harness.environment(ROOT, {})}


# ---- groups ----


def as_root(*command: str, text: str = "") -> None:
    """Runs a command that changes a cgroup."""
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    try:
        done = subprocess.run([*prefix, *command], input=text, capture_output=True, text=True, check=False, timeout=30)
    except OSError as error:
        raise Unavailable(f"{' '.join([*prefix, *command])}: {error.strerror}") from None
    if done.returncode != 0:
        raise Unavailable(f"{' '.join([*prefix, *command])}: {done.stderr.strip()}")


def write(path: Path, value: object) -> None:
    as_root("tee", str(path), text=str(value))


def own_groups() -> dict[str, str]:
    """The path of this process's group by controller; version 2 has the key ""."""
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    return {name: path for _, controllers, path in lines for name in controllers.split(",")}


def with_parents(root: Path, path: str) -> Iterator[Path]:
    """The folder of a group below its mount point, then those of the groups above it, as far as they are visible."""
    folder = root / path.strip("/")
    for each in (folder, *folder.parents):
        if each.is_dir() and each.is_relative_to(root):
            yield each


class Group:
    """A memory cgroup. A process is moved into it by starting it with `prefix` before its command."""

    limit_file: str

    @property
    def settings(self) -> dict[str, object]:
        """Values of files that may not exist: no swap, and what the kernel holds of sockets is counted."""
        raise NotImplementedError

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.folder = self.parent() / f"{PREFIX}{os.getpid()}-{next(NAMES)}"
        self.sweep()
        as_root("mkdir", str(self.folder))
        try:
            write(self.folder / self.limit_file, limit)
            for name, value in self.settings.items():
                if (self.folder / name).exists():
                    write(self.folder / name, value)
        except Unavailable:
            self.remove()
            raise

    @staticmethod
    def parent() -> Path:
        """The folder to make the group in."""
        raise NotImplementedError

    def sweep(self) -> None:
        """Removes the empty groups of test runs that have ended."""
        for left in self.folder.parent.glob(f"{PREFIX}*"):
            pid = left.name.removeprefix(PREFIX).split("-")[0]
            if not Path("/proc", pid).exists():
                with contextlib.suppress(Unavailable):
                    as_root("rmdir", str(left))

    def remove(self) -> None:
        """Kills what still runs in the group, and removes it."""

        def removed() -> bool:
            for pid in (self.folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(Unavailable):
                    as_root("kill", "-KILL", pid)
            with contextlib.suppress(Unavailable):
                as_root("rmdir", str(self.folder))
            return not self.folder.exists()

        harness.until(removed, what=f"{self.folder} cannot be removed")

    @property
    def prefix(self) -> list[str]:
        """A command that moves itself into the group and becomes the command that follows it, with the same pid."""
        sudo = "" if os.geteuid() == 0 else "sudo -n "
        return ["sh", "-c", f'echo $$ | {sudo}tee "$0" >/dev/null && exec "$@"', str(self.folder / "cgroup.procs")]

    def _number(self, file: str, key: str = "") -> int:
        text = (self.folder / file).read_text()
        return int(re.search(rf"^{key} *(\d+)$", text, re.MULTILINE)[1])

    @property
    def peak(self) -> int:
        """The most bytes that the group has held so far: the process, its share of the page cache, and its sockets."""
        raise NotImplementedError

    @property
    def oom_kills(self) -> int:
        """How many processes of the group the kernel has killed for want of memory."""
        raise NotImplementedError


class GroupV1(Group):
    limit_file = "memory.limit_in_bytes"

    @property
    def settings(self) -> dict[str, object]:
        return {
            "memory.swappiness": 0,
            "memory.memsw.limit_in_bytes": self.limit,
            "memory.kmem.tcp.limit_in_bytes": 16 * self.limit,  # any limit has it count
        }

    @staticmethod
    def parent() -> Path:
        return next(with_parents(MOUNT / "memory", own_groups()["memory"]))

    @property
    def peak(self) -> int:
        """Version 2 counts sockets with the rest, version 1 apart."""
        sockets = "memory.kmem.tcp.max_usage_in_bytes"
        return self._number("memory.max_usage_in_bytes") + (
            self._number(sockets) if (self.folder / sockets).exists() else 0
        )

    @property
    def oom_kills(self) -> int:
        return self._number("memory.oom_control", "oom_kill")


class GroupV2(Group):
    limit_file = "memory.max"

    @property
    def settings(self) -> dict[str, object]:
        return {"memory.swap.max": 0}

    @staticmethod
    def parent() -> Path:
        """A group that holds processes, other than the root, cannot have groups with a memory limit below it: the first of
        the groups above this process's own that can."""
        why = f"{MOUNT} has no memory controller"
        for folder in with_parents(MOUNT, own_groups()[""]):
            control = folder / "cgroup.subtree_control"
            if not control.exists() or "memory" not in (folder / "cgroup.controllers").read_text().split():
                continue
            try:
                if "memory" not in control.read_text().split():
                    write(control, "+memory")
                return folder
            except Unavailable as error:
                why = str(error)
        raise Unavailable(why)

    @property
    def peak(self) -> int:
        """Linux 5.19 or newer counts it; before, it is the current use."""
        return self._number("memory.peak" if (self.folder / "memory.peak").exists() else "memory.current")

    @property
    def oom_kills(self) -> int:
        return self._number("memory.events", "oom_kill")


def make(limit: int) -> Group:
    """A new group with that limit in bytes."""
    return (GroupV1 if "memory" in own_groups() else GroupV2)(limit)


def make_or_skip(limit: int) -> Group:
    """The same. Skips the test where no group can be made, or fails it where CI is set."""
    try:
        return make(limit)
    except Unavailable as error:
        reason = f"no memory cgroup can be made: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextlib.contextmanager
def services(folder: Path, make: Callable[[int], Group] = make) -> Iterator[Callable[..., Service]]:
    """A factory of services, each in a group of its own that `make` makes; see the top of this file."""
    with contextlib.ExitStack() as groups, harness.services(folder) as start:

        def start_limited(name: str, *args: str, prefix: Sequence[str] = (), **settings: object) -> Service:
            group = make(limit_of(name))
            groups.callback(group.remove)
            stated = settings_of(name) | settings
            service = start(name, *args, build=RELEASE, prefix=[*group.prefix, *prefix], **stated)
            service.memory = group
            return service

        yield start_limited
