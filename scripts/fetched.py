"""fetched -- what comes from package registries, pinned with checksums, kept in ~/.cache/slipway."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway"
FETCH_S = 600
SKIPPED = 75  # the status of a step of ./dev test that is left out


class Unavailable(Exception):
    """Why a tool cannot be had here: one line."""


def fetch(command: list[str | Path], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=FETCH_S, check=False)  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]}: not done after {FETCH_S} s") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise Unavailable(f"{Path(command[0]).name} cannot fetch it: {' / '.join(lines[-2:])}")


def made(name: str, make: Callable[[Path], None], sources: list[Path]) -> Path:
    """A folder with the sources and what make fetches for them; made once for each content of the sources."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(version.encode() + b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = CACHE / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            for path in sources:
                shutil.copy(path, folder)
            make(folder)
            (folder / "complete").touch()
    return folder


def python_packages(name: str, requirements: Path) -> Path:
    """The folder of programs of a virtual environment with these packages."""

    def make(folder: Path) -> None:
        fetch([sys.executable, "-m", "venv", "--clear", folder / "venv"], folder)
        pip = [folder / "venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        fetch([*pip, "--require-hashes", "-r", requirements.name], folder)

    return made(name, make, [requirements]) / "venv/bin"


def node_packages(name: str, folder: Path) -> Path:
    """The folder of programs of what package.json and package-lock.json in folder name."""

    def make(folder: Path) -> None:
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise Unavailable("there is no Node.js with npm (Debian's packages nodejs and npm)")
        fetch([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    return made(name, make, [folder / "package.json", folder / "package-lock.json"]) / "node_modules/.bin"
