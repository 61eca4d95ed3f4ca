"""What telemetry may not do: fail a request where nobody takes logs and spans, or grow with what clients send.

Both tests are short unless SLIPWAY_TELEMETRY=long: then readers are away for a minute, and there are 10^6 hostile requests.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import harness
from harness import Service
from otelcol import Collector, attributes

LONG = os.environ.get("SLIPWAY_TELEMETRY") == "long"
BLOCKED_S = 60.0 if LONG else 0.0  # at least; and until lines and spans have been dropped
HOSTILE = 1_000_000 if LONG else 20_000
TOGETHER = 100  # requests that are sent at once on a connection
CLIENTS = 4
QUEUE_SPANS = 256
SPANS_HELD = QUEUE_SPANS + 512  # and the batch that is being sent
GROWTH_BYTES = 2 << 20  # of memory, once all queues are full: what an allocator may still vary by

pytestmark = pytest.mark.timeout(900 if LONG else 180)


def memory(service: Service) -> int:
    """Bytes that the process has for itself."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return 1024 * int(re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)[1])


def page(service: Service) -> dict[str, float]:
    lines = httpx.get(f"{service.admin_url}/metrics", timeout=harness.START_S).text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def exchange(service: Service, requests: list[bytes]) -> list[int]:
    """The statuses of the responses to requests on a connection of their own, all sent at once; the last closes it."""
    url = urlsplit(service.http_url)
    with socket.create_connection((url.hostname, url.port), timeout=harness.START_S) as sock:
        sender = threading.Thread(target=sock.sendall, args=(b"".join(requests),))
        sender.start()
        received = bytearray()
        while data := sock.recv(1 << 16):
            received += data
        sender.join(harness.START_S)
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def last(request: bytes) -> bytes:
    return request[:-2] + b"Connection: close\r\n\r\n"


HELLO = b"GET /demo/hello HTTP/1.1\r\nHost: demo\r\n\r\n"
HELLOS = [HELLO] * (TOGETHER - 1) + [last(HELLO)]


class Load:
    """Clients that ask again and again until the end."""

    def __init__(self, service: Service) -> None:
        self.service, self.sent, self.failed = service, 0, []
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                statuses = exchange(self.service, HELLOS)
            except OSError as error:
                statuses = [repr(error)]
            with self._lock:
                self.sent += TOGETHER
                if statuses != [200] * TOGETHER:
                    self.failed.append(statuses)

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(2 * harness.START_S)
            assert not thread.is_alive()


