"""Traces in a real OpenTelemetry Collector: spans of all services that a request went through, and what becomes of them where
there is no collector."""

from __future__ import annotations

import queue
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

import harness
from harness import Service, free_port
from otelcol import Collector, Item, attributes

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
Span = Item
DROPPED = 'trace_spans_dropped_total{reason="failed"} 1\n'
KINDS = {1: "internal", 2: "server", 3: "client"}


def described(spans: list[Span]) -> set[tuple[str, str, str]]:
    return {(span["service"], KINDS[span["kind"]], span["name"]) for span in spans}


def check_tree(spans: list[Span], root: str) -> None:
    """Each span's parent is there, but for the outermost, whose parent is the caller's."""
    by_id = {span["spanId"]: span for span in spans}
    assert len(by_id) == len(spans)
    outermost = [span for span in spans if span.get("parentSpanId", "") not in by_id]
    assert [span.get("parentSpanId", "") for span in outermost] == [root]
    for span in spans:
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])


def metrics(http: httpx.Client, service: Service) -> str:
    return http.get(f"{service.admin_url}/metrics").text


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    crt, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
               "-subj", "/CN=collector", "-addext", f"subjectAltName={name}", "-out", crt, "-keyout", key)  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return crt, key


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
    spans = collector.wait_spans(4, TRACE_ID)
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
    spans = collector.wait_spans(2, TRACE_ID)
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

    spans = collector.wait_spans(4, harness.until(saved, what="nothing was saved")[0]["traceId"])
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
    collector.stop()  # writes what it has
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


def test_spans_over_tls_reach_only_whom_the_certificate_names(
    start: Callable[..., Service], http: httpx.Client, tool: Callable[[str], str], tmp_path: Path
) -> None:
    (folder := tmp_path / "otelcol").mkdir()
    right, key = certificate(folder, "IP:127.0.0.1")
    other, _ = certificate(folder, "IP:127.0.0.2")
    collector = Collector(tool("otelcol"), folder, {"cert_file": str(right), "key_file": str(key)})
    settings = collector.settings() | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://{collector.endpoint}"}
    try:
        demo = start("demo", OTEL_EXPORTER_OTLP_CERTIFICATE=right, **settings)
        stranger = start("demo", OTEL_EXPORTER_OTLP_CERTIFICATE=other, OTEL_BSP_EXPORT_TIMEOUT=200, **settings)
        cleartext = start("demo", **collector.settings() | {"OTEL_BSP_EXPORT_TIMEOUT": 200})
        for service in (stranger, cleartext, demo):
            assert http.get(f"{service.http_url}/demo/hello", headers=traced()).status_code == 200
        collector.wait_spans(1, TRACE_ID)
        for service in (stranger, cleartext):
            harness.until(lambda service=service: DROPPED in metrics(http, service), what="a span was taken")
    finally:
        collector.stop()
    assert len(collector.spans()) == 1


def test_a_certificate_for_another_host_is_refused(
    start: Callable[..., Service], http: httpx.Client, tool: Callable[[str], str], tmp_path: Path
) -> None:
    (folder := tmp_path / "otelcol").mkdir()
    crt, key = certificate(folder, "DNS:collector")
    collector = Collector(tool("otelcol"), folder, {"cert_file": str(crt), "key_file": str(key)})
    settings = collector.settings() | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://{collector.endpoint}"}
    try:
        demo = start("demo", OTEL_EXPORTER_OTLP_CERTIFICATE=crt, OTEL_BSP_EXPORT_TIMEOUT=200, **settings)
        assert http.get(f"{demo.http_url}/demo/hello", headers=traced()).status_code == 200
        harness.until(lambda: DROPPED in metrics(http, demo), what="a span was taken")
    finally:
        collector.stop()
    assert collector.spans() == []


def test_headers_go_with_each_request(start: Callable[..., Service], http: httpx.Client) -> None:
    """To a gRPC server that looks at them."""
    calls: queue.Queue[dict[str, str]] = queue.Queue()

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            calls.put({"method": details.method, **dict(details.invocation_metadata)})
            return grpc.unary_unary_rpc_method_handler(lambda request, context: b"")

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    demo = start(
        "demo",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20t0ken,x-tenant=a=b",
        OTEL_BSP_SCHEDULE_DELAY=1,
    )
    assert http.get(f"{demo.http_url}/demo/hello", headers=traced()).status_code == 200
    call = calls.get(timeout=harness.START_S)
    assert call["method"].endswith("/Export")
    assert (call["authorization"], call["x-tenant"]) == ("Bearer t0ken", "a=b")
    shown = http.get(f"{demo.admin_url}/config").json()
    assert shown["OTEL_EXPORTER_OTLP_HEADERS"] == "(hidden)"
    assert shown["OTEL_EXPORTER_OTLP_ENDPOINT"].endswith(str(port))
    server.stop(None)


def test_a_certificate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.crt"}
    result = harness.run("demo", folder=tmp_path, PORT=0, METRICS_PORT=0, **settings)
    assert result.returncode == 1
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE=/nowhere.crt" in result.stderr


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    for name, value in (
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret,other"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api key=secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret%0d%0a"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team"),
    ):
        result = harness.run("demo", "-n", folder=tmp_path, **{name: value})
        assert result.returncode == 2
        assert name in result.stderr and "secret" not in result.stderr
