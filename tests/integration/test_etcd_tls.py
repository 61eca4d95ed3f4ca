"""scripts/etcd-tls: certificates that fit each other, made once."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fake_cluster import Fake
from harness import ROOT

LEAVES = ("etcd-server", "etcd-client")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    """What is there in the end fits, whatever was done."""
    fake = Fake(tmp_path)
    yield fake
    fake.write_secret("etcd-ca", tmp_path / "etcd-ca")
    for name in LEAVES:
        fake.write_secret(name, tmp_path / name)
        command = ("openssl", "verify", "-CAfile", tmp_path / "etcd-ca/ca.crt", tmp_path / name / "tls.crt")
        subprocess.run(command, check=True)
        assert (tmp_path / name / "ca.crt").read_bytes() == (tmp_path / "etcd-ca/ca.crt").read_bytes()


def etcd_tls(fake: Fake, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts/etcd-tls", *args, "slipway"]
    return subprocess.run(command, env=fake.env | env, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_there_stays(fake: Fake):
    assert etcd_tls(fake).returncode == 0
    before = fake.objects()
    for each in before.values():
        each["metadata"]["labels"] = {
            "pod-security.kubernetes.io/enforce": "<no value>"
        }  # so kubectl has it for any label
    fake.put(*before.values())
    assert etcd_tls(fake).returncode == 0
    assert fake.objects() == before
    assert etcd_tls(fake, "--rotate").returncode == 0
    after = fake.objects()
    assert after["etcd-ca"] == before["etcd-ca"]
    assert all(after[name]["data"]["tls.crt"] != before[name]["data"]["tls.crt"] for name in LEAVES)


def test_what_ends_soon_is_issued_anew(fake: Fake, tmp_path: Path):
    assert etcd_tls(fake).returncode == 0
    before = fake.objects()
    soon = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ed25519",
        "-nodes",
        "-keyout",
        tmp_path / "key",
        "-subj",
        "/CN=etcd-client",
    )
    made = subprocess.run((*soon, "-days", "89"), check=True, capture_output=True)
    ending = before["etcd-client"] | {
        "data": before["etcd-client"]["data"] | {"tls.crt": base64.b64encode(made.stdout).decode()}
    }
    fake.put(*(before | {"etcd-client": ending}).values())
    assert etcd_tls(fake).returncode == 0
    after = fake.objects()
    assert after["etcd-client"]["data"]["tls.crt"] not in (
        before["etcd-client"]["data"]["tls.crt"],
        ending["data"]["tls.crt"],
    )
    assert {name: after[name] for name in ("etcd-ca", "etcd-server")} == {
        name: before[name] for name in ("etcd-ca", "etcd-server")
    }


@pytest.mark.parametrize(
    ("option", "refused"), [([], "secret/etcd-ca secret/etcd-server"), (["--rotate"], "get secret etcd-ca --output")]
)
def test_no_answer_is_not_a_no(fake: Fake, option: list[str], refused: str):
    """A cluster that cannot be reached for a moment has no authority replaced, and no certificate."""
    assert etcd_tls(fake).returncode == 0
    before = fake.objects()
    done = etcd_tls(fake, *option, FAKE_REFUSES=refused)
    assert done.returncode == 1 and "Unable to connect" in done.stderr
    assert fake.objects() == before


def test_somebody_else_was_faster(fake: Fake):
    """The authority that was made after this one had looked for it is the one that signs."""
    assert etcd_tls(fake).returncode == 0
    before = fake.objects()
    assert etcd_tls(fake, FAKE_MISSES="1").returncode == 0
    assert fake.objects()["etcd-ca"] == before["etcd-ca"]


def test_several_at_once(fake: Fake):
    with ThreadPoolExecutor(4) as pool:
        assert [done.returncode for done in pool.map(lambda _: etcd_tls(fake), range(4))] == [0] * 4


def test_where_cert_manager_issues_only_the_namespace_is_made(tmp_path: Path):
    """No authority's key comes near the services' namespace, and none of its certificates is replaced."""
    fake = Fake(tmp_path)
    fake.put({"kind": "ClusterIssuer", "metadata": {"name": "slipway-etcd"}})
    done = etcd_tls(fake)
    assert done.returncode == 0, done.stderr
    assert set(fake.objects()) == {"slipway-etcd"}  # what is applied as YAML the stand-in does not keep
