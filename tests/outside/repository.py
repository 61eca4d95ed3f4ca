"""repository -- a repository outside of this one, whose only input is Slipway.

Slipway is a clone beside it, with a tag for each version. Whatever asks github.com for Slipway gets the clone: git by its
configuration, Nix by --override-input. nixpkgs is the host (tests/nix/hostpkgs).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from checks import NIX_CONFIG, ROOT, GitTree

ADDRESS = "https://github.com/slipway-example/slipway"


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None, timeout: float = 900) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | (env or {}), capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode != 0:
        raise AssertionError(
            f"{' '.join(map(str, command))}: status {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}"
        )
    return done.stdout


class Slipway(GitTree):
    """A clone of this tree, as it is now, with its changes, and with a tag for each version."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tag()

    @property
    def version(self) -> str:
        return (self.folder / "VERSION").read_text().strip()

    def tag(self) -> None:
        self.git("tag", f"v{self.version}")

    def release(self) -> None:
        """The next minor version: its number, in the two files that have it."""
        before = self.version
        major, minor, _ = before.split(".")
        for path in ("VERSION", "k8s/base/kustomization.yaml"):
            file = self.folder / path
            text = file.read_text()
            assert before in text, f"{path} has no {before}"
            file.write_text(text.replace(before, f"{major}.{int(minor) + 1}.0"))
        self.commit("The next version")
        self.tag()


class Repository:
    """Made of the template of a Slipway's flake."""

    def __init__(self, folder: Path, slipway: Slipway) -> None:
        self.folder, self.slipway = folder, slipway
        self.version = slipway.version
        folder.mkdir(parents=True)
        run("nix", "flake", "init", "-t", self._input, cwd=folder, env=self.env)
        self.git("init", "-q")
        self.git("add", "--all")

    @property
    def _input(self) -> str:
        return f"git+file://{self.slipway.folder}?ref=refs/tags/v{self.version}"

    @property
    def env(self) -> dict[str, str]:
        """git takes the clone for what is at ADDRESS, with and without .git."""
        config = {"NIX_CONFIG": NIX_CONFIG, "GIT_CONFIG_COUNT": "2"}
        for i, address in enumerate((ADDRESS, f"{ADDRESS}.git")):
            config |= {
                f"GIT_CONFIG_KEY_{i}": f"url.file://{self.slipway.folder}.insteadOf",
                f"GIT_CONFIG_VALUE_{i}": address,
            }
        return config

    @property
    def override(self) -> tuple[str, ...]:
        host = f"path:{ROOT / 'tests/nix/hostpkgs'}"
        return ("--offline", "--no-write-lock-file", "--override-input", "slipway", self._input,
                "--override-input", "slipway/nixpkgs", host)  # fmt: skip

    def git(self, *args: str) -> str:
        return run("git", *args, cwd=self.folder)

    def run(self, *command: str | Path, **env: str) -> str:
        return run(*command, cwd=self.folder, env=self.env | env)

    def nix(self, command: str, *args: str, **env: str) -> str:
        return self.run("nix", command, *self.override, *args, **env)

    def build(self, attribute: str) -> Path:
        (built,) = json.loads(self.nix("build", "--no-link", "--json", attribute))
        return Path(built["outputs"]["out"])

    def library(self) -> Path:
        """What nix develop offers: Slipway's own package."""
        host = f"path:{ROOT / 'tests/nix/hostpkgs'}"
        text = self.run("nix", "build", "--offline", "--no-write-lock-file", "--override-input", "nixpkgs", host,
                        "--no-link", "--json", f"{self._input}#slipway")  # fmt: skip
        return Path(json.loads(text)[0]["outputs"]["out"])

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text, f"{path} has no {old}"
        (self.folder / path).write_text(text.replace(old, new))

    def upgrade(self) -> None:
        """As its README says, to the newest version."""
        old, self.version = self.version, self.slipway.version
        self.edit("flake.nix", f"slipway/v{old}", f"slipway/v{self.version}")
        self.nix("run", ".#manifests")
