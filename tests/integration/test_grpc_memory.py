"""How gRPC services refuse what would take too much memory: release binaries with the memory limits of their manifests. Floods
are in tests/attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import grpc
import pytest

import harness
from harness import Service
from raw_http2 import Connection

pytestmark = pytest.mark.limited

GET_FEATURE = "/routeguide.RouteGuide/GetFeature"
REFUSALS = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED)
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


def refused(address: str, message: bytes, compression: grpc.Compression = grpc.Compression.NoCompression) -> None:
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as line:
        call = line.unary_unary(GET_FEATURE, bytes, bytes)
        with pytest.raises(grpc.RpcError) as refusal:
            call(message, timeout=harness.START_S, compression=compression)
    assert refusal.value.code() in REFUSALS, refusal.value


def an_unknown_field(size: int) -> bytes:
    """A message that is valid but for its size."""
    length, prefix = size, b""
    while length > 127:
        prefix += bytes([length & 127 | 128])
        length >>= 7
    return b"\x7a" + prefix + bytes([length]) + b"a" * size


def test_a_compressed_message_is_refused_by_its_full_size(bounded: Bounded, stubs: SimpleNamespace) -> None:
    """128 MiB that are 126 KB on the wire."""
    message = an_unknown_field(128 << 20)
    for service in (bounded.guide, bounded.store):
        refused(service.grpc_address, message, grpc.Compression.Gzip)
        stays_below_its_limit(service)
    with grpc.insecure_channel(bounded.guide.grpc_address) as line:
        call = line.unary_unary(GET_FEATURE, bytes, bytes)
        call(an_unknown_field(16), timeout=harness.START_S, compression=grpc.Compression.Gzip)
    answers(stubs, bounded)


def test_a_message_beyond_all_limits_is_refused(bounded: Bounded, stubs: SimpleNamespace) -> None:
    message = bytes(160 << 20)
    for service in (bounded.guide, bounded.store):
        refused(service.grpc_address, message)
        stays_below_its_limit(service)
    answers(stubs, bounded)


def test_streams_of_a_connection_are_bounded(bounded: Bounded) -> None:
    for service in (bounded.guide, bounded.store):
        connection = Connection(service.grpc_address)
        connection.synchronize()
        assert connection.max_streams == MAX_STREAMS
        connection.socket.close()
