"""A replica's view of what is in etcd, where it cannot be written."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import etcd
import harness
from harness import BUILD, Service

# No page of the view beyond its first two can be written then: the error is as that of a full disk, and needs no root.
FULL_BYTES = 8192


def survives_full_disk(name: str, folder: Path) -> Path:
    """A build folder with a service that the signal of a file's limit does not end."""
    folder.mkdir()
    script = folder / name
    script.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {BUILD / name}\n")
    script.chmod(0o755)
    return folder


def status(service: Service, path: str) -> int:
    return httpx.get(f"{service.admin_url}{path}", timeout=30).status_code


def write_note(service: Service) -> None:
    answer = httpx.post(f"{service.http_url}/v1/notes", json={"title": "t", "body": "", "tags": []})
    assert answer.status_code == 201


@pytest.fixture
def save_feature(stubs, channel) -> Callable[[Service], None]:
    def save(service: Service) -> None:
        stub = stubs.routeguide_grpc.RouteGuideStub(channel(service.grpc_address))
        feature = stubs.routeguide.Feature(name="x", location=stubs.routeguide.Point(latitude=1, longitude=1))
        assert stub.SaveFeature(feature, timeout=30).ok

    return save


@pytest.mark.parametrize("name", ["notes", "feature-store"])
def test_not_ready_while_it_cannot_be_written(name: str, start, save_feature, tmp_path: Path):
    write = write_note if name == "notes" else save_feature
    build = survives_full_disk(name, tmp_path / "build")
    with etcd.running(tmp_path / "etcd") as address:
        url = f"etcd://{address}/{name}"
        full = start(name, build=build, STORE_URL=f"{url}?view={tmp_path / 'view'}")
        other = start(name, STORE_URL=url)
        _, most = resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE, (FULL_BYTES, most))
        write(other)
        harness.until(lambda: status(full, "/readyz") == 503, what="it stays ready")
        assert status(full, "/healthz") == 200, "a restart does not mend a full disk"
        assert status(other, "/readyz") == 200
        resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE, (most, most))
        harness.until(lambda: status(full, "/readyz") == 200, what="it does not become ready again")
        write(full)
