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


@pytest.mark.parametrize("name", ["demo", "feature-store"])
def test_idle_connections_leave_room_for_probes(name: str, start: Callable[..., Service]) -> None:
    service = start(name, prefix=PREFIX, WORKERS=2)
    assert allowed(service) == LIMIT
    line = service.wait_log(test=lambda line: "max_admin_connections" in line)
    assert line["severity"] == "WARNING" and line["limit"] == LIMIT
    assert 8 <= line["max_connections"] < LIMIT // 2
    url = urlsplit(service.http_url if name == "demo" else f"http://{service.grpc_address}")
    full = used(service) + line["max_connections"]
    with contextlib.ExitStack() as idle:
        for _ in range(140):
            idle.enter_context(socket.create_connection((url.hostname, url.port), timeout=harness.START_S))
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
