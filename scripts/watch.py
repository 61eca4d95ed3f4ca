"""watch -- sees edits of the sources and builds what depends on them, for scripts/up.

Edits is one inotify descriptor over src/, proto/ and the build's own files. Rebuild turns edits into builds, one at a time,
each a child process, so that the caller's loop goes on meanwhile: idle -> settling (more files may be about to be saved) ->
building -> idle -> building what does not run here -> idle. An edit during a build makes it start once more before its result
counts; one during the last state ends that.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from system import ROOT, Failure

FOLDERS = ("src", "proto")
FILES = ("meson.build", "meson_options.txt")
SETTLE_S = 0.03

# Of <sys/inotify.h>.
_CLOSED, _MOVED_FROM, _MOVED_TO, _CREATED, _DELETED = 0x8, 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IS_DIR = 0x4000, 0x40000000
_MASK = _CLOSED | _MOVED_FROM | _MOVED_TO | _CREATED | _DELETED
_EVENT = struct.Struct("iIII")


class Edits:
    """Which files have changed, as the kernel says."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._folders: dict[int, Path] = {}
        if self.fd < 0:
            raise Failure(f"cannot watch the sources: {os.strerror(ctypes.get_errno())} (--no-watch)")
        self._add(root)
        for name in FOLDERS:
            self._add_tree(root / name)

    def _add(self, folder: Path) -> None:
        watch = self._libc.inotify_add_watch(self.fd, os.fsencode(folder), _MASK)
        if watch >= 0:
            self._folders[watch] = folder
        elif folder.exists():
            raise Failure(f"cannot watch {folder}: {os.strerror(ctypes.get_errno())} (--no-watch)")

    def _add_tree(self, folder: Path) -> None:
        for path, _, _ in os.walk(folder):
            self._add(Path(path))

    def read(self) -> tuple[set[str], bool]:
        """The files that have changed, relative to the root, and whether there may be others than before."""
        changed: set[str] = set()
        others = False
        while data := self._read():
            at = 0
            while at < len(data):
                watch, mask, _, length = _EVENT.unpack_from(data, at)
                name = os.fsdecode(data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0"))
                at += _EVENT.size + length
                if mask & _OVERFLOW:
                    changed, others = changed | {"the sources"}, True
                elif (folder := self._folders.get(watch)) and self._counts(folder, name, mask):
                    others |= not mask & _CLOSED
                    if mask & _IS_DIR:
                        self._add_tree(folder / name)
                    if mask & (
                        _IS_DIR | _MASK & ~_CREATED
                    ):  # a new file is still being written: its closing is told, too
                        changed.add(str((folder / name).relative_to(self.root)))
        return changed, others

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return b""

    def _counts(self, folder: Path, name: str, mask: int) -> bool:
        """Not what editors keep beside a file."""
        if name.startswith((".", "#")) or name.endswith(("~", ".swp", ".tmp")) or name.isdigit():
            return False
        return folder != self.root or (name in FILES and not mask & _IS_DIR)


class Rebuild:
    """Builds targets after edits, and when done has been called, the rest of all programs. done(files, edited, error) is called
    after each build of the targets, and where the rest does not build: edited is when the first edit was seen, error None or
    what went wrong."""

    def __init__(
        self,
        build: Path,
        targets: list[str],
        rest: list[str],
        on_readable: Callable[[int, Callable[[], None] | None], None],
        done: Callable[[set[str], float, str | None], None],
    ) -> None:
        self.build, self.targets, self.rest = build, targets, rest
        self._on_readable, self._done = on_readable, done
        self._edits = Edits()
        self._files: set[str] = set()  # that are not built yet
        self._others = False  # there are files that the build does not know
        self._configures = False  # what is building now
        self._edited = 0.0  # when the first of them was seen
        self._due: float | None = None  # when to begin
        self._process: subprocess.Popen[bytes] | None = None
        self._building: set[str] = set()
        self._late = False  # what is building is the rest
        self._output = b""
        on_readable(self._edits.fd, self._see)

    def _see(self) -> None:
        files, others = self._edits.read()
        self._others |= others
        if not files:
            return
        if not self._files and (self._late or not self._process):
            self._edited = time.monotonic()
        self._files |= files
        self._due = time.monotonic() + SETTLE_S

    def timeout(self) -> float | None:
        """How long the caller may sleep."""
        if self._due is None or (self._process and not self._late):
            return None
        return max(0.0, self._due - time.monotonic())

    def turn(self) -> None:
        """To be called whenever the caller has slept."""
        if self._due is None or time.monotonic() < self._due:
            return
        if self._process:
            if self._late:
                self._late = False
                self.stop()
            return
        self._due = None
        self._building |= self._files
        self._files = set()
        self._start(self.targets)

    def _start(self, targets: list[str]) -> None:
        # Whoever else builds in the folder is waited for.
        lock: list[str | Path] = ["flock", self.build] if shutil.which("flock") else []
        ninja = [*lock, "ninja", "-C", self.build, "--quiet", *targets]
        self._configures = self._others
        command = (
            ["sh", "-ec", 'scripts/configure "$0" && exec "$@"', self.build, *ninja] if self._configures else ninja
        )
        self._others = False
        self._output = b""
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        assert self._process.stdout
        self._on_readable(self._process.stdout.fileno(), self._read)

    def _read(self) -> None:
        assert self._process and self._process.stdout
        stream: IO[bytes] = self._process.stdout
        if data := os.read(stream.fileno(), 1 << 16):
            self._output += data
            return
        self._on_readable(stream.fileno(), None)
        stream.close()
        status = self._process.wait()
        self._process = None
        self._others |= self._configures and status != 0  # whatever it was that failed
        late, self._late = self._late, False
        if self._files:
            return  # edited meanwhile: what was built is not what is there now
        error = None if status == 0 else self._output.decode(errors="replace").strip()
        if error or not late:
            self._done(self._building, self._edited, error)
        if error or late or not self.rest or self._files:
            self._building = set()
        else:
            self._late = True
            self._start(self.rest)

    def stop(self) -> None:
        """Its end is seen as that of any other."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGTERM)


class Programs:
    """What the programs were when they were started, so that only those that differ are started again."""

    def __init__(self, build: Path, names: Iterable[str]) -> None:
        self._build = build
        self._known = {name: self._digest(name) for name in names}

    def _digest(self, name: str) -> bytes:
        with open(self._build / name, "rb") as program:
            return hashlib.file_digest(program, "sha256").digest()

    def changed(self) -> list[str]:
        """Since the last call."""
        now = {name: self._digest(name) for name in self._known}
        before, self._known = self._known, now
        return [name for name in now if now[name] != before[name]]
