"""Streaming replies, embedded files, compression and CORS with real clients: tests/streams/server.c and the services."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import socket
import struct
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import harness
from harness import ROOT, Service, until

SERVER = "tests/streams/stream-server"
WWW = ROOT / "tests/unit/www"
MEMORY = 64 << 20
PROTOCOLS = ["--http1.1", "--http2-prior-knowledge"]


@pytest.fixture
def server(start: Callable[..., Service]) -> Service:
    return start(SERVER, MEMORY_LIMIT_BYTES=MEMORY)


def curl(*args: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["curl", "-sS", *args], capture_output=True, timeout=harness.START_S * 3, check=check)


def metric(service: Service, series: str) -> float:
    with urllib.request.urlopen(f"{service.admin_url}/metrics", timeout=harness.START_S) as reply:
        found = re.search(rf"^{re.escape(series)} (\S+)$", reply.read().decode(), re.MULTILINE)
    assert found, series
    return float(found[1])


def streams(service: Service) -> float:
    return metric(service, 'http_streams{server="http"}')


@contextlib.contextmanager
def clients(service: Service, request: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Connections that have sent a request, and read nothing."""
    address = (urlsplit(service.http_url).hostname, urlsplit(service.http_url).port)
    with contextlib.ExitStack() as ends:
        opened = []
        for _ in range(count):
            sock = ends.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(harness.START_S)
            sock.connect(address)
            sock.sendall(request)
            opened.append(sock)
        yield opened


