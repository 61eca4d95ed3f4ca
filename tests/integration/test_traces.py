"""Traces in a real OpenTelemetry Collector: spans of all services that a request went through, and what becomes of them where
there is no collector."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import harness
from harness import Service, free_port

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
Span = dict[str, Any]
KINDS = {1: "internal", 2: "server", 3: "client"}


class Collector:
    """otelcol on a port of its own; it writes what it gets to a file."""

    def __init__(self, program: str, folder: Path) -> None:
        self.file = folder / "spans.json"
        self.endpoint = f"127.0.0.1:{free_port()}"
        config = {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.endpoint}}}},
            "exporters": {"file": {"path": str(self.file), "flush_interval": "20ms"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
            },
        }
        (folder / "config.yaml").write_text(json.dumps(config))
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen([program, "--config", str(folder / "config.yaml")], stderr=log, stdout=log)
        harness.until(lambda: "Everything is ready" in self.log.read_text(), what="otelcol does not start")

    def settings(self) -> dict[str, object]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.endpoint}", "OTEL_BSP_SCHEDULE_DELAY": 50}

    def spans(self) -> list[Span]:
        """All so far, with what the collector says of the service that made them."""
        found = []
        for line in self.file.read_text().splitlines() if self.file.exists() else []:
            try:
                request = json.loads(line)
            except json.JSONDecodeError:  # it is being written
                continue
            for resource in request["resourceSpans"]:
                service = attributes(resource["resource"])["service.name"]
                found += [span | {"service": service} for scope in resource["scopeSpans"] for span in scope["spans"]]
        return found

    def wait(self, count: int, trace_id: str = TRACE_ID) -> list[Span]:
        def enough() -> list[Span]:
            spans = [span for span in self.spans() if span["traceId"] == trace_id]
            return spans if len(spans) >= count else []

        return harness.until(enough, what=f"no {count} spans of the trace: {self.log.read_text()}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(harness.STOP_S)


def attributes(of: Span) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in of.get("attributes", [])}


def described(spans: list[Span]) -> set[tuple[str, str, str]]:
    return {(span["service"], KINDS[span["kind"]], span["name"]) for span in spans}


def check_tree(spans: list[Span], root: str) -> None:
    """Each span's parent is there, but for the one whose parent is the caller's; a child does not begin before it."""
    by_id = {span["spanId"]: span for span in spans}
    assert len(by_id) == len(spans)
    outermost = [span for span in spans if span.get("parentSpanId", "") not in by_id]
    assert [span.get("parentSpanId", "") for span in outermost] == [root]
    for span in spans:
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])


@pytest.fixture
def collector(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Collector]:
    folder = tmp_path / "otelcol"
    folder.mkdir()
    collector = Collector(tool("otelcol"), folder)
    yield collector
    collector.stop()


def traced(headers: dict[str, str] | None = None) -> dict[str, str]:
    return {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"} | (headers or {})


def test_a_request_of_two_services_is_one_trace(
    start: Callable[..., Service], http: httpx.Client, collector: Collector
) -> None:
    users = start("users", **collector.settings())
    countries = start("countries", USERS_SERVICE_ADDR=users.http_url.removeprefix("http://"), **collector.settings())
    reply = http.get(
        f"{countries.http_url}/countries?user_id=1234", headers=traced({"tracestate": "vendor=1", "baggage": "a=b"})
    )
    assert reply.status_code == 200
    spans = collector.wait(4)
    assert described(spans) == {
        ("countries", "server", "GET /countries"),
        ("countries", "client", "GET"),
        ("countries", "internal", "connect"),
        ("users", "server", "GET /users/{user_id}"),
    }
    check_tree(spans, PARENT_ID)
    of = {(span["service"], span["kind"]): span for span in spans}
    assert of["users", 2]["parentSpanId"] == of["countries", 3]["spanId"]
    assert of["users", 2]["traceState"] == "vendor=1"
    assert attributes(of["users", 2])["http.route"] == "/users/{user_id}"
    assert attributes(of["countries", 3])["http.response.status_code"] == "200"
    assert attributes(of["countries", 3])["server.port"] == users.http_url.rpartition(":")[2]
    line = countries.wait_log(message="GET /countries?user_id=1234 200")
    assert line["logging.googleapis.com/spanId"] == of["countries", 2]["spanId"]


def test_a_write_is_a_trace_down_to_the_store(
    start: Callable[..., Service], http: httpx.Client, collector: Collector
) -> None:
    notes = start("notes", **collector.settings())
    reply = http.post(f"{notes.http_url}/v1/notes", json={"title": "Milk"}, headers=traced())
    assert reply.status_code == 201
    spans = collector.wait(2)
    assert described(spans) == {("notes", "server", "POST /v1/notes"), ("notes", "internal", "write lmdb")}
    check_tree(spans, PARENT_ID)


def test_rpcs_are_spans_of_both_sides(start: Callable[..., Service], collector: Collector) -> None:
    store = start("feature-store", **collector.settings())
    guide = start("route-guide", FEATURE_STORE_SERVICE_ADDR=store.grpc_address, **collector.settings())
    result = harness.run("route-client", "--server", guide.grpc_address, folder=guide.folder / "client")
    assert result.returncode == 0, result.stderr

    def saved() -> list[Span]:
        return [
            span for span in collector.spans() if span["service"] == "route-guide" and KINDS[span["kind"]] == "client"
        ]

    spans = collector.wait(4, harness.until(saved, what="nothing was saved")[0]["traceId"])
    assert described(spans) == {
        ("route-guide", "server", "routeguide.RouteGuide/GetFeature"),
        ("route-guide", "client", "routeguide.RouteGuide/SaveFeature"),
        ("feature-store", "server", "routeguide.RouteGuide/SaveFeature"),
        ("feature-store", "internal", "write lmdb"),
    }
    check_tree(spans, "")
    by_name = {(span["service"], span["kind"]): attributes(span) for span in spans}
    assert by_name["feature-store", 2]["rpc.system.name"] == "grpc"
    assert by_name["feature-store", 2]["rpc.response.status_code"] == "OK"
    assert by_name["route-guide", 3]["rpc.method"] == "routeguide.RouteGuide/SaveFeature"


@pytest.mark.parametrize(
    ("sampler", "ratio", "spans"),
    [("parentbased_traceidratio", "0", 0), ("parentbased_traceidratio", "1", 1), ("always_off", "", 0)],
)
def test_new_traces_are_sampled_by_ratio(
    start: Callable[..., Service], http: httpx.Client, collector: Collector, sampler: str, ratio: str, spans: int
) -> None:
    demo = start("demo", OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=ratio, **collector.settings())
    assert http.get(f"{demo.http_url}/demo/hello").status_code == 200
    assert demo.wait_log(message="GET /demo/hello 200").get("logging.googleapis.com/trace_sampled", False) == bool(
        spans
    )
    demo.stop()  # sends what waits
    if spans:
        harness.until(collector.spans, what="no span")
    assert [span["name"] for span in collector.spans()] == ["GET /demo/hello"] * spans


def test_without_a_collector_requests_are_answered_and_spans_are_dropped(
    start: Callable[..., Service], http: httpx.Client
) -> None:
    demo = start(
        "demo",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        OTEL_BSP_MAX_QUEUE_SIZE=10,
        OTEL_BSP_SCHEDULE_DELAY=1,
    )
    for _ in range(50):
        assert http.get(f"{demo.http_url}/demo/hello").status_code == 200
    page = http.get(f"{demo.admin_url}/metrics").text
    assert 'trace_spans_dropped_total{reason="queue_full"} 40' in page
    assert "trace_spans_exported_total 0" in page


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    for name, value in (
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team"),
    ):
        result = harness.run("demo", "-n", folder=tmp_path, **{name: value})
        assert result.returncode == 2
        assert name in result.stderr
