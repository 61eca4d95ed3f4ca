"""Pushing to a registry, and verifying what is there, against a real one on loopback."""

import json
import os
import shutil
import subprocess

import oci
import pytest
import registries

from conftest import NIX_CONFIG

pytestmark = pytest.mark.skipif(
    not (shutil.which("docker-registry") and shutil.which("skopeo")), reason="needs docker-registry and skopeo"
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with registries.serve(tmp_path_factory.mktemp("registry")) as address:
        yield address


def run_images(tree, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NIX_CONFIG": NIX_CONFIG, "SLIPWAY_NIX_OVERRIDE": "./tests/nix/hostpkgs"}
    return subprocess.run([tree.folder / "nix/images", *args], env=env, check=False, capture_output=True, text=True)


def inspect(ref: str) -> dict:
    command = ["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{ref}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.fixture(scope="module")
def pushed(tree, registry, tmp_path_factory):
    documents = tmp_path_factory.mktemp("documents")
    done = run_images(tree, "push", "--plain-http", "--documents", str(documents), "users", f"{registry}/users:1")
    assert done.returncode == 0, done.stderr
    ref, digest = done.stdout.strip().split("@")
    return ref, digest, documents


def test_push_keeps_the_layers_and_adds_the_revision(tree, images, pushed):
    ref, digest, documents = pushed
    built = oci.Layout(images["users"] / "oci").manifest()
    there = inspect(f"{ref.rsplit(':', 1)[0]}@{digest}")
    assert there["layers"] == built["layers"] and there["config"] != built["config"]
    statement = json.loads((documents / "provenance.intoto.json").read_bytes())
    assert statement["subject"][0]["digest"]["sha256"] == digest.removeprefix("sha256:")
    revisions = [d["digest"]["gitCommit"] for d in dependencies(statement) if "gitCommit" in d.get("digest", {})]
    assert revisions == [tree.git("rev-parse", "HEAD")]
    assert (documents / "sbom.cdx.json").exists()


def dependencies(statement: dict) -> list[dict]:
    return statement["predicate"]["buildDefinition"]["resolvedDependencies"]


def test_verify_builds_it_again(tree, pushed):
    done = run_images(tree, "verify", "--plain-http", pushed[0])
    assert done.returncode == 0, done.stderr
    assert pushed[1] in done.stdout and tree.git("rev-parse", "HEAD") in done.stdout


def test_verify_refuses_what_the_revision_does_not_give(tree, images, registry, tmp_path):
    """Another service's image, pushed with the label of this revision and the title of users."""
    revision = tree.git("rev-parse", "HEAD")
    labels = {"org.opencontainers.image.revision": revision, "org.opencontainers.image.title": "users"}
    oci.relabel(images["demo"] / "oci", tmp_path / "oci", labels)
    copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--preserve-digests"]
    subprocess.run([*copy, f"oci:{tmp_path}/oci", f"docker://{registry}/users:forged"], check=True)
    done = run_images(tree, "verify", "--plain-http", f"{registry}/users:forged")
    assert done.returncode != 0 and "differ" in done.stderr


def test_push_refuses_a_tree_with_changes(scratch, registry):
    scratch.append("README.md" if (scratch.folder / "README.md").exists() else "VERSION", "\n")
    done = run_images(scratch, "push", "--plain-http", "users", f"{registry}/users:2")
    assert done.returncode != 0 and "commit them first" in done.stderr


def test_an_index_of_two_architectures(images, registry, tmp_path):
    """arm64 is made up here from amd64's layers: what is tested is the index."""
    amd64 = images["users"] / "oci"
    layout = oci.Layout(amd64)
    layers = [(entry["digest"], layout.read(entry)) for entry in layout.manifest()["layers"]]
    oci.write(tmp_path / "arm64", {**layout.config(), "architecture": "arm64"}, layers, "arm64")
    digest = oci.merge([tmp_path / "arm64", amd64], tmp_path / "both")
    copy = ["skopeo", "copy", "-q", "--insecure-policy", "--all", "--dest-tls-verify=false", "--preserve-digests"]
    subprocess.run([*copy, f"oci:{tmp_path}/both", f"docker://{registry}/users:both"], check=True)
    there = inspect(f"{registry}/users@{digest}")
    assert [entry["platform"]["architecture"] for entry in there["manifests"]] == ["amd64", "arm64"]
    with pytest.raises(ValueError, match="not one image an architecture"):
        oci.merge([amd64, amd64], tmp_path / "twice")


def test_skaffolds_builder_pushes_what_was_built(tree, images, registry):
    env = {**os.environ, "NIX_CONFIG": NIX_CONFIG, "SLIPWAY_NIX_OVERRIDE": "./tests/nix/hostpkgs"}
    env |= {"IMAGE": f"{registry}/demo:dev", "PUSH_IMAGE": "true", "SLIPWAY_PLAIN_HTTP": "true"}
    done = subprocess.run(
        [tree.folder / "nix/build-image", "demo"], env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "not those that are locked" in done.stderr
    assert inspect(f"{registry}/demo:dev") == oci.Layout(images["demo"] / "oci").manifest()
