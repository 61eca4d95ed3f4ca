"""What bounds the memory of gRPC clients where tests/attack does not see it: release binaries with the memory limits of their
manifests."""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import grpc
import pytest
from hyperframe.frame import RstStreamFrame

import harness
from harness import Service
from raw_http2 import Connection

pytestmark = pytest.mark.limited

GET_FEATURE = "/routeguide.RouteGuide/GetFeature"
MAX_STREAMS = 100  # of a connection


@dataclass
class Bounded:
    guide: Service
    store: Service


@pytest.fixture
def bounded(limited: Callable[..., Service]) -> Bounded:
    """feature-store, and a route-guide that saves to it, both in memory cgroups."""
    store = limited("feature-store")
    guide = limited("route-guide", FEATURE_STORE_SERVICE_ADDR=store.grpc_address)
    return Bounded(guide, store)


def stays_below_its_limit(service: Service) -> None:
    peak, limit = service.memory.peak, service.memory.limit
    print(f"{service.name}: at most {peak / 2**20:.1f} of {limit / 2**20:.0f} MiB")
    assert service.memory.oom_kills == 0
    assert service.process.poll() is None, f"{service} has ended{service.story()}"
    assert peak < limit


def answers(stubs: SimpleNamespace, routes: Bounded) -> None:
    """An honest client's call on a new connection goes through both services, as soon as there is memory again."""
    place = stubs.routeguide.Point(latitude=409146138, longitude=-746188906)

    def answered() -> bool:
        with grpc.insecure_channel(routes.guide.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)]) as line:
            try:
                feature = stubs.routeguide_grpc.RouteGuideStub(line).GetFeature(place, timeout=harness.START_S)
            except grpc.RpcError as error:
                assert "RESOURCE_EXHAUSTED" in f"{error.code().name} {error.details()}", error
                return False
        assert feature.name.startswith("Berkshire Valley")
        return True

    harness.until(answered, what="honest calls are refused")


def test_streams_of_a_connection_are_bounded(bounded: Bounded) -> None:
    for service in (bounded.guide, bounded.store):
        connection = Connection(service.grpc_address)
        connection.synchronize()
        assert connection.max_streams == MAX_STREAMS
        connection.socket.close()


def test_calls_whose_clients_go_do_not_pile_up(bounded: Bounded, stubs: SimpleNamespace) -> None:
    """20,000 calls that ask feature-store, which does not answer; each is reset at once."""
    place = stubs.routeguide.Point(latitude=409146138, longitude=-746188906).SerializeToString()
    message = b"\0" + struct.pack(">I", len(place)) + place

    def reset_all(_: int) -> None:
        connection = Connection(bounded.guide.grpc_address)
        connection.synchronize()
        for number in range(500):
            connection.open(1 + 2 * number, GET_FEATURE)
            connection.send(1 + 2 * number, message, end=True)
            connection.socket.sendall(RstStreamFrame(1 + 2 * number, error_code=8).serialize())
        connection.synchronize()
        connection.socket.close()

    with bounded.store.stopped(), ThreadPoolExecutor(8) as pool:
        list(pool.map(reset_all, range(40)))
        stays_below_its_limit(bounded.guide)
    answers(stubs, bounded)
