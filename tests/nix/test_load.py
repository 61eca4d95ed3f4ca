"""nix/build-image where minikube has no Docker daemon: the image is given to the daemon, where Skaffold looks for it, and to
minikube under the name that Skaffold deploys. Nix builds the image; docker and minikube are stand-ins, for neither runs in a
container: they keep the archives that they are given, and docker answers with the image's id as Docker computes it.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tarfile

import pytest

from conftest import NIX_CONFIG, ROOT, Tree

DOCKER = """#!/bin/sh
case $1 in
load) cat >"$RECORD/docker.tar" ;;
image) printf 'sha256:%s\\n' "$(tar -xOf "$RECORD/docker.tar" manifest.json | jq -r '.[0].Config' | sed 's|.*/||; s|[.]json$||')" ;;
esac
"""
MINIKUBE = """#!/bin/sh
[ "$1" = --profile=cluster ] || exit 1
case $3 in
ls) cat "$RECORD/there" 2>/dev/null; exit 0 ;;
load) cat >"$RECORD/minikube.tar" ;;
esac
"""


@pytest.fixture
def build(tree: Tree, tmp_path: pathlib.Path):
    for name, text in (("docker", DOCKER), ("minikube", MINIKUBE)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    env = os.environ | {
        "NIX_CONFIG": NIX_CONFIG,
        "SLIPWAY_NIX_OVERRIDE": "./tests/nix/hostpkgs",
        "RECORD": str(tmp_path),
    }
    env |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "IMAGE": "demo:0123", "PUSH_IMAGE": "false"}

    def run(**more: str) -> None:
        command = [tree.folder / "nix/build-image", "demo"]
        done = subprocess.run(command, env=env | more, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return run


def tags(path: pathlib.Path) -> list[str]:
    with tarfile.open(path) as archive:
        (image,) = json.load(archive.extractfile("manifest.json"))
    return image["RepoTags"]


def identity(path: pathlib.Path) -> str:
    with tarfile.open(path) as archive:
        (image,) = json.load(archive.extractfile("manifest.json"))
    return pathlib.Path(image["Config"]).name.removesuffix(".json")


def test_minikube_gets_the_image_that_skaffold_deploys(build, tmp_path: pathlib.Path):
    minikube = {"SLIPWAY_MINIKUBE": str(tmp_path / "minikube"), "SLIPWAY_MINIKUBE_PROFILE": "cluster"}
    build(**minikube)
    assert tags(tmp_path / "docker.tar") == ["demo:0123"]
    deployed = f"demo:{identity(tmp_path / 'docker.tar')}"
    assert tags(tmp_path / "minikube.tar") == [deployed]
    (tmp_path / "minikube.tar").unlink()
    (tmp_path / "there").write_text(f"registry.k8s.io/pause:3.10\ndocker.io/library/{deployed}\n")
    build(**minikube)
    assert not (tmp_path / "minikube.tar").exists()  # the nodes have it


def test_elsewhere_the_daemon_alone_gets_it(build, tmp_path: pathlib.Path):
    build()
    assert tags(tmp_path / "docker.tar") == ["demo:0123"]
    assert not (tmp_path / "minikube.tar").exists()


def test_an_image_that_cannot_be_written_is_an_error(tmp_path: pathlib.Path):
    (tmp_path / "docker").write_text("#!/bin/sh\ncat >/dev/null\n")
    (tmp_path / "docker").chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "IMAGE": "demo:0123", "PUSH_IMAGE": "false"}
    assert subprocess.run([ROOT / "nix/give-image", "false", "none"], env=env, check=False).returncode == 1
