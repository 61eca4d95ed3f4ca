"""scripts/backup, and the way back into the cluster, with an etcd that takes nobody without a certificate."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import etcd
import harness
from fake_cluster import Fake
from harness import BUILD, ROOT
from system import held_port

TIMEOUT = 60


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The folders etcd-server and etcd-client, with what scripts/etcd-tls puts into the Secrets of these names."""
    fake = Fake(tmp_path / "fake")
    command = [ROOT / "scripts/etcd-tls", "slipway"]
    subprocess.run(command, env=fake.env, check=True, capture_output=True, timeout=TIMEOUT)
    for name in ("etcd-server", "etcd-client"):
        fake.write_secret(name, tmp_path / name)
    return tmp_path


@contextlib.contextmanager
def member(folder: Path, tls: Path, address: str = "") -> Iterator[str]:
    """Its address for clients, which may be given; as k8s/components/store-etcd runs one."""
    client, peer, metrics = (f"localhost:{held_port()}" for _ in range(3))
    client = address or client
    command = [etcd.program(), "--name=test", f"--data-dir={folder}", "--log-level=error", "--socket-reuse-port"]
    command += [f"--listen-client-urls=https://{client.replace('localhost', '127.0.0.1')}"]
    command += [f"--listen-peer-urls=https://{peer.replace('localhost', '127.0.0.1')}"]
    command += ["--advertise-client-urls=https://etcd-0.etcd:2379"]  # which is only known in the cluster
    command += [f"--initial-advertise-peer-urls=https://{peer}", f"--initial-cluster=test=https://{peer}"]
    command += [f"--listen-metrics-urls=http://{metrics.replace('localhost', '127.0.0.1')}"]
    for side in ("", "peer-"):
        command += [f"--{side}client-cert-auth", f"--{side}trusted-ca-file={tls / 'ca.crt'}"]
        command += [f"--{side}cert-file={tls / 'tls.crt'}", f"--{side}key-file={tls / 'tls.key'}"]
    with etcd.started(command, metrics):
        yield client


def run(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, args)),
        env=os.environ | {"SLIPWAY_BUILD": str(BUILD)} | env,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def store_tool(*args: object) -> str:
    done = run(harness.program("store-tool"), *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_of_the_cluster_and_back(secrets: Path, start, tmp_path: Path):
    """As the runbook says: a snapshot by a client's certificate; from it all stores into an etcd that has nothing yet."""
    backup, saved, tls = ROOT / "scripts/backup", tmp_path / "backup", tmp_path / "etcd-client"
    flags = [f"--cacert={tls / 'ca.crt'}", f"--cert={tls / 'tls.crt'}", f"--key={tls / 'tls.key'}"]
    query = f"?ca={tls / 'ca.crt'}&cert={tls / 'tls.crt'}&key={tls / 'tls.key'}"
    with member(tmp_path / "before", tmp_path / "etcd-server") as address:
        notes = start("notes", STORE_URL=f"etcd://{address}/notes{query}")
        for n in range(20):
            answer = httpx.post(f"{notes.http_url}/v1/notes", json={"title": f"n{n}", "body": "", "tags": []})
            assert answer.status_code == 201
        notes.stop()
        refused = run(backup, "save", address, saved, "--command-timeout=1s")  # without a certificate
        assert refused.returncode == 1 and refused.stderr.startswith("backup: etcdctl: ") and not saved.exists()
        done = run(backup, "save", address, saved, *flags)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("notes: notes 20,"), done.stdout
    assert run(backup, "restore", saved, tmp_path / "restored").stdout == done.stdout
    with etcd.running(tmp_path / "restored") as scratch:
        store_tool("export", f"etcd://{scratch}/notes", tmp_path / "notes.export")
    with member(tmp_path / "after", tmp_path / "etcd-server") as address:
        url = f"etcd://{address}/notes{query}"
        store_tool("restore", url, tmp_path / "notes.export")
        store_tool("verify", url, tmp_path / "notes.export")


def test_other_etcds_settings(start, tmp_path: Path):
    """What the environment says of another etcd reaches neither the one that checks the snapshot, nor its client."""
    other = {"ETCDCTL_CACERT": "/nonexistent", "ETCDCTL_ENDPOINTS": "https://127.0.0.1:1", "ETCD_NAME": "other"}
    other |= {"ETCD_CLIENT_CERT_AUTH": "true"}
    with etcd.running(tmp_path / "etcd") as address:
        start("notes", STORE_URL=f"etcd://{address}/notes").stop()
        saved = tmp_path / "backup"
        env = other | {"ETCDCTL_CACERT": ""}
        done = run(ROOT / "scripts/backup", "save", address, saved, **env)
        assert done.returncode == 0, done.stderr
    done = run(ROOT / "scripts/backup", "restore", saved, tmp_path / "restored", **other)
    assert done.returncode == 0, done.stderr
