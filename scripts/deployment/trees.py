"""trees -- the repository as it was at a revision, beside what is checked out."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deployment.shell import Failure, need, run


def revision() -> str:
    """Of what is checked out, with "-dirty" where it has changes."""
    return run("git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty").strip()


@contextlib.contextmanager
def at(wanted: str) -> Iterator[Path]:
    """A folder with the tree of a revision that what is checked out comes after: what was never merged goes nowhere."""
    need("git", "tar")
    try:
        run("git", "merge-base", "--is-ancestor", wanted, "HEAD")
    except Failure as failure:
        raise Failure(f"{wanted} is no revision of the history that is checked out, so its manifests are not to be had") \
            from failure  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "tree.tar"
        run("git", "archive", "--output", archive, wanted)
        run("tar", "-xf", archive, "-C", folder)
        archive.unlink()
        yield Path(folder)
