"""scripts/update: which versions it takes. Go is real; its module proxy is a folder that the test makes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from harness import ROOT

PINNED = """#!/bin/sh
table='
ours     example.com/ours/cmd/ours@v1.2.0
ahead    example.com/ahead/v2@v2.9.0
'
[ "$1" != --go ] || command -v go
etcd_version=v3.6.1
"""


class Proxy:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def publish(self, module: str, *versions: str, unlisted: tuple[str, ...] = ()) -> None:
        there = self.folder / module / "@v"
        there.mkdir(parents=True)
        (there / "list").write_text("".join(f"{version}\n" for version in versions))
        for version in (*versions, *unlisted):
            (there / f"{version}.info").write_text(json.dumps({"Version": version}))
            (there / f"{version}.mod").write_text(f"module {module}\n")
            with zipfile.ZipFile(there / f"{version}.zip", "w") as archive:
                archive.writestr(f"{module}@{version}/go.mod", f"module {module}\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/update", tree / "scripts/update")
    shutil.copytree(ROOT / "scripts/deployment", tree / "scripts/deployment")
    (tree / "scripts/tools").write_text(PINNED)
    (tree / "scripts/tools").chmod(0o755)
    return tree


def update(tree: Path, *parts: str) -> subprocess.CompletedProcess[str]:
    folder = tree.parent
    env = os.environ | {
        "GOPROXY": f"file://{folder}/proxy", "GONOSUMDB": "*", "GOFLAGS": "", "GOMODCACHE": str(folder / "modules"),
    }  # fmt: skip
    return subprocess.run(
        [tree / "scripts/update", *parts], env=env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.scripts
@pytest.mark.skipif(shutil.which("go") is None and "CI" not in os.environ, reason="needs Go")
def test_tools_are_raised_within_their_major_version(tree: Path):
    """A module within a module that has not the pinned version is another; what is pinned is never lowered."""
    proxy = Proxy(tree.parent / "proxy")
    proxy.publish("example.com/ours", "v1.2.0", "v1.10.1", "v1.11.0-rc.1")
    proxy.publish("example.com/ours/cmd/ours", "v0.9.0")
    proxy.publish("example.com/ours/v2", "v2.0.0")
    proxy.publish("example.com/ahead/v2", "v2.7.0", "v2.8.0", unlisted=("v2.9.0",))
    proxy.publish("go.etcd.io/etcd/server/v3", "v3.6.1", "v3.6.16", "v3.7.0")
    done = update(tree, "tools")
    assert done.returncode == 0, done.stderr
    expected = PINNED.replace("@v1.2.0", "@v1.10.1").replace("v3.6.1", "v3.6.16")
    assert (tree / "scripts/tools").read_text() == expected


def test_a_part_that_does_not_exist_changes_nothing(tree: Path):
    done = update(tree, "tools", "toolz")
    assert done.returncode == 2 and "no part toolz" in done.stderr
    assert (tree / "scripts/tools").read_text() == PINNED
