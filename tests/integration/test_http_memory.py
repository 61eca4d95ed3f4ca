"""What bounds the memory of HTTP clients where tests/attack does not see it: release binaries with the memory limits of their
manifests."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import hpack
import httpx
import pytest
from hyperframe.frame import HeadersFrame, SettingsFrame

import harness
from harness import Service

pytestmark = pytest.mark.limited

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAMS = 100  # of a connection
NO_WINDOW = SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()  # no body of a reply is taken


def address(url: str) -> tuple[str | None, int | None]:
    return urlsplit(url).hostname, urlsplit(url).port


def get(stream: int, path: str) -> bytes:
    fields = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "test")]
    block = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields])
    return HeadersFrame(stream, block, flags={"END_STREAM", "END_HEADERS"}).serialize()


def metric(service: Service, name: str, server: str = "http") -> float:
    """As soon as the admin listener has room to say it, which may be what is attacked."""

    def page() -> str:
        reply = httpx.get(f"{service.admin_url}/metrics", timeout=harness.START_S)
        return reply.text if reply.status_code == 200 else ""

    return float(re.search(rf'^{name}{{server="{server}"}} (\S+)$', harness.until(page), re.MULTILINE)[1])


def lives(service: Service) -> None:
    """It is alive, has stayed below its limit, and answers an honest client."""
    assert httpx.get(f"{service.admin_url}/healthz", timeout=harness.START_S).status_code == 200

    def answered() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{service.http_url}/demo/hello", timeout=harness.START_S).status_code == 200
        return False

    harness.until(answered, what=f"{service} does not answer any more")
    assert service.memory.oom_kills == 0
    assert service.process.poll() is None, f"{service} has ended{service.story()}"
    assert service.memory.peak < service.memory.limit


def test_connections_that_say_nothing(limited: Callable[..., Service]) -> None:
    """As many are accepted as the memory of clients has room for, and no more."""
    demo = limited("demo", WORKERS=2)
    with contextlib.ExitStack() as ends:
        for _ in range(4000):
            sock = ends.enter_context(socket.socket())
            sock.settimeout(harness.START_S)
            with contextlib.suppress(OSError):  # closed by the server
                sock.connect(address(demo.http_url))
        most = metric(demo, "http_memory_max_bytes") / 8192
        harness.until(lambda: metric(demo, "http_connections") >= most - 1, what="too few connections are accepted")
        assert metric(demo, "http_connections") <= most + 2  # two workers may accept one each at the same time
    lives(demo)


def test_unread_metrics(limited: Callable[..., Service]) -> None:
    """20 connections of 100 requests each, whose answers are not read: the admin listener counts and logs what it refuses."""
    demo = limited("demo")
    with contextlib.ExitStack() as ends:
        for _ in range(20):
            sock = ends.enter_context(socket.create_connection(address(demo.admin_url), timeout=harness.START_S))
            with contextlib.suppress(OSError):  # closed by the server
                sock.sendall(PREFACE + NO_WINDOW + b"".join(get(1 + 2 * i, "/metrics") for i in range(STREAMS)))
        harness.until(lambda: metric(demo, "http_memory_refused_total", "admin") > 0)
        lives(demo)
        said = demo.logs(lambda line: "hold too much memory" in line["message"])
        assert said[0]["server"] == "admin"
