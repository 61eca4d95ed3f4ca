"""What the tests of the images share: a copy of the tree that they may edit, and the images built from it."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "nix/image"), str(ROOT / "tests")]
from checks import NIX_CONFIG, GitTree

SERVICES = sorted(main.parent.name for main in ROOT.glob("src/*/main.c"))
IMAGES = [*SERVICES, "backup-tools", "etcd", "prometheus"]

OVERRIDE = ["--offline", "--no-write-lock-file", "--override-input", "nixpkgs", "path:./tests/nix/hostpkgs"]


CLOSING: list[str] = []  # the last line, as ./dev test reads it


class Tree(GitTree):
    def nix(
        self, *args: str, check: bool = True, override: Sequence[str] = OVERRIDE
    ) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "NIX_CONFIG": NIX_CONFIG}
        done = subprocess.run(
            ["nix", *args, *override], cwd=self.folder, env=env, capture_output=True, check=False, text=True
        )
        if check and done.returncode != 0:
            raise AssertionError(f"nix {' '.join(args)}\n{done.stderr[-4000:]}")
        return done

    def build(self, attribute: str) -> pathlib.Path:
        (built,) = json.loads(self.nix("build", "--no-link", "--json", attribute).stdout)
        return pathlib.Path(built["outputs"]["out"])

    def derivations(self) -> dict[str, str]:
        """Of every image."""
        return self.layouts("drvPath")

    def layouts(self, attribute: str) -> dict[str, str]:
        values = f"layouts: builtins.mapAttrs (name: layout: layout.{attribute}) layouts"
        return json.loads(self.nix("eval", "--json", ".#images.layouts", "--apply", values).stdout)

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)
        self.git("add", "--intent-to-add", "--force", path)

    def append(self, path: str, text: str) -> None:
        self.write(path, (self.folder / path).read_text() + text)


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Tree:
    """Not to be edited."""
    return Tree(tmp_path_factory.mktemp("tree") / "slipway")


@pytest.fixture
def scratch(tmp_path, tree) -> Tree:
    """A copy to edit."""
    return Tree(tmp_path / "slipway", tree.folder)


@pytest.fixture(scope="session")
def images(request) -> dict[str, pathlib.Path]:
    """Every image's folder: oci/, image.json, sbom.cdx.json, provenance.intoto.json. Those of $SLIPWAY_LAYOUTS, where it
    is set (tests/nix/start), otherwise built here."""
    if layouts := os.environ.get("SLIPWAY_LAYOUTS"):
        paths = map(pathlib.Path, layouts.split())
        return {json.loads((path / "image.json").read_bytes())["name"]: path for path in paths}
    tree = request.getfixturevalue("tree")
    tree.build(".#images")
    return {name: pathlib.Path(path) for name, path in tree.layouts("outPath").items()}


def pytest_terminal_summary(terminalreporter) -> None:
    counts = {kind: len(terminalreporter.stats.get(kind, [])) for kind in ("passed", "failed", "error", "skipped")}
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"skipped: {report.nodeid}: {report.longrepr[2]}")
    CLOSING.append(f"{counts['passed']} passed, {counts['failed'] + counts['error']} failed")


def pytest_unconfigure() -> None:
    print(*CLOSING, sep="\n")
