"""What the admin port shows of a process to whoever looks into it: requests in flight, connections, options in force."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import harness
from harness import Service
from raw_http2 import Connection
from test_logging import other_address

TRACE = "0af7651916cd43dd8448eb211c80319c"
Start = Callable[..., Service]


def in_flight(service: Service) -> dict[str, Any]:
    page = httpx.get(f"{service.admin_url}/in-flight", timeout=harness.START_S)
    assert page.status_code == 200, page.text
    shown: dict[str, Any] = page.json()
    return shown


def connect(service: Service) -> socket.socket:
    url = urlsplit(service.http_url)
    assert url.hostname and url.port
    return socket.create_connection((url.hostname, url.port), timeout=harness.START_S)


def test_a_request_that_waits_is_shown(start: Start) -> None:
    demo = start("demo", WORKERS=2)
    with connect(demo) as waits, connect(demo) as idle:
        waits.sendall(
            f"GET /demo/hello?delay=60000&key=secret HTTP/1.1\r\nhost: d\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n\r\n".encode()
        )
        shown = harness.until(lambda: (now := in_flight(demo))["requests"] and now, what="no request")
        assert idle
    (request,) = shown["requests"]
    assert request.pop("age_ms") >= 0 and request.pop("worker") in (0, 1)
    assert request == {
        "server": "http",
        "phase": "handling",
        "method": "GET",
        "path": "/demo/hello",
        "route": "/demo/hello",
        "client": "127.0.0.1",
        "trace": TRACE,
    }
    assert sorted(connection["requests"] for connection in shown["connections"]) == [0, 1]
    assert {connection["peer"] for connection in shown["connections"]} == {"127.0.0.1"}
    assert (shown["stuck"], shown["complete"]) == ([], True)


def test_a_stream_is_shown(start: Start) -> None:
    store = start("feature-store")
    connection = Connection(store.grpc_address)
    connection.synchronize()
    connection.open(1, "/routeguide.RouteGuide/SaveFeature")
    shown = harness.until(lambda: (now := in_flight(store))["requests"] and now, what="no call")
    (call,) = shown["requests"]
    assert (call["server"], call["phase"], call["route"]) == ("grpc", "receiving", "/routeguide.RouteGuide/SaveFeature")
    assert [one["requests"] for one in shown["connections"] if one["server"] == "grpc"] == [1]
    connection.socket.close()
    harness.until(lambda: not in_flight(store)["requests"], what="the call has not ended")


def test_a_list_that_was_cut_says_so(start: Start) -> None:
    demo = start("demo", WORKERS=1)
    with contextlib.ExitStack() as connections:
        for _ in range(200):
            connections.enter_context(connect(demo))
        harness.until(lambda: len(in_flight(demo)["connections"]) == 200, what="all are shown")
        assert in_flight(demo)["complete"]
        connections.enter_context(connect(demo))
        shown = harness.until(lambda: not (now := in_flight(demo))["complete"] and now, what="it is cut")
        assert len(shown["connections"]) == 200


def test_only_over_loopback_and_on_the_admin_port(start: Start) -> None:
    service = start("demo", BIND_ADDRESS="::")
    assert httpx.get(f"{service.http_url}/in-flight").status_code == 404
    assert httpx.get(f"{service.http_url}/config").status_code == 404
    address = other_address()
    if address is None:
        pytest.skip("this machine has no address but loopback's")
    for path in ("in-flight", "config"):
        assert httpx.get(f"http://{address}:{urlsplit(service.admin_url).port}/{path}").status_code == 403


def test_one_answer_at_a_time(start: Start) -> None:
    """Whoever asks while another answer is made is told to wait; none is lost."""
    demo = start("demo")
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(httpx.get(f"{demo.admin_url}/in-flight", timeout=harness.START_S).status_code)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 503} and 200 in statuses
    assert in_flight(demo)["complete"]


def test_the_options_in_force(start: Start) -> None:
    demo = start("demo", WORKERS=3, LOG_LEVEL="info")
    shown = httpx.get(f"{demo.admin_url}/config").json()
    assert (shown["WORKERS"], shown["LOG_LEVEL"], shown["HTTP_IDLE_SECONDS"]) == ("3", "info", "620")
