"""tree -- a copy of a part of the tree, to run ./dev in."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from checks import ROOT

WHEEL = "just_for_test-1-py3-none-any.whl"
PROGRAM = '#!/bin/sh\necho just "$@"\n'  # prints what it was called with
INFO = "just_for_test-1.dist-info"
COMMAND_S = 120
# What a dev needs that runs a recipe.
DEV = (
    *(
        "dev",
        "Justfile",
        "nix/images.just",
        "k8s/k8s.just",
        "k8s/deploy.just",
        "tests/e2e/e2e.just",
        "infra/infra.just",
    ),
    *("scripts/recipes", "scripts/packages.debian", "scripts/get-nix", "scripts/debian12-h2o"),
)


def programs_without(folder: Path, *names: str) -> Path:
    """A folder with links to all programs of this machine but these."""
    programs = folder / "bin"
    programs.mkdir()
    for where in reversed(os.environ["PATH"].split(os.pathsep)):
        for path in Path(where).glob("*"):
            if path.name not in names:
                (programs / path.name).unlink(missing_ok=True)
                (programs / path.name).symlink_to(path)
    return programs


class Tree:
    """A folder with copies of some of the tree's files, nothing beside it, and caches of its own."""

    def __init__(self, folder: Path, *files: str) -> None:
        self.root, self.cache = folder / "checkout/slipway", folder / "cache"
        self.tools = folder / "tools"
        self.env = os.environ | {
            "XDG_CACHE_HOME": str(self.cache),
            "IN_NIX_SHELL": "",
            "CI": "",
            "PIP_CONFIG_FILE": os.devnull,
        }
        for name in files:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)

    def run(self, *command: str | Path, **env: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.root, env=self.env | {name: str(value) for name, value in env.items()},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip

    def dev(self, packages: Path) -> subprocess.CompletedProcess[str]:
        return self.run(self.root / "dev", "clean", PIP_NO_INDEX="1", PIP_FIND_LINKS=packages)


def wheel(path: Path) -> str:
    """Makes a package whose program is called just; returns its hash, as pip is told it."""
    files = {
        "just_for_test-1.data/scripts/just": PROGRAM,
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: just-for-test\nVersion: 1\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        for name, text in files.items()
    }
    record = "".join(f"{name},sha256={digests[name]},{len(text)}\n" for name, text in files.items())
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{INFO}/RECORD": f"{record}{INFO}/RECORD,,\n"}.items():
            info = zipfile.ZipInfo(name, (2000, 1, 1, 0, 0, 0))
            info.external_attr = 0o100755 << 16
            archive.writestr(info, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()
