"""A former version and this one, side by side on the same data and one after the other: as in a rollout, and a rollback.

`just test-versions REVISION` builds the former one; without it these tests are left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest

import etcd
from harness import BUILD, Service

FORMER = Path(os.environ.get("SLIPWAY_FORMER_BUILD", ""))
pytestmark = pytest.mark.skipif(not FORMER.name, reason="just test-versions REVISION has a former version to run")
PAIRS = [(FORMER, BUILD), (BUILD, FORMER)]


def create(service: Service, title: str, key: str) -> httpx.Response:
    note = {"title": title, "body": "b", "tags": ["t"]}
    return httpx.post(f"{service.http_url}/v1/notes", json=note, headers={"Idempotency-Key": key})


def pages(service: Service, other: Service) -> list[dict[str, Any]]:
    """All notes, each page from one and the next from the other."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = httpx.get(f"{service.http_url}/v1/notes?limit=7{cursor}").json()
        found += page["notes"]
        if not page["next_cursor"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"
        service, other = other, service


def test_notes_side_by_side(start, tmp_path: Path) -> None:
    with etcd.running(tmp_path / "etcd") as address:
        both = [start("notes", build=build, STORE_URL=f"etcd://{address}/notes") for build in (FORMER, BUILD)]
        for i in range(40):
            one, other = both[i % 2], both[1 - i % 2]
            answer = create(one, f"n{i}", f"key-{i}")
            again = create(other, f"n{i}", f"key-{i}")
            assert (answer.status_code, answer.json()) == (again.status_code, again.json()) == (201, answer.json())
            url = f"/v1/notes/{answer.json()['id']}"
            seen = httpx.get(other.http_url + url)
            assert seen.json() == answer.json() and seen.headers["etag"] == answer.headers["etag"]
            change = {"headers": {"If-Match": seen.headers["etag"]}, "json": {"title": "t", "body": "", "tags": []}}
            assert httpx.put(one.http_url + url, **change).status_code == 200
            assert httpx.put(other.http_url + url, **change).status_code == 412
        listed = pages(*both)
        assert len(listed) == 40 and listed == pages(*reversed(both))
        for service in both:
            service.stop()


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=["upgrade", "rollback"])
def test_notes_one_after_the_other(start, tmp_path: Path, first: Path, second: Path) -> None:
    url = f"lmdb://{tmp_path / 'data'}"
    before = start("notes", build=first, STORE_URL=url)
    ids = [create(before, f"n{i}", f"key-{i}").json()["id"] for i in range(20)]
    listed = pages(before, before)
    before.stop()
    after = start("notes", build=second, STORE_URL=url)
    assert pages(after, after) == listed
    assert create(after, "n3", "key-3").json()["id"] == ids[3]
    assert create(after, "new", "new").status_code == 201
    assert httpx.delete(f"{after.http_url}/v1/notes/{ids[0]}").status_code == 204
    after.stop()
    again = start("notes", build=first, STORE_URL=url)
    assert [note["id"] for note in pages(again, again)][1:] == ids[:0:-1]
    again.stop()


def test_feature_store_side_by_side(start, stubs, channel, tmp_path: Path) -> None:
    messages, clients = stubs.routeguide, stubs.routeguide_grpc
    with etcd.running(tmp_path / "etcd") as address:
        both = [
            start("feature-store", build=build, STORE_URL=f"etcd://{address}/features") for build in (FORMER, BUILD)
        ]
        calls = [clients.RouteGuideStub(channel(service.grpc_address)) for service in both]
        histories = [clients.FeatureHistoryStub(channel(service.grpc_address)) for service in both]
        point = messages.Point(latitude=1, longitude=2)
        for i in range(20):
            feature = messages.Feature(name=f"f{i}", location=point)
            for call in (calls[i % 2], calls[1 - i % 2]):
                assert call.SaveFeature(feature, metadata=[("idempotency-key", f"k{i}")], timeout=30).ok
                assert call.GetFeature(point, timeout=30).name == f"f{i}"
        asked = messages.ListSavesRequest(location=point, page_size=100)
        saves = [history.ListSaves(asked, timeout=30).saves for history in histories]
        assert saves[0] == saves[1] and [save.name for save in saves[0]] == [f"f{i}" for i in range(19, -1, -1)]
        for service in both:
            service.stop()
