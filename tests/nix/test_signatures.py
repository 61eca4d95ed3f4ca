"""Signatures and attestations in registries whose tags cannot be moved, by scripts/deploy's own code and real cosign."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

import oci
import pytest
import registries

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from deployment import images
from deployment.images import ATTESTED, Registry, Signer
from deployment.shell import Failure

pytestmark = pytest.mark.skipif(shutil.which("cosign") is None and "CI" not in os.environ, reason="needs cosign")
CONFIG = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
PREDICATES = {
    "cyclonedx": {"bomFormat": "CycloneDX", "specVersion": "1.6"},
    "slsaprovenance1": {"buildDefinition": {"buildType": "test"}, "runDetails": {"builder": {"id": "test"}}},
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory):
    with registries.serve(tmp_path_factory.mktemp("registry")) as address, registries.immutable(address) as server:
        yield server


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("dev", "stage"):
        subprocess.run(
            ["cosign", "generate-key-pair", "--output-key-prefix", folder / name],
            env={**os.environ, "COSIGN_PASSWORD": ""}, check=True, capture_output=True,
        )  # fmt: skip
    return folder


def signer(keys: pathlib.Path, name: str) -> Signer:
    return Signer(str(keys / f"{name}.key"), str(keys / f"{name}.pub"), "", plain_http=True)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "")


def push(folder: pathlib.Path, target: str, **labels: str) -> str:
    digest = oci.write(folder, CONFIG | {"config": {"Labels": labels}}, [], "amd64")
    copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--preserve-digests"]
    subprocess.run([*copy, f"oci:{folder}", f"docker://{target}"], check=True, capture_output=True)
    return f"{target.rpartition(':')[0]}@{digest}"


def test_a_tag_of_an_image_cannot_be_moved(registry: registries.Immutable, tmp_path: pathlib.Path):
    """What the others are tried against: the same again is no move, another image is."""
    target = f"{registry.address}/moved/slipway/demo:1"
    push(tmp_path / "first", target, version="1")
    push(tmp_path / "again", target, version="1")
    with pytest.raises(subprocess.CalledProcessError):
        push(tmp_path / "second", target, version="2")
    assert registry.refused.pop() == "/v2/moved/slipway/demo/manifests/1"


def test_signature_and_attestations(registry: registries.Immutable, keys: pathlib.Path, tmp_path: pathlib.Path):
    reference = push(tmp_path / "image", f"{registry.address}/dev/slipway/demo:1")
    dev = signer(keys, "dev")
    dev.sign(reference, PREDICATES)
    dev.sign(reference, PREDICATES)  # again: nothing is left to do
    dev.verify({"demo": reference})
    assert not registry.refused
    for kind in ATTESTED:
        assert dev.attested(kind, reference).items() >= PREDICATES[kind].items()
    with pytest.raises(Failure):
        signer(keys, "stage").verify_signature(reference)


def test_a_signature_belongs_to_its_image(registry: registries.Immutable, keys: pathlib.Path, tmp_path: pathlib.Path):
    """Signed is a digest: another image of the same name has no part in it."""
    dev = signer(keys, "dev")
    dev.sign(push(tmp_path / "signed", f"{registry.address}/other/slipway/demo:1", version="1"), PREDICATES)
    unsigned = push(tmp_path / "unsigned", f"{registry.address}/other/slipway/demo:2", version="2")
    with pytest.raises(Failure, match="no signatures found"):
        dev.verify_signature(unsigned)


def test_a_promoted_image_is_signed_where_it_goes(
    registry: registries.Immutable, keys: pathlib.Path, tmp_path: pathlib.Path
):
    dev, stage = signer(keys, "dev"), signer(keys, "stage")
    reference = push(tmp_path / "image", f"{registry.address}/from/slipway/demo:1")
    dev.sign(reference, PREDICATES)
    target = Registry(f"{registry.address}/to/slipway", plain_http=True)
    for _ in range(2):
        copied = images.copy({"demo": reference}, target, stage, dev)
    stage.verify(copied)
    assert copied["demo"].rsplit("@", 1)[1] == reference.rsplit("@", 1)[1]
    assert not registry.refused


def test_without_a_repository_of_their_own_attestations_fail(
    registry: registries.Immutable, keys: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    """Why they have one: beside the image the second attestation would move the tag that lists the first."""
    monkeypatch.setattr(images, "signatures_of", lambda reference: reference.split("@")[0])
    reference = push(tmp_path / "image", f"{registry.address}/beside/slipway/demo:1")
    with pytest.raises(Failure, match="immutable"):
        signer(keys, "dev").sign(reference, PREDICATES)
    assert json.dumps(registry.refused).count("sha256-") == 1
    registry.refused.clear()


def test_where_signatures_are():
    assert (
        images.signatures_of("one.example/project/slipway/demo@sha256:1")
        == "one.example/project/slipway-signatures/demo"
    )
    assert images.signatures_of("localhost:5000/demo@sha256:1") == "localhost:5000/signatures/demo"