@contextlib.contextmanager
def deaf() -> Iterator[str]:
    """The address of a collector that accepts connections and reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as accepted:

        def accept() -> None:
            with contextlib.suppress(OSError):  # the listener is shut down
                while True:
                    accepted.enter_context(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(harness.STOP_S)


def dropped(metrics: dict[str, float], name: str) -> float:
    return sum(value for series, value in metrics.items() if series.startswith(name))


def test_nobody_reads_logs_or_spans_and_no_request_fails(start: Callable[..., Service]) -> None:
    with deaf() as collector:
        demo = start("demo", OTEL_EXPORTER_OTLP_ENDPOINT=collector, OTEL_BSP_MAX_QUEUE_SIZE=QUEUE_SPANS,
                     OTEL_BSP_EXPORT_TIMEOUT=2000, SHUTDOWN_TIMEOUT_SECONDS=20)  # fmt: skip
        with demo.unread():
            load, end = Load(demo), time.monotonic() + BLOCKED_S
            try:

                def both_are_dropped() -> bool:
                    metrics = page(demo)
                    return (dropped(metrics, "log_lines_dropped_total") > 0
                            and dropped(metrics, "trace_spans_dropped_total") > 0)  # fmt: skip

                harness.until(both_are_dropped, what="lines and spans are dropped")
                full = memory(demo)
                more = load.sent + 20 * CLIENTS * TOGETHER
                harness.until(lambda: load.sent >= more and time.monotonic() >= end, BLOCKED_S + harness.STOP_S)
            finally:
                load.stop()
            assert load.failed == []
            if not harness.SANITIZED:
                assert memory(demo) < full + GROWTH_BYTES
        metrics = page(demo)
        demo.stop()
    lines = len(demo.logs(message="GET /demo/hello 200"))
    assert lines + metrics["log_lines_dropped_total"] == load.sent
    assert metrics["trace_spans_exported_total"] == 0
    assert load.sent - SPANS_HELD <= dropped(metrics, "trace_spans_dropped_total") <= load.sent
    print(f"{load.sent} requests, {metrics['log_lines_dropped_total']:.0f} lines dropped, {full >> 10} KiB")


# ---- hostile requests ----


def hostile(number: int) -> bytes:
    """One that no other resembles: its method, path, host, trace or all of them."""
    method, path, host = (
        ("GET", f"/hostile-{number}", "demo"),
        (f"HOSTILE{number}", "/demo/hello", "demo"),
        ("GET", f"/demo/hello?hostile={number}", f"hostile-{number}.example"),
        (f"HOSTILE{number}", f"/hostile/{number}/%00%ff{number}", f"hostile-{number}.example:{number % 65536}"),
    )[number % 4]
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\ntraceparent: 00-{number + 1:032x}-{number + 1:016x}-01\r\n"
        f"tracestate: hostile{number}=1\r\nUser-Agent: hostile-{number}\r\n\r\n"
    ).encode()


def attack(service: Service, numbers: Iterator[int]) -> int:
    """By all that the numbers make; returns how many requests were answered."""
    answered = 0
    while some := list(itertools.islice(numbers, TOGETHER)):
        requests = [hostile(number) for number in some]
        answered += len(exchange(service, [*requests[:-1], last(requests[-1])]))
    return answered


def test_hostile_paths_methods_hosts_and_span_names_leave_memory_unchanged(start: Callable[..., Service]) -> None:
    with deaf() as collector:
        demo = start("demo", OTEL_EXPORTER_OTLP_ENDPOINT=collector, OTEL_BSP_MAX_QUEUE_SIZE=QUEUE_SPANS,
                     OTEL_BSP_EXPORT_TIMEOUT=2000, SHUTDOWN_TIMEOUT_SECONDS=20)  # fmt: skip
        with demo.unread():  # a million lines are more than this process should keep
            first = itertools.count()
            attack(demo, itertools.islice(first, 40))
            series = page(demo).keys()
            harness.until(
                lambda: attack(demo, itertools.islice(first, 1000)) and page(demo)["log_lines_dropped_total"] > 0,
                what="lines are dropped: the queue is full",
            )
            before = memory(demo)
            assert attack(demo, iter(range(1_000_000, 1_000_000 + HOSTILE))) == HOSTILE
            after = memory(demo)
            metrics = page(demo)
    assert metrics.keys() == series
    assert not [name for name in series if "hostile" in name.lower()]
    if not harness.SANITIZED:
        assert after < before + GROWTH_BYTES, f"{before} bytes before {HOSTILE} requests, {after} after them"
    print(f"{HOSTILE} requests, {len(series)} series, {before >> 10} KiB before, {after >> 10} KiB after")


def test_hostile_requests_share_the_names_of_spans(
    start: Callable[..., Service], tool: Callable[[str], str], tmp_path: Path
) -> None:
    (folder := tmp_path / "otelcol").mkdir()
    collector = Collector(tool("otelcol"), folder)
    try:
        demo = start("demo", **collector.settings())
        attack(demo, iter(range(400)))
        spans = harness.until(
            lambda: spans if len(spans := collector.spans()) == 400 else [],
            what="400 spans: " + collector.log.read_text(),
        )
    finally:
        collector.stop()
    assert {span["name"] for span in spans} <= {"GET", "GET /demo/hello", "HTTP", "HTTP /demo/hello"}
    assert {attributes(span)["http.request.method"] for span in spans} == {"GET", "_OTHER"}
