"""How much memory clients can make a gRPC service take: release binaries with the memory limits of their manifests."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import grpc
import httpx
import pytest
from hyperframe.frame import RstStreamFrame

import harness
from harness import Service
from raw_http2 import Connection

pytestmark = pytest.mark.limited

GET_FEATURE = "/routeguide.RouteGuide/GetFeature"
RECORD_ROUTE = "/routeguide.RouteGuide/RecordRoute"
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


def open_streams(service: Service) -> Connection:
    """A connection with as many streams as it may have, none of which sends anything."""
    connection = Connection(service.grpc_address)
    connection.synchronize()
    for number in range(MAX_STREAMS):
        connection.open(1 + 2 * number, RECORD_ROUTE)
    connection.synchronize()
    return connection


def fill(service: Service, size: int) -> Connection:
    """A connection with as many streams as it may have, each with a message of that size of which the end is missing."""
    connection = Connection(service.grpc_address)
    try:
        connection.synchronize()
        message = b"\0" + struct.pack(">I", size + 1) + b"\x0a" * size
        left = {1 + 2 * number: message for number in range(MAX_STREAMS)}
        for stream in left:
            connection.open(stream, RECORD_ROUTE)
        idle = 0
        while any(left.values()) and idle < 3:
            sent = 0
            for stream, data in left.items():
                count = connection.send(stream, data)
                left[stream] = data[count:]
                sent += count
            connection.synchronize()
            idle = idle + 1 if sent == 0 else 0
    except OSError:
        pass  # the server has closed it
    return connection


def attack(service: Service, client: Callable[[Service], Connection], count: int) -> None:
    """So many clients; the service refuses some of their calls and lives on."""
    with ThreadPoolExecutor(8) as pool:
        connections = list(pool.map(lambda _: client(service), range(count)))
    service.wait_log(grpc_code="RESOURCE_EXHAUSTED")
    stays_below_its_limit(service)
    for connection in connections:
        connection.socket.close()


@pytest.mark.parametrize("name", ["guide", "store"])
def test_open_calls_are_bounded(bounded: Bounded, stubs: SimpleNamespace, name: str) -> None:
    """100 connections with 100 calls each: 130 MiB, if all of them were taken."""
    attack(getattr(bounded, name), open_streams, 100)
    answers(stubs, bounded)


@pytest.mark.parametrize("name", ["guide", "store"])
def test_unfinished_messages_are_bounded(bounded: Bounded, stubs: SimpleNamespace, name: str) -> None:
    """40 connections with 100 messages of 60 KB each: 230 MiB, if all of them were taken."""
    attack(getattr(bounded, name), lambda service: fill(service, 60000), 40)
    answers(stubs, bounded)


def test_unread_answers_are_bounded(bounded: Bounded, stubs: SimpleNamespace) -> None:
    """20 connections with 100 streams of the whole data set each, of which nothing is read."""
    whole = stubs.routeguide.Rectangle(
        lo=stubs.routeguide.Point(latitude=-900000000, longitude=-1800000000),
        hi=stubs.routeguide.Point(latitude=900000000, longitude=1800000000),
    ).SerializeToString()

    def list_all(service: Service) -> Connection:
        connection = Connection(service.grpc_address, window=0)
        connection.synchronize()
        for stream in range(1, 2 * MAX_STREAMS, 2):
            connection.open(stream, "/routeguide.RouteGuide/ListFeatures")
            connection.send(stream, b"\0" + struct.pack(">I", len(whole)) + whole, end=True)
        connection.synchronize()
        return connection

    def all_seen() -> bool:
        for connection in connections:
            connection.synchronize()
        metrics = httpx.get(f"{bounded.guide.admin_url}/metrics").text
        in_flight = int(re.search(r"^grpc_server_in_flight (\d+)$", metrics, re.MULTILINE)[1])
        return in_flight + sum(len(connection.ended) for connection in connections) >= MAX_STREAMS * len(connections)

    with ThreadPoolExecutor(8) as pool:
        connections = list(pool.map(lambda _: list_all(bounded.guide), range(20)))
    harness.until(all_seen, what="not all calls have begun or been refused")
    stays_below_its_limit(bounded.guide)
    for connection in connections:
        connection.socket.close()
    answers(stubs, bounded)


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
