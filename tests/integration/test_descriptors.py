"""File descriptors: clients cannot take those that the admin listener needs."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import harness
from harness import Service

LIMIT = 128
PREFIX = ("prlimit", f"--nofile={LIMIT // 2}:{LIMIT}")  # soft and hard


def allowed(service: Service) -> int:
    limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    return int(re.search(r"^Max open files +(\d+)", limits, re.MULTILINE)[1])


def used(service: Service) -> int:
    return len(os.listdir(f"/proc/{service.process.pid}/fd"))


def address(service: Service, name: str) -> tuple[str, int]:
    url = urlsplit(service.http_url if name == "demo" else f"http://{service.grpc_address}")
    assert url.hostname and url.port
    return url.hostname, url.port


@pytest.mark.parametrize("name", ["demo", "feature-store"])
def test_idle_connections_leave_room_for_probes(name: str, start: Callable[..., Service]) -> None:
    service = start(name, prefix=PREFIX, WORKERS=2)
    assert allowed(service) == LIMIT
    line = service.wait_log(test=lambda line: "max_admin_connections" in line)
    assert line["severity"] == "WARNING" and line["limit"] == LIMIT
    assert 8 <= line["max_connections"] < LIMIT // 2
    full = used(service) + line["max_connections"]
    with contextlib.ExitStack() as idle:
        for _ in range(140):
            idle.enter_context(socket.create_connection(address(service, name), timeout=harness.START_S))
        harness.until(lambda: used(service) >= full)
        for path in ("healthz", "readyz", "metrics"):
            assert httpx.get(f"{service.admin_url}/{path}", timeout=harness.START_S).status_code == 200
        # There is room for all connections of the admin listener, for as many of the service's own, and for some files.
        assert used(service) + line["max_admin_connections"] + line["max_connections"] + 16 <= LIMIT
    if name == "demo":
        assert httpx.get(f"{service.http_url}/demo/hello", timeout=harness.START_S).status_code == 200


def test_what_the_limit_allows_is_logged(start: Callable[..., Service]) -> None:
    demo = start("demo", MAX_CONNECTIONS=10)
    line = demo.wait_log(test=lambda line: "max_admin_connections" in line)
    assert (line["severity"], line["max_connections"]) == ("INFO", 10)


def refused(service: Service) -> float:
    page = httpx.get(f"{service.admin_url}/metrics", timeout=harness.START_S).text
    return sum(map(float, re.findall(r"^listener_address_refused_total{.*} (\S+)$", page, re.MULTILINE)))


@pytest.mark.parametrize("name", ["demo", "feature-store"])
def test_one_address_has_no_more_connections_than_it_may(name: str, start: Callable[..., Service]) -> None:
    service = start(name, MAX_CONNECTIONS_PER_ADDRESS=2)
    with contextlib.ExitStack() as ends:
        for _ in range(5):
            ends.enter_context(socket.create_connection(address(service, name), timeout=harness.START_S))
        harness.until(lambda: refused(service) == 3)
        for _ in range(5):  # nobody bounds probes
            ends.enter_context(httpx.Client()).get(f"{service.admin_url}/healthz").raise_for_status()
        assert refused(service) == 3
    line = service.wait_log(max_connections_per_address=2)
    assert (line["severity"], line["remote_ip"]) == ("WARNING", "127.0.0.1")


@pytest.mark.parametrize("name", ["demo", "feature-store"])
def test_addresses_of_proxies_are_not_bounded(name: str, start: Callable[..., Service]) -> None:
    service = start(name, MAX_CONNECTIONS_PER_ADDRESS=2, TRUSTED_PROXIES="192.0.2.1, 127.0.0.0/30")
    with contextlib.ExitStack() as ends:
        for _ in range(5):
            ends.enter_context(socket.create_connection(address(service, name), timeout=harness.START_S))
        for last in (3, 4, 4, 4):  # 127.0.0.4 is no proxy
            client = ends.enter_context(socket.socket())
            client.bind((f"127.0.0.{last}", 0))
            client.connect(address(service, name))
        harness.until(lambda: refused(service) == 1)


def test_connections_that_linger_leave_room(start: Callable[..., Service]) -> None:
    """They count neither as connections of a listener nor as files of the process."""
    demo = start("demo", prefix=PREFIX, WORKERS=2)
    line = demo.wait_log(test=lambda line: "max_admin_connections" in line)
    peak = 0
    with contextlib.ExitStack() as ends:
        for _ in range(100):
            client = ends.enter_context(socket.create_connection(address(demo, "demo"), timeout=harness.START_S))
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")  # without Host
            assert client.recv(16).startswith(b"HTTP/1.1 400")
            peak = max(peak, used(demo))
    assert peak + line["max_admin_connections"] + 2 * line["max_connections"] <= LIMIT
