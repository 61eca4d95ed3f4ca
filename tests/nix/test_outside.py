"""A service of another repository: its image is made as those of this tree are. tests/outside/run tests the whole way."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest
import registries

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "outside"))
from repository import Repository, Slipway


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Repository:
    folder = tmp_path_factory.mktemp("outside")
    return Repository(folder / "hello", Slipway(folder / "slipway"))


def test_it_loads_the_libraries_that_services_of_this_tree_load(repository, tree):
    repository.build(".#image")
    layout = pathlib.Path(repository.nix("eval", "--raw", ".#image.layout.outPath"))
    layers = {layer["name"]: layer for layer in json.loads((layout / "image.json").read_text())["layers"]}
    assert list(layers["program"]["files"]) == ["/bin/hello"]
    demo = tree.build(".#images.demo.layout")
    ours = {layer["name"]: layer for layer in json.loads((demo / "image.json").read_text())["layers"]}
    assert layers["libraries"]["files"].keys() >= ours["libraries"]["files"].keys()


def test_its_labels_name_its_own_repository(repository):
    layout = pathlib.Path(repository.nix("eval", "--raw", ".#image.layout.outPath"))
    statement = json.loads((layout / "provenance.intoto.json").read_text())
    assert statement["predicate"]["runDetails"]["builder"]["id"] == "https://github.com/OWNER/hello/flake.nix"
    assert "slipway-example" in statement["predicate"]["buildDefinition"]["buildType"]


@pytest.mark.skipif(
    not (shutil.which("docker-registry") and shutil.which("skopeo")), reason="needs docker-registry and skopeo"
)
def test_skaffolds_builder_pushes_it(repository, tmp_path):
    layout = pathlib.Path(repository.nix("eval", "--raw", ".#image.layout.outPath"))
    with registries.serve(tmp_path) as registry:
        repository.nix(
            "run", ".#build-image", PUSH_IMAGE="true", IMAGE=f"{registry}/hello:1", SLIPWAY_PLAIN_HTTP="true"
        )
        command = ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{registry}/hello:1"]
        digest = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert digest == json.loads((layout / "image.json").read_text())["digest"]


def test_the_overlay_has_the_library(repository):
    host = pathlib.Path(__file__).resolve().parent / "hostpkgs"
    expression = (
        f'let slipway = builtins.getFlake "git+file://{repository.slipway.folder}"; lib = import {host}/lib.nix;'
        f' host = import {host} {{ inherit lib; system = "x86_64-linux"; }} // {{ inherit lib; }};'
        " in (slipway.overlays.default host host).slipway.drvPath"
    )
    made = repository.run("nix", "eval", "--offline", "--impure", "--raw", "--expr", expression)
    assert made.endswith(f"-slipway-{repository.version}.drv")
