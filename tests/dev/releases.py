"""releases -- what ./dev release refuses, shows and pushes, in repositories made for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from checks import ROOT
from tree import COMMAND_S

CHANGELOG = "# Changelog\n\n## Unreleased\n\n## 0.9.0\n\nAdded:\n\n- A thing.\n\n## 0.8.0\n\n- An older thing.\n"
SAID = [
    'Slipway 0.9.0 is ',
    '  git tag --annotate v0.9.0 --message "Slipway 0.9.0"\n  git push origin v0.9.0\n',
    "slipway-0.9.0.tar.gz, SHA256SUMS",
    "  - A thing.\n",
    "Nothing was changed.",
]  # fmt: skip


class Repository:
    """With a commit that can be released as 0.9.0, and an origin that has it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.origin = folder / "tree", folder / "origin"
        (self.root / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts/release", self.root / "scripts/release")
        self.git("init", "-q", "-b", "main")
        self.git("init", "-q", "--bare", "-b", "main", self.origin)
        self.git("remote", "add", "origin", self.origin)
        self.commit(VERSION="0.9.0\n", **{"CHANGELOG.md": CHANGELOG})
        self.git("push", "-q", "origin", "main")

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        who = {"GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@localhost"}
        who |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in who.items()}
        return subprocess.run(
            command, cwd=self.root, env=os.environ | who, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )

    def git(self, *arguments: str | Path) -> str:
        done = self.run("git", *arguments)
        if done.returncode:
            raise RuntimeError(f"git {arguments}: {done.stderr}")
        return done.stdout

    def commit(self, **files: str) -> None:
        for name, text in files.items():
            (self.root / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "-q", "-m", "A change")

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("scripts/release", *arguments)

    def state(self) -> str:
        return self.git("status", "--porcelain") + self.git("show-ref") + self.git("ls-remote", "origin")


def a_release_is_shown_and_nothing_is_done(folder: Path) -> Iterator[str]:
    repository = Repository(folder)
    before = repository.state()
    done = repository.release()
    if done.returncode or done.stderr:
        yield f"status {done.returncode}: {done.stderr}"
    yield from (f"does not say {text!r}: {done.stdout}" for text in SAID if text not in done.stdout)
    if "older thing" in done.stdout:
        yield f"shows another version's notes: {done.stdout}"
    if repository.state() != before:
        yield f"changed something: {repository.state()}"


def dirty(repository: Repository) -> None:
    (repository.root / "VERSION").write_text("0.9.1\n")


def untracked(repository: Repository) -> None:
    (repository.root / "new.c").write_text("\n")


def tagged(repository: Repository) -> None:
    repository.git("tag", "v0.9.0")


def later(repository: Repository) -> None:
    """As text it comes before 0.9.0."""
    repository.git("tag", "v0.10.0")


def undescribed(repository: Repository) -> None:
    repository.commit(**{"CHANGELOG.md": CHANGELOG.replace("## 0.9.0", "## 0.9.01")})


def empty(repository: Repository) -> None:
    repository.commit(**{"CHANGELOG.md": "# Changelog\n\n## 0.9.0\n\n## 0.8.0\n\n- An older thing.\n"})


def unreleased(repository: Repository) -> None:
    repository.commit(**{"CHANGELOG.md": CHANGELOG.replace("Unreleased\n", "Unreleased\n\n- A new thing.\n")})


REFUSED: list[tuple[Callable[[Repository], None], str]] = [
    (dirty, "the tree has changes"),
    (untracked, "the tree has changes"),
    (tagged, "the tag v0.9.0 exists"),
    (later, "v0.9.0 comes before v0.10.0"),
    (undescribed, "CHANGELOG.md has no section 0.9.0"),
    (empty, "CHANGELOG.md has no section 0.9.0"),
    (unreleased, "CHANGELOG.md has changes under Unreleased"),
]


def what_cannot_be_released_is_refused(folder: Path) -> Iterator[str]:
    for make, said in REFUSED:
        repository = Repository(folder / make.__name__)
        make(repository)
        before = repository.state()
        for arguments in ((), ("--push",)):
            done = repository.release(*arguments)
            if done.returncode != 1 or done.stdout or not done.stderr.startswith(f"release: {said}"):
                yield f"{make.__name__} {arguments}: status {done.returncode}: {done.stdout}{done.stderr}"
        if repository.state() != before:
            yield f"{make.__name__}: changed something: {repository.state()}"
    done = repository.release("--pusch")
    if done.returncode != 2:
        yield f"--pusch: status {done.returncode}"


def only_what_main_has_is_pushed(folder: Path) -> Iterator[str]:
    repository = Repository(folder)
    repository.commit(new="text\n")
    done = repository.release("--push")
    if done.returncode != 1 or "origin's main does not have this commit" not in done.stderr:
        yield f"a commit that main lacks: status {done.returncode}: {done.stderr}"
    repository.git("push", "-q", "origin", "main")
    done = repository.release("--push")
    if done.returncode or "refs/tags/v0.9.0" not in repository.git("ls-remote", "origin"):
        yield f"status {done.returncode}: {done.stdout}{done.stderr}"
    if repository.git("rev-parse", "v0.9.0^{commit}") != repository.git("rev-parse", "HEAD"):
        yield "the tag is of another commit"
    repository.git("tag", "--delete", "v0.9.0")
    repository.git("push", "-q", "origin", "HEAD:refs/tags/v0.10.0")
    done = repository.release("--push")
    if done.returncode != 1 or repository.git("tag", "--list", "v0.9.0", "--points-at", "HEAD~1"):
        yield f"tags that origin alone has: status {done.returncode}: {done.stderr}"


CHECKS: dict[str, Callable[[Path], Iterator[str]]] = {
    "a release is shown, and nothing is done": a_release_is_shown_and_nothing_is_done,
    "what cannot be released is refused": what_cannot_be_released_is_refused,
    "only what origin's main has is released": only_what_main_has_is_pushed,
}
