"""demo: its three pages, its bounds, and the histogram that its dashboards and alerts live on."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import harness
from harness import Service

Start = Callable[..., Service]
BUCKETS = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
MAX_WAITING = 10_000


@pytest.fixture
def demo(start: Start) -> Service:
    return start("demo")


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The samples by name and labels, of a text that must follow the format to the letter."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    kinds: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("#"):
            comment = re.fullmatch(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)", line)
            assert comment, line
            if comment[1] == "TYPE":
                assert comment[2] not in kinds, f"{comment[2]} is there twice"
                kinds[comment[2]] = comment[3]
            continue
        label = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
        sample = re.fullmatch(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{({label}(?:,{label})*)\}})? (\S+)", line)
        assert sample, line
        assert sample[1] in kinds or re.sub("_(bucket|sum|count)$", "", sample[1]) in kinds, f"{sample[1]} has no TYPE"
        labels = tuple(sorted(re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', sample[2] or "")))
        series = found.setdefault(sample[1], {})
        assert labels not in series, f"{line} is there twice"
        series[labels] = float(sample[3])
    return found


def resp_time(text: str, part: str, **labels: str) -> list[float]:
    """The values of http_server_resp_time_PART whose labels include these."""
    series = samples(text).get(f"http_server_resp_time_{part}", {})
    return [value for key, value in series.items() if labels.items() <= dict(key).items()]


def connect(service: Service) -> socket.socket:
    url = urlsplit(service.http_url)
    assert url.hostname and url.port
    return socket.create_connection((url.hostname, url.port), timeout=harness.START_S)


def ask(service: Service, target: str) -> socket.socket:
    """A connection on which a request has been sent and nothing been read."""
    sock = connect(service)
    sock.sendall(f"GET {target} HTTP/1.1\r\nhost: demo\r\n\r\n".encode())
    return sock


def requested(line: harness.Line) -> str | None:
    """The target, without scheme and host."""
    url = line.get("httpRequest", {}).get("requestUrl")
    return url if url is None or "://" not in url else "/" + url.split("/", 3)[3]


# ---- hello ----


@pytest.mark.parametrize("query", ["", "?delay=0", "?delay=1", "?delay=20", "?other=60000"])
def test_hello(demo: Service, http: httpx.Client, query: str) -> None:
    reply = http.get(f"{demo.http_url}/demo/hello{query}")
    assert (reply.status_code, reply.text) == (200, "hello, world!\n")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"


# Were one of these a delay, it would be longer than the client's patience.
@pytest.mark.parametrize(
    "query",
    [
        "delay=",
        "delay",
        "delay=-60000",
        "delay=%2B60000",
        "delay=abc",
        "delay=60000ms",
        "delay=0x60000",
        "delay=60000.5",
        "delay=%2060000",
        "delay=6%000000",
        "delay=%zz60000",
        "delay=0&delay=60000",
        "DELAY=60000",
    ],
)
def test_what_is_not_a_number_counts_as_0(demo: Service, http: httpx.Client, query: str) -> None:
    reply = http.get(f"{demo.http_url}/demo/hello?{query}")
    assert (reply.status_code, reply.text) == (200, "hello, world!\n")


def test_a_delay_is_kept(demo: Service, http: httpx.Client) -> None:
    begin = time.monotonic()
    assert http.get(f"{demo.http_url}/demo/hello?delay=300&delay=0").text == "hello, world!\n"
    assert time.monotonic() - begin > 0.29


@pytest.mark.parametrize("delay", ["60000", "60001", "99999999999999999999999999"])
def test_longer_delays_count_as_the_longest(start: Start, http: httpx.Client, delay: str) -> None:
    demo = start("demo", REQUEST_TIMEOUT_MS=100)
    reply = http.get(f"{demo.http_url}/demo/hello?delay={delay}")
    assert reply.status_code == 504
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("option", "longest"), [("REQUEST_TIMEOUT_MS", 60_000), ("SHUTDOWN_TIMEOUT_SECONDS", 60)])
def test_no_bound_cuts_the_longest_delay(tmp_path: Path, option: str, longest: int) -> None:
    help_text = harness.run("demo", "--help", folder=tmp_path).stdout
    match = re.search(rf"{option}\s+(\d+)", help_text)
    assert match and int(match[1]) > longest, help_text


def test_waiting_clients_hold_up_nobody(start: Start, http: httpx.Client) -> None:
    demo = start("demo", WORKERS=1)
    with contextlib.ExitStack() as waiting:
        for _ in range(100):
            waiting.enter_context(ask(demo, "/demo/hello?delay=60000"))
        for _ in range(20):
            assert http.get(f"{demo.http_url}/demo/hello?delay=1").status_code == 200
    demo.kill()  # without waiting until it is noticed that the clients have gone


def test_clients_that_go_while_they_wait(demo: Service, http: httpx.Client) -> None:
    for delay in (1, 50, 300):
        ask(demo, f"/demo/hello?delay={delay}").close()
        demo.wait_log(test=lambda line, url=f"/demo/hello?delay={delay}": requested(line) == url)
    wait_for_answers(demo, 3).close()
    demo.wait_log(test=lambda line: requested(line) == "/demo/hello?delay=60000")
    assert http.get(f"{demo.http_url}/demo/hello?delay=1").status_code == 200


def http2_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def read_until_pong(sock: socket.socket) -> None:
    buffer = b""
    while True:
        while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
            if buffer[3] == 6 and buffer[4] & 1:
                return
            buffer = buffer[9 + int.from_bytes(buffer[:3], "big") :]
        chunk = sock.recv(65536)
        assert chunk, "the connection was closed"
        buffer += chunk


def wait_for_answers(service: Service, count: int) -> socket.socket:
    """A connection on which as many requests of the longest delay over HTTP/2 have begun."""
    path = b"/demo/hello?delay=60000"
    headers = bytes([0x82, 0x86, 0x04, len(path)]) + path + bytes([0x01, 4]) + b"demo"
    frames = [http2_frame(4, 0, 0)] + [http2_frame(1, 5, 1 + 2 * i, headers) for i in range(count)]
    sock = connect(service)
    sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(frames) + http2_frame(6, 0, 0, bytes(8)))
    read_until_pong(sock)
    return sock


def test_how_many_may_wait(start: Start, http: httpx.Client) -> None:
    """Those whose clients have gone wait no more."""
    demo = start("demo", WORKERS=1)
    with contextlib.ExitStack() as waiting:
        for _ in range(MAX_WAITING // 100):
            waiting.enter_context(wait_for_answers(demo, 100))
        reply = http.get(f"{demo.http_url}/demo/hello?delay=1")
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "1"
        assert reply.headers["content-type"] == "application/problem+json"
    harness.until(lambda: http.get(f"{demo.http_url}/demo/hello?delay=1").status_code == 200)
    assert http.get(f"{demo.http_url}/demo/hello").status_code == 200


def test_a_request_in_flight_survives_sigterm(start: Start) -> None:
    demo = start("demo", SHUTDOWN_DELAY_SECONDS=1)
    with ask(demo, "/demo/hello?delay=2000") as sock:
        demo.signal()
        demo.signal()  # changes nothing
        answer = b""
        while not answer.endswith(b"\r\n\r\nhello, world!\n"):
            chunk = sock.recv(65536)
            assert chunk, answer
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    demo.stop()


# ---- random-error ----


def test_random_error(demo: Service, http: httpx.Client) -> None:
    errors = 0
    for _ in range(1000):
        reply = http.get(f"{demo.http_url}/demo/random-error")
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        expected = {
            200: "Everything is still OK\n",
            500: "ERROR: Something, somewhere, went wrong!\n",
        }
        assert reply.text == expected[reply.status_code]
        errors += reply.status_code == 500
    assert 40 <= errors <= 160, "six standard deviations"
    counted = resp_time(http.get(f"{demo.http_url}/metrics").text, "count", code="500", path="/demo/random-error")
    assert counted == [errors]


# ---- metrics ----


def test_the_histogram(start: Start, http: httpx.Client) -> None:
    demo = start("demo", SERVICE_NAME='a "shop"\n')
    for _ in range(3):
        http.get(f"{demo.http_url}/demo/hello?delay=30")
    reply = http.get(f"{demo.http_url}/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = reply.text
    assert "# HELP http_server_resp_time Request response time\n# TYPE http_server_resp_time histogram\n" in text
    labels = {"service": r"a \"shop\"\n", "code": "200", "method": "GET", "path": "/demo/hello"}
    series = samples(text)["http_server_resp_time_bucket"]
    buckets = {dict(key)["le"]: value for key, value in series.items() if dict(key)["path"] == "/demo/hello"}
    assert list(buckets) == BUCKETS
    assert all({"le", *labels} == dict(key).keys() for key in series)
    assert (buckets["0.025"], buckets["+Inf"]) == (0, 3)
    assert resp_time(text, "count", **labels) == [3]
    (total,) = resp_time(text, "sum", **labels)
    assert total >= 3 * 0.029


def test_no_request_makes_a_series_of_its_own(demo: Service, http: httpx.Client) -> None:
    for i in range(50):
        assert http.get(f"{demo.http_url}/demo/{i}").status_code == 404
        assert http.get(f"{demo.http_url}/demo/hello?x={i}").status_code == 200
        http.request(f"M{i}", f"{demo.http_url}/demo/hello")
    text = http.get(f"{demo.http_url}/metrics").text
    assert resp_time(text, "count") == [50]
    everything = {key: value for key, value in samples(text)["http_requests_total"].items() if value > 0}
    assert everything[(("method", "GET"), ("path", "other"), ("status", "404"))] == 50
    assert len(everything) <= 3


def test_both_listeners_serve_the_metrics(demo: Service, http: httpx.Client) -> None:
    for url in (demo.http_url, demo.admin_url):
        found = samples(http.get(f"{url}/metrics").text)
        assert found["process_open_fds"][()] > 0
        assert [value for key, value in found["build_info"].items() if ("service", "demo") in key] == [1]


def test_metrics_may_be_kept_from_the_public(start: Start, http: httpx.Client) -> None:
    demo = start("demo", HTTP_METRICS="false")
    assert http.get(f"{demo.http_url}/metrics").status_code == 404
    assert http.get(f"{demo.admin_url}/metrics").status_code == 200
    assert http.get(f"{demo.http_url}/demo/hello").status_code == 200


@pytest.mark.parametrize(
    ("accept", "open_metrics"),
    [
        ("application/openmetrics-text; version=1.0.0, text/plain; version=0.0.4; q=0.5", True),
        ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", True),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.6", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
        ("application/openmetrics-text;q=9,text/plain;q=0.1", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_openmetrics_is_for_who_accepts_it(demo: Service, http: httpx.Client, accept: str, open_metrics: bool) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    assert http.get(
        f"{demo.http_url}/demo/hello", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    ).is_success
    page = http.get(f"{demo.admin_url}/metrics", headers={"accept": accept})
    assert "accept" in page.headers["vary"].split(", ")
    assert page.headers["content-type"].startswith("application/openmetrics-text;" if open_metrics else "text/plain;")
    assert page.text.endswith("\n# EOF\n") == open_metrics
    assert (f'# {{trace_id="{trace}"' in page.text) == open_metrics


def test_prometheus_reads_exemplars(
    demo: Service, http: httpx.Client, tool: Callable[[str], str], tmp_path: Path
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    assert http.get(
        f"{demo.http_url}/demo/hello", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    ).is_success
    target = urlsplit(demo.admin_url).netloc
    config = {
        "scrape_configs": [{"job_name": "d", "scrape_interval": "200ms", "static_configs": [{"targets": [target]}]}]
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    port = harness.free_port()
    command = [tool("prometheus"), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
               f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as prometheus:
        try:
            query = {
                "query": "http_request_duration_seconds_bucket",
                "start": time.time() - 600,
                "end": time.time() + 600,
            }

            def exemplars() -> list[dict[str, Any]]:
                with contextlib.suppress(httpx.TransportError, KeyError, ValueError):
                    return list(
                        http.get(f"http://127.0.0.1:{port}/api/v1/query_exemplars", params=query).json()["data"]
                    )
                return []

            (series,) = harness.until(exemplars, what="Prometheus has no exemplar")
            assert series["seriesLabels"]["path"] == "/demo/hello"
            assert series["exemplars"][0]["labels"]["trace_id"] == trace
        finally:
            prometheus.terminate()


def test_promtool_accepts_them(demo: Service, http: httpx.Client, tool: Callable[[str], str]) -> None:
    http.get(f"{demo.http_url}/demo/hello")
    text = http.get(f"{demo.http_url}/metrics").text
    result = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    # It also gives advice on names; this one's is the one that clients know.
    advice = [line for line in result.stderr.splitlines() if not line.startswith("http_server_resp_time ")]
    assert not advice, result.stderr


# ---- the rest ----


@pytest.mark.parametrize("path", ["/demo/hello", "/demo/random-error", "/metrics"])
def test_methods(demo: Service, http: httpx.Client, path: str) -> None:
    refused = http.post(demo.http_url + path)
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
    head = http.head(demo.http_url + path)
    assert head.status_code in (200, 500) and head.content == b""
    assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/", "/demo", "/demo/hello/", "/Demo/hello", "/demo//hello", "/healthz", "/readyz"])
def test_unknown_paths(demo: Service, http: httpx.Client, path: str) -> None:
    reply = http.get(demo.http_url + path)
    assert reply.status_code == 404
    assert reply.json()["status"] == 404


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HTTP_METRICS": "maybe"}, "HTTP_METRICS=maybe: must be true or false"),
        ({"SERVICE_NAME": "x" * 129}, "must be 1 to 128 characters"),
        ({"PORT": "99999"}, "PORT=99999: must be 0 to 65535"),
    ],
)
def test_wrong_options(tmp_path: Path, settings: dict[str, object], said: str) -> None:
    result = harness.run("demo", "-n", folder=tmp_path, **settings)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_name_that_no_metric_can_carry(tmp_path: Path) -> None:
    with Service("demo", tmp_path, wait=False, SERVICE_NAME="\udcff") as demo:
        demo.exit_status = 2
        demo.wait()
    assert "must be UTF-8" in demo.stderr()