def asking(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


# ---- events ----


def parse_events(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    """Ids and data."""
    event_id, data = 0, []
    for line in lines:
        if line.startswith("id: "):
            event_id = int(line[4:])
        elif line.startswith("data: "):
            data.append(line[6:])
        elif line == "":
            yield event_id, "\n".join(data)
            data = []


@pytest.mark.parametrize("http2", [False, True])
def test_events_are_numbered_on_from_the_last_one(server: Service, http2: bool) -> None:
    with httpx.Client(http1=not http2, http2=http2, timeout=harness.START_S) as client:
        for headers, first in (({}, 1), ({"Last-Event-ID": "41"}, 42), ({"Last-Event-ID": "none"}, 1)):
            with client.stream("GET", f"{server.http_url}/events", headers=headers) as reply:
                assert reply.headers["content-type"] == "text/event-stream"
                assert "content-encoding" not in reply.headers
                events = parse_events(reply.iter_lines())
                assert [next(events) for _ in range(3)] == [(n, f"event\n{n}") for n in range(first, first + 3)]
    until(lambda: streams(server) == 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_events_reach_curl_until_the_server_drains(server: Service, protocol: str) -> None:
    command = ["curl", "-sSN", protocol, f"{server.http_url}/events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        events = parse_events(line.rstrip("\n") for line in process.stdout)
        assert next(events) == (1, "event\n1")
        server.signal()
        rest = [number for number, _ in events]  # curl ends
        assert all(after == before + 1 for before, after in pairwise(rest))
        assert process.wait(harness.STOP_S) == 0, process.stderr.read()  # 18 would be: the body is not complete
    server.stop()


# ---- many writes ----


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_10_000_small_writes_arrive_in_order(server: Service, protocol: str) -> None:
    done = curl(protocol, f"{server.http_url}/numbers?count=10000")
    assert done.stdout.decode().split() == [str(n) for n in range(10000)]


def test_small_writes_over_many_streams_of_a_connection(server: Service) -> None:
    async def read_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(http1=False, http2=True, limits=limits, timeout=harness.START_S) as client:
            return await asyncio.gather(*(client.get(f"{server.http_url}/numbers?count=2000") for _ in range(20)))

    for reply in asyncio.run(read_all()):
        assert reply.text.split() == [str(n) for n in range(2000)]


def test_a_head_has_no_body(server: Service) -> None:
    for protocol in PROTOCOLS:
        done = curl(protocol, "--head", f"{server.http_url}/events")
        assert b"text/event-stream" in done.stdout
    until(lambda: streams(server) == 0)


# ---- hostile clients ----


def test_clients_that_do_not_read_stay_within_the_memory(server: Service) -> None:
    """300 clients could make 300 queues of up to 64 KiB, beside their sockets' buffers. The bound is 16 MiB."""
    bound = metric(server, 'http_memory_max_bytes{server="http"}')
    assert bound == MEMORY / 4
    with (
        clients(server, asking("/numbers?count=100000000"), 100),
        clients(server, asking("/events"), 200),
        httpx.Client(timeout=harness.START_S) as honest,
    ):
        until(lambda: metric(server, 'http_memory_bytes{server="http"}') > 100 * 4096)
        for _ in range(20):  # what the kernel holds is counted at a look: until then there may be too much
            assert honest.get(f"{server.http_url}/long").status_code in {200, 503}
            until(lambda: metric(server, 'http_memory_bytes{server="http"}') <= bound)
        until(lambda: honest.get(f"{server.http_url}/long").status_code == 200)
    until(lambda: streams(server) == 0)
    until(lambda: metric(server, 'http_memory_bytes{server="http"}') <= 65536)
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())[1])
    assert harness.SANITIZED or peak * 1024 < MEMORY, f"peak {peak} KiB"


def test_one_that_takes_nothing_is_cut_off(start: Callable[..., Service]) -> None:
    server = start(SERVER, REQUEST_TIMEOUT_MS=500)
    with clients(server, asking("/numbers?count=100000000"), 3):
        until(lambda: streams(server) == 3)
        until(lambda: streams(server) == 0)
    assert metric(server, 'http_streams_cut_total{server="http"}') == 3


@pytest.mark.parametrize("path", ["/events", "/numbers?count=100000000"])
def test_clients_that_reset(server: Service, path: str) -> None:
    with clients(server, asking(path), 100) as opened:
        for sock in opened:
            assert sock.recv(12) == b"HTTP/1.1 200"
        for sock in opened:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        until(lambda: streams(server) == 0)
    assert curl(f"{server.http_url}/numbers?count=3").stdout == b"0\n1\n2\n"


def test_streams_are_requests_in_flight(server: Service) -> None:
    with clients(server, asking("/events"), 1):
        until(lambda: streams(server) == 1)
        (request,) = until(lambda: httpx.get(f"{server.admin_url}/in-flight").json()["requests"])
        assert (request["route"], request["phase"]) == ("/events", "streaming")


def test_a_drain_ends_streams_in_time(start: Callable[..., Service]) -> None:
    """The events end at once. Writers of numbers do not look; one of their clients does not read."""
    server = start(SERVER, SHUTDOWN_TIMEOUT_SECONDS=4)
    with (
        clients(server, asking("/numbers?count=100000000"), 1),
        clients(server, asking("/events"), 1) as (reader,),
    ):
        until(lambda: streams(server) == 2)
        threading.Thread(target=server.signal).start()
        rest = b"".join(iter(lambda: reader.recv(65536), b""))
        assert rest.endswith(b"\r\n0\r\n\r\n")
        server.exit_status = 0
        server.stop()


# ---- files ----


def test_files(server: Service) -> None:
    page = (WWW / "index.html").read_bytes()
    url = f"{server.http_url}/files/index.html"
    for protocol in PROTOCOLS:
        assert curl(protocol, url).stdout == page
        assert curl(protocol, "--compressed", url).stdout == page
        assert curl(protocol, "-r", "5-9", url).stdout == page[5:10]
        assert curl(protocol, "-r", "-7", url).stdout == page[-7:]
        assert curl(protocol, "-r", f"10-{2**64}", url).stdout == page[10:]
    assert curl(f"{server.http_url}/files/js/app.js").stdout == (WWW / "js/app.js").read_bytes()
    assert curl("--path-as-is", "-w", "%{http_code}", "-o", "/dev/null",
                f"{server.http_url}/files/../index.html").stdout == b"404"  # fmt: skip


def test_a_download_is_resumed(server: Service, tmp_path: Path) -> None:
    page = (WWW / "index.html").read_bytes()
    part = tmp_path / "part"
    part.write_bytes(page[:100])
    curl("-C", "-", "-o", str(part), f"{server.http_url}/files/index.html")
    assert part.read_bytes() == page


def test_a_client_that_has_a_file_does_not_get_it_again(server: Service, tmp_path: Path) -> None:
    tag, out = tmp_path / "tag", tmp_path / "out"
    for expected in ("200", "304"):
        done = curl("--compressed", "--etag-save", str(tag), "--etag-compare", str(tag), "-o", str(out),
                    "-w", "%{http_code}", f"{server.http_url}/files/index.html")  # fmt: skip
        assert done.stdout.decode() == expected
        assert b"-gzip" in tag.read_bytes()


# ---- compression ----


def test_a_client_may_change_what_it_has_read_compressed(start: Callable[..., Service]) -> None:
    url = start(SERVER, HTTP_COMPRESSION="true").http_url + "/long"
    with httpx.Client() as client:
        reply = client.get(url)  # which accepts gzip
        assert reply.headers["content-encoding"] == "gzip"
        assert int(reply.headers["content-length"]) < len(reply.content)
        assert reply.headers["etag"] == '"1-gzip"'
        assert client.put(url, headers={"If-Match": '"1-gzip"'}).headers["etag"] == '"2"'
        assert client.put(url, headers={"If-Match": '"1-gzip"'}).status_code == 412
        assert client.put(url, headers={"If-Match": '"2"'}).status_code == 204
        plain = client.get(url, headers={"Accept-Encoding": "identity"})
        assert plain.headers["etag"] == '"3"'
        assert plain.headers["vary"] == reply.headers["vary"] == "accept-encoding"


def test_compression_is_off_by_default(server: Service) -> None:
    reply = httpx.get(f"{server.http_url}/long")
    assert "content-encoding" not in reply.headers
    assert "vary" not in reply.headers


def test_metrics_are_compressed_for_who_accepts_it(start: Callable[..., Service]) -> None:
    url = start("demo").admin_url + "/metrics"
    packed = curl("-H", "Accept-Encoding: gzip", url).stdout
    assert b"\nprocess_" in gzip.decompress(packed)
    assert b"\nprocess_" in curl("-H", "Accept-Encoding: gzip;q=0", url).stdout
    assert b"\nprocess_" in curl(url).stdout


# ---- pages of other origins ----


def test_notes_for_a_page_of_another_origin(start: Callable[..., Service]) -> None:
    page = "https://shop.example"
    notes = start("notes", CORS_ALLOWED_ORIGINS=f"http://localhost:3000, {page}").http_url + "/v1/notes"
    with httpx.Client(headers={"Origin": page}) as client:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,idempotency-key",
        }
        allowed = client.options(notes, headers=asked)
        assert allowed.status_code == 204
        assert "POST" in allowed.headers["access-control-allow-methods"]
        assert allowed.headers["access-control-allow-headers"] == "content-type,idempotency-key"
        made = client.post(notes, json={"title": "a", "body": "b"}, headers={"Idempotency-Key": "cors"})
        assert made.status_code == 201
        for reply in (allowed, made, client.get(notes), client.get(notes + "/none")):
            assert reply.headers["access-control-allow-origin"] == page
            assert reply.headers["vary"] == "origin"
        other = client.get(notes, headers={"Origin": "https://evil.example"})
        assert other.status_code == 200
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("settings", "status", "said"),
    [
        ({"CORS_ALLOWED_ORIGINS": "null"}, 2, "CORS_ALLOWED_ORIGINS"),
        ({"CORS_ALLOWED_ORIGINS": "https://a.example/path"}, 2, "CORS_ALLOWED_ORIGINS"),
        ({"CORS_ALLOWED_ORIGINS": "*", "CORS_ALLOW_CREDENTIALS": "true"}, 1, "CORS_ALLOW_CREDENTIALS"),
        ({"CORS_ALLOWED_ORIGINS": "https://a.example", "CORS_ALLOW_CREDENTIALS": "true"}, 0, ""),
    ],
)
def test_wrong_lists_of_origins_are_refused(settings: dict[str, str], status: int, said: str, tmp_path: Path) -> None:
    result = harness.run("demo", "-n", folder=tmp_path, **settings)
    assert result.returncode == status
    assert said in result.stderr
