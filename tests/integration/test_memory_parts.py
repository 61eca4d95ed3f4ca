"""The parts of the memory limit: the table of docs/architecture.md is what a service reports and what bounds it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from types import SimpleNamespace

import grpc
import httpx
import pytest

import harness
from harness import ROOT, Service

TABLE = ROOT / "docs/architecture.md"
COLUMNS = ("64Mi", "128Mi", "256Mi")


def documented() -> dict[str, list[int]]:
    """Bytes of each part by the columns of the table."""
    text = TABLE.read_text().split("### Memory of a process")[1].split("\n### ")[0]
    assert re.search(r"^\| part .* of 64 MiB \| of 128 MiB \| of 256 MiB \|$", text, re.MULTILINE)
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\| (\d+)/(\d+) \| (\d+) MiB \| (\d+) MiB \| (\d+) MiB \|$", text, re.MULTILINE
    )
    assert all(
        int(each) * int(row[2]) == int(row[1]) * size for row in rows for each, size in zip(row[3:], (64, 128, 256))
    )
    return {row[0]: [int(each) << 20 for each in row[3:]] for row in rows}


def reported(service: Service, pattern: str) -> dict[str, int]:
    page = httpx.get(f"{service.admin_url}/metrics", timeout=harness.START_S).text
    return {name: int(float(value)) for name, value in re.findall(rf"^{pattern} (\S+)$", page, re.MULTILINE)}


@pytest.mark.parametrize("limit", COLUMNS)
def test_the_table_of_parts_is_what_a_service_reports(start: Callable[..., Service], limit: str) -> None:
    demo = start("demo", MEMORY_LIMIT_BYTES=limit)
    table = {part: sizes[COLUMNS.index(limit)] for part, sizes in documented().items()}
    assert reported(demo, r'memory_part_max_bytes{part="(\w+)"}') == table
    bounds = reported(demo, r'http_memory_max_bytes{server="(\w+)"}')
    assert bounds == {"http": table["http"], "admin": table["admin"]}


def test_a_grpc_server_has_its_part(start_with_peers: Callable[..., Service]) -> None:
    guide = start_with_peers("route-guide", MEMORY_LIMIT_BYTES="128Mi")
    assert reported(guide, "(grpc_server_memory_max_bytes)")["grpc_server_memory_max_bytes"] == documented()["grpc"][1]


def test_a_grpc_client_has_its_part(start: Callable[..., Service], stubs: SimpleNamespace) -> None:
    """Two sixteenths of 16 MiB are 128 calls of 16 KiB each."""
    calls, allowed = 200, 128
    store = start("feature-store")
    guide = start(
        "route-guide",
        FEATURE_STORE_SERVICE_ADDR=store.grpc_address,
        FEATURE_STORE_TIMEOUT_MS=60000,
        MEMORY_LIMIT_BYTES="16Mi",
    )
    place = stubs.routeguide.Point(latitude=409146138, longitude=-746188906)
    with contextlib.ExitStack() as ends:
        lines = [
            ends.enter_context(
                grpc.insecure_channel(guide.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)])
            )
            for _ in range(4)
        ]
        guides = [stubs.routeguide_grpc.RouteGuideStub(line) for line in lines]
        with store.stopped():
            asked = [guides[i % len(guides)].GetFeature.future(place, timeout=harness.START_S) for i in range(calls)]
            harness.until(lambda: sum(call.done() for call in asked) == calls - allowed)
        for call in asked:
            assert call.exception() is None or "RESOURCE_EXHAUSTED" in f"{call.code().name} {call.details()}"
        assert sum(call.exception() is None for call in asked) == allowed


def test_the_parts_fit_into_the_limit() -> None:
    """clients is what http, grpc and http_outgoing may have together."""
    table = documented()
    apart = [part for part in table if part not in ("http", "grpc", "http_outgoing")]
    for column, limit in enumerate((64 << 20, 128 << 20, 256 << 20)):
        assert sum(table[part][column] for part in apart) < limit
