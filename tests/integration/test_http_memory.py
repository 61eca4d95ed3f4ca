"""How much memory clients can make an HTTP service take: release binaries with the memory limits of their manifests."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import hpack
import httpx
import pytest
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame

import harness
from harness import Service

pytestmark = pytest.mark.limited

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16384
STREAMS = 100  # of a connection
NO_WINDOW = SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()  # no body of a reply is taken


class Attack:
    """Connections that stay open until the end, also where the server has closed them."""

    def __init__(self, url: str) -> None:
        self.address = (urlsplit(url).hostname, urlsplit(url).port)
        self.open = contextlib.ExitStack()
        self.refused = 0

    def send(self, data: bytes, timeout: float = harness.START_S) -> None:
        """On a new connection. What the server does not take is lost."""
        try:
            sock = self.open.enter_context(socket.socket())
            sock.settimeout(timeout)
            sock.connect(self.address)
            sock.sendall(data)
        except OSError:
            self.refused += 1


@pytest.fixture
def attack() -> Iterator[Callable[[Service], Attack]]:
    with contextlib.ExitStack() as ends:

        def begin(service: Service) -> Attack:
            begun = Attack(service.http_url)
            ends.push(begun.open)
            return begun

        yield begin


def fields(stream: int, blocks: list[bytes]) -> bytes:
    """The rest of a header block, in frames."""
    frames = [ContinuationFrame(stream, block) for block in blocks]
    frames[-1].flags |= {"END_HEADERS"}
    return b"".join(frame.serialize() for frame in frames)


def continuations(stream: int, end: bool) -> bytes:
    """The rest of a header block: about as much as h2o takes."""
    frames = [ContinuationFrame(stream, b"\0\1x\x7f\xfb\x7e" + b"y" * (MAX_FRAME - 6)) for _ in range(24)]
    frames[-1].flags |= {"END_HEADERS"} if end else set()
    return b"".join(frame.serialize() for frame in frames)


def headers(
    stream: int, method: str, path: str, end: bool, length: int | None = None, block_ends: bool = True
) -> bytes:
    fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "test")]
    fields += [("content-length", str(length))] if length is not None else []
    frame = HeadersFrame(stream, hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields]))
    frame.flags |= ({"END_STREAM"} if end else set()) | ({"END_HEADERS"} if block_ends else set())
    return frame.serialize()


def body(stream: int, size: int) -> bytes:
    """In frames, without the end of the stream."""
    return b"".join(DataFrame(stream, b"x" * min(MAX_FRAME, size - at)).serialize() for at in range(0, size, MAX_FRAME))


def metric(service: Service, name: str, server: str = "http") -> float:
    """As soon as the admin listener has room to say it, which may be what is attacked."""

    def page() -> str:
        reply = httpx.get(f"{service.admin_url}/metrics", timeout=harness.START_S)
        return reply.text if reply.status_code == 200 else ""

    return float(re.search(rf'^{name}{{server="{server}"}} (\S+)$', harness.until(page), re.MULTILINE)[1])


def lives(service: Service, path: str) -> None:
    """It is alive, has stayed below its limit, and answers an honest client."""
    assert httpx.get(f"{service.admin_url}/healthz", timeout=harness.START_S).status_code == 200

    def answered() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{service.http_url}{path}", timeout=harness.START_S).status_code == 200
        return False

    harness.until(answered, what=f"{service} does not answer any more")
    peak, limit = service.memory.peak, service.memory.limit
    print(f"{service.name}: at most {peak / 2**20:.1f} of {limit / 2**20:.0f} MiB")
    assert service.memory.oom_kills == 0
    assert service.process.poll() is None, f"{service} has ended{service.story()}"
    assert peak < limit


def holds(service: Service, path: str) -> None:
    """It has used its bound and said so, and lives."""
    lives(service, path)
    limit = service.memory.limit
    assert metric(service, "http_memory_refused_total") + metric(service, "http_memory_closed_total") > 0
    assert metric(service, "http_memory_max_bytes") == limit / 4
    said = service.logs(lambda line: "hold too much memory" in line["message"])
    assert 1 <= len(said) <= 3
    assert said[0]["severity"] == "WARNING" and said[0]["max_bytes"] == limit // 4


def test_replies_that_are_not_read(limited: Callable[..., Service], attack: Callable[[Service], Attack]) -> None:
    notes = limited("notes")
    with httpx.Client(base_url=notes.http_url, timeout=harness.START_S) as client:
        for i in range(40):
            note = {"title": f"note {i}", "body": "x" * 50_000, "tags": []}
            key = {"Idempotency-Key": f"note-{i}"}
            assert client.post("/v1/notes", json=note, headers=key).status_code == 201
    attacker = attack(notes)
    for _ in range(8):
        ask = (headers(1 + 2 * i, "GET", "/v1/notes?limit=100", end=True) for i in range(STREAMS))
        attacker.send(PREFACE + NO_WINDOW + b"".join(ask))
    harness.until(lambda: metric(notes, "http_memory_refused_total") > 0)
    holds(notes, "/v1/notes?limit=1")


def test_half_sent_heads(limited: Callable[..., Service], attack: Callable[[Service], Attack]) -> None:
    demo, attacker = limited("demo"), None
    attacker = attack(demo)
    head = b"GET /demo/hello HTTP/1.1\r\nHost: test\r\n"
    head += b"".join(b"X-%d: %s\r\n" % (i, b"y" * 8000) for i in range(50))
    for _ in range(400):
        attacker.send(head)
    holds(demo, "/demo/hello")


def test_half_sent_header_blocks(limited: Callable[..., Service], attack: Callable[[Service], Attack]) -> None:
    demo = limited("demo")
    attacker = attack(demo)
    block = HeadersFrame(1, b"\x82").serialize() + continuations(1, end=False)
    for _ in range(400):
        attacker.send(PREFACE + SettingsFrame().serialize() + block)
    holds(demo, "/demo/hello")


def test_half_sent_trailers(limited: Callable[..., Service], attack: Callable[[Service], Attack]) -> None:
    demo = limited("demo")
    attacker = attack(demo)
    trailer = HeadersFrame(1, b"", flags={"END_STREAM"}).serialize() + continuations(1, end=False)
    for _ in range(400):
        attacker.send(PREFACE + SettingsFrame().serialize() + headers(1, "POST", "/", end=False) + trailer)
    holds(demo, "/demo/hello")


def test_heads_of_requests_whose_answers_are_not_read(
    limited: Callable[..., Service], attack: Callable[[Service], Attack]
) -> None:
    demo = limited("demo")
    attacker = attack(demo)
    for _ in range(4):
        asked = b""
        for stream in range(1, 2 * STREAMS, 2):
            asked += headers(stream, "GET", "/demo/hello", end=True, block_ends=False) + continuations(stream, end=True)
        attacker.send(PREFACE + NO_WINDOW + asked)
    holds(demo, "/demo/hello")


def test_heads_of_upgrades_whose_answers_are_not_read(
    limited: Callable[..., Service], attack: Callable[[Service], Attack]
) -> None:
    demo = limited("demo")
    attacker = attack(demo)
    head = b"GET /demo/hello HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    head += b"HTTP2-Settings: AAQAAAAA\r\n"  # as NO_WINDOW
    head += b"".join(b"X-%d: %s\r\n" % (i, b"y" * 8000) for i in range(50))
    for _ in range(400):
        attacker.send(head + b"\r\n" + PREFACE + SettingsFrame().serialize())
    holds(demo, "/demo/hello")


def test_half_sent_bodies(limited: Callable[..., Service], attack: Callable[[Service], Attack]) -> None:
    demo = limited("demo")
    attacker = attack(demo)
    for _ in range(900):
        attacker.send(b"POST /demo/hello HTTP/1.1\r\nHost: test\r\nContent-Length: 65000\r\n\r\n" + b"x" * 64_000)
    holds(demo, "/demo/hello")


@pytest.mark.parametrize("service", ["demo", "notes"])
def test_half_sent_bodies_of_streams(
    limited: Callable[..., Service], attack: Callable[[Service], Attack], service: str
) -> None:
    """Each stream takes what h2o lets it send at once."""
    target = limited(service)
    attacker = attack(target)
    size = 60_000
    for _ in range(60):
        asked = b"".join(headers(1 + 2 * i, "POST", "/", end=False, length=size + 10) for i in range(STREAMS))
        sent = b"".join(body(1 + 2 * i, size) for i in range(STREAMS))
        attacker.send(PREFACE + SettingsFrame().serialize() + asked + WindowUpdateFrame(0, 2**20).serialize() + sent)
    holds(target, "/demo/hello" if service == "demo" else "/v1/notes?limit=1")


@pytest.mark.parametrize("field", [b"\x90", b"\xbe"], ids=["static", "dynamic"])
def test_header_blocks_of_many_fields(
    limited: Callable[..., Service], attack: Callable[[Service], Attack], field: bytes
) -> None:
    """Each byte of a block stands for a field: Accept-Encoding of the static table, or a Host of 3,000 bytes."""
    demo = limited("demo")
    attacker = attack(demo)
    host = b"\x40\x04host\x7f\xb9\x16" + b"x" * 3000
    for _ in range(4):
        asked = b""
        for stream in range(1, 40, 2):
            asked += headers(stream, "GET", "/demo/hello", end=True, block_ends=False)
            asked += ContinuationFrame(stream, host).serialize() + fields(stream, [field * MAX_FRAME] * 25)
        attacker.send(PREFACE + NO_WINDOW + asked)
    lives(demo, "/demo/hello")


@pytest.mark.parametrize("end", [True, False], ids=["whole", "half-sent"])
def test_fields_that_h2o_drops(limited: Callable[..., Service], attack: Callable[[Service], Attack], end: bool) -> None:
    """100 requests, each with 400 KB in 25 Host fields beside :authority. The answers are not read."""
    demo = limited("demo")
    attacker = attack(demo)
    host = b"\0\x04host\x7f\xf1\x7d" + b"x" * (MAX_FRAME - 144)
    for _ in range(4):
        asked = b""
        for stream in range(1, 2 * STREAMS, 2):
            asked += headers(stream, "GET" if end else "POST", "/demo/hello", end=end, block_ends=False)
            asked += fields(stream, [host] * 25)
        attacker.send(PREFACE + NO_WINDOW + asked)
    holds(demo, "/demo/hello")


def test_connections_that_say_nothing(limited: Callable[..., Service], attack: Callable[[Service], Attack]) -> None:
    demo = limited("demo", WORKERS=2)
    attacker = attack(demo)
    for _ in range(4000):
        attacker.send(b"")
    most = metric(demo, "http_memory_max_bytes") / 8192
    harness.until(lambda: metric(demo, "http_connections") >= most - 1, what="too few connections are accepted")
    assert metric(demo, "http_connections") <= most + 2  # two workers may accept one each at the same time
    attacker.open.close()
    lives(demo, "/demo/hello")


def test_unread_metrics(limited: Callable[..., Service]) -> None:
    """20 connections of 100 requests each, whose answers are not read."""
    demo = limited("demo")
    address = (urlsplit(demo.admin_url).hostname, urlsplit(demo.admin_url).port)
    with contextlib.ExitStack() as ends:
        for _ in range(20):
            sock = ends.enter_context(socket.create_connection(address, timeout=harness.START_S))
            ask = (headers(1 + 2 * i, "GET", "/metrics", end=True) for i in range(STREAMS))
            with contextlib.suppress(OSError):  # closed by the server
                sock.sendall(PREFACE + NO_WINDOW + b"".join(ask))
        harness.until(lambda: metric(demo, "http_memory_refused_total", "admin") > 0)
        lives(demo, "/demo/hello")
        said = demo.logs(lambda line: "hold too much memory" in line["message"])
        assert said[0]["server"] == "admin"


def test_unread_pongs(limited: Callable[..., Service], attack: Callable[[Service], Attack]) -> None:
    """200 clients send PING frames and read nothing."""
    demo = limited("demo")
    attacker = attack(demo)
    pings = PingFrame(0, b"flooding").serialize() * 20000
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: attacker.send(PREFACE + NO_WINDOW + pings, 2), range(200)))
    lives(demo, "/demo/hello")
