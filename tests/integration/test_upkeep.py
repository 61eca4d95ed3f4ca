"""upkeep, what jobs record for it by store-tool, and certificates that are renewed under running services."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import etcd
import harness
from fake_cluster import Fake
from harness import ROOT, Service
from test_backup import TIMEOUT, member, run

DAY_S = 24 * 3600


def secrets(folder: Path, *options: str) -> Path:
    """A folder etcd-server and a folder etcd-client, as scripts/etcd-tls makes them of a new authority."""
    fake = Fake(folder / "fake")
    command = [ROOT / "scripts/etcd-tls", *options, "slipway"]
    subprocess.run(command, env=fake.env, check=True, capture_output=True, timeout=TIMEOUT)
    for name in ("etcd-server", "etcd-client"):
        fake.write_secret(name, folder / name)
    return folder


def job(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    return run(harness.program("store-tool"), "job", url, *words)


def gauge(service: Service, name: str, label: str) -> float | None:
    lines = httpx.get(f"{service.admin_url}/metrics").text.splitlines()
    found = [line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{name}{{{label}}} ")]
    return float(found[0]) if found else None


@pytest.fixture
def address(tmp_path: Path):
    with etcd.running(tmp_path / "etcd") as address:
        yield address


def test_jobs_are_reported(address: str, start: Callable[..., Service]):
    """What began, and what succeeded; a job that fails has begun and has not succeeded."""
    url, before = f"etcd://{address}/upkeep", int(time.time())
    upkeep = start("upkeep", STORE_URL=url)
    assert gauge(upkeep, "cronjob_begun_timestamp_seconds", 'cronjob="etcd-backup"') is None
    assert job(url, "etcd-backup", "begun").returncode == 0
    begun = harness.until(lambda: gauge(upkeep, "cronjob_begun_timestamp_seconds", 'cronjob="etcd-backup"'))
    assert before <= begun <= time.time()
    assert gauge(upkeep, "cronjob_succeeded_timestamp_seconds", 'cronjob="etcd-backup"') is None
    assert job(url, "etcd-backup", "succeeded").returncode == 0
    succeeded = harness.until(lambda: gauge(upkeep, "cronjob_succeeded_timestamp_seconds", 'cronjob="etcd-backup"'))
    assert begun <= succeeded <= time.time()
    upkeep.stop()
    again = start("upkeep", STORE_URL=url)
    assert gauge(again, "cronjob_succeeded_timestamp_seconds", 'cronjob="etcd-backup"') == succeeded


@pytest.mark.parametrize(
    "words", [("x", "ended"), ("", "begun"), ("A", "begun"), ("a/b", "begun"), ("a" * 64, "begun")]
)
def test_a_name_or_event_that_is_none_is_refused(address: str, words: tuple[str, str]):
    done = job(f"etcd://{address}/upkeep", *words)
    assert done.returncode in (1, 2) and done.stderr


def test_ends_of_certificates(address: str, start: Callable[..., Service], tmp_path: Path):
    file, none = secrets(tmp_path / "tls") / "etcd-client/tls.crt", tmp_path / "none.crt"
    upkeep = start("upkeep", STORE_URL=f"etcd://{address}/upkeep", CERTIFICATES=f"{file},{none}")
    name = "certificate_not_after_timestamp_seconds"
    assert abs(gauge(upkeep, name, f'file="{file}"') - time.time() - 825 * DAY_S) < DAY_S
    assert gauge(upkeep, name, f'file="{none}"') == 0


def test_a_path_that_is_too_long_is_refused_at_start(tmp_path: Path):
    env = os.environ | {
        "STORE_URL": f"lmdb://{tmp_path}/store",
        "CERTIFICATES": "/tls.crt,/" + 256 * "x",
        "METRICS_PORT": "0",
    }
    done = subprocess.run(
        [harness.program("upkeep")], env=env, capture_output=True, text=True, timeout=harness.START_S, check=False
    )
    assert done.returncode == 2 and "a path is longer than 255 bytes" in done.stderr, done.stderr


def test_a_service_takes_renewed_certificates(start: Callable[..., Service], tmp_path: Path):
    """The authority itself is another one: without the new files no handshake succeeds. No restart."""
    old, new, tls = secrets(tmp_path / "old"), secrets(tmp_path / "new"), tmp_path / "tls"
    shutil.copytree(old / "etcd-client", tls)
    url = f"?ca={tls / 'ca.crt'}&cert={tls / 'tls.crt'}&key={tls / 'tls.key'}"
    note = {"title": "n", "body": "", "tags": []}
    with member(tmp_path / "data", old / "etcd-server") as address:
        notes = start("notes", STORE_URL=f"etcd://{address}/notes{url}")
        assert httpx.post(f"{notes.http_url}/v1/notes", json=note).status_code == 201
    for file in (new / "etcd-client").iterdir():
        shutil.copy(file, tls / file.name)
    with member(tmp_path / "data", new / "etcd-server", address=address):

        def written() -> bool:
            try:
                return httpx.post(f"{notes.http_url}/v1/notes", json=note, timeout=60).status_code == 201
            except httpx.TimeoutException:
                return False

        harness.until(written, what="notes does not come back")
