"""checks -- what the runners of checks have in common: a line a check, and the tree to try things in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NIX_CONFIG = """experimental-features = nix-command flakes
sandbox = false
build-users-group =
substituters =
flake-registry =
warn-dirty = false
"""  # of a Nix that takes the host's libraries (tests/nix/hostpkgs) and nothing from elsewhere


def run(checks: Iterable[tuple[str, Callable[[], list[str]]]]) -> tuple[int, int]:
    """Prints each check's name with what is wrong; returns how many passed and failed."""
    passed = failed = 0
    for name, check in checks:
        try:
            problems = check()
        except Exception as error:  # noqa: BLE001 - a check that cannot run has failed, the others still count
            problems = [f"{type(error).__name__}: {error}"]
        passed, failed = passed + (not problems), failed + bool(problems)
        lines = [f"{'FAILED' if problems else 'ok':6} {name}", *problems]
        print("\n       ".join(lines), flush=True)
    return passed, failed


class GitTree:
    """A copy of a tree in a repository of its own."""

    def __init__(self, folder: Path, source: Path = ROOT) -> None:
        self.folder = folder
        copy_tree(folder, source)
        self.git("init", "-q")
        self.commit("A tree")

    def git(self, *args: str) -> str:
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost", *args]
        return subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def commit(self, message: str) -> None:
        self.git("add", "--all", "--force")
        self.git("commit", "-q", "--allow-empty", "-m", message)


def copy_tree(folder: Path, source: Path = ROOT) -> None:
    """What git knows of in source, or would if it were added; links stay links. A part of it would be wrong one day."""
    known = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in subprocess.check_output(known, cwd=source, text=True).split("\0"):
        if name and os.path.lexists(source / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, folder / name, follow_symlinks=False)
