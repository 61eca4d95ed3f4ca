"""Metrics and log lines that services send to a real OpenTelemetry Collector, and what becomes of them where there is none. Spans:
test_traces.py."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import harness
from harness import Service, free_port
from otelcol import Collector, Item, attributes

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
Labels = tuple[tuple[str, str], ...]
HOUR_MS = 3_600_000  # an interval that does not pass during a test
METRICS = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": HOUR_MS}
LOGS = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_BLRP_SCHEDULE_DELAY": 50}


def points(metrics: list[Item], name: str) -> list[Item]:
    """The data points of a family, in the order in which they came."""
    kinds = ("gauge", "sum", "histogram")
    of_family = [metric for metric in metrics if metric["name"] == name]
    return [point for metric in of_family for kind in kinds for point in metric.get(kind, {}).get("dataPoints", [])]


def number(point: Item) -> float:
    return float(point.get("asDouble", point.get("asInt")))


def labels(point: Item) -> Labels:
    return tuple(sorted(attributes(point).items()))


def phases(collector: Collector) -> list[str]:
    """The phase that each export told, in their order."""
    told = [point for point in points(collector.items("metrics"), "process_phase") if number(point) == 1]
    return [attributes(point)["phase"] for point in told]


def wait_phase(collector: Collector, phase: str) -> None:
    harness.until(lambda: phase in phases(collector), what=f"not {phase}: {collector.log.read_text()}")


def page(http: httpx.Client, service: Service) -> str:
    return http.get(f"{service.admin_url}/metrics").text


def families(text: str) -> dict[str, str]:
    """Of a page in the text format: the type of each family."""
    return dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))


# ---- metrics ----


def test_each_phase_is_exported_at_once(start: Callable[..., Service], collector: Collector) -> None:
    demo = start("demo", **METRICS, **collector.settings())
    wait_phase(collector, "ready")
    demo.stop()
    collector.stop()  # writes what it has
    told = phases(collector)
    assert told[0] in ("starting", "ready")  # the service may be ready before the thread has begun
    assert [phase for at, phase in enumerate(told) if phase not in told[:at]][-3:] == ["ready", "draining", "stopped"]
    began = [number(point) for point in points(collector.items("metrics"), "process_phase_start_time_seconds")]
    assert began == sorted(began) and began[-1] > began[0]


def test_all_families_of_the_page_are_exported(
    start: Callable[..., Service], http: httpx.Client, collector: Collector
) -> None:
    notes = start("notes", **METRICS, **collector.settings())
    for _ in range(3):
        assert http.post(f"{notes.http_url}/v1/notes", json={"title": "Milk"}).status_code == 201
    text = page(http, notes)
    notes.stop()  # exports once more
    collector.stop()
    metrics = [metric for metric in collector.items("metrics") if metric["service"] == "notes"]
    exported = {
        metric["name"]: next(kind for kind in ("gauge", "sum", "histogram") if kind in metric) for metric in metrics
    }
    kinds = {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}
    assert {name: kinds[kind] for name, kind in families(text).items()}.items() <= exported.items()

    posts = (("method", "POST"), ("path", "/v1/notes"), ("status", "201"))
    counted = [point for point in points(metrics, "http_requests_total") if labels(point) == posts][-1]
    assert int(counted["asInt"]) == 3
    started = next(number(point) for point in points(metrics, "process_start_time_seconds"))
    assert abs(int(counted["startTimeUnixNano"]) / 1e9 - started) < 10
    assert int(counted["startTimeUnixNano"]) < int(counted["timeUnixNano"])
    last = [metric for metric in metrics if metric["name"] == "http_requests_total"][-1]["sum"]
    assert last["isMonotonic"] and last["aggregationTemporality"] == 2

    durations = [point for point in points(metrics, "http_request_duration_seconds") if labels(point) == posts[:2]][-1]
    assert int(durations["count"]) == 3 and float(durations["sum"]) > 0
    assert len(durations["explicitBounds"]) == 17 and len(durations["bucketCounts"]) == 18
    assert sum(map(int, durations["bucketCounts"])) == 3
    assert points(metrics, "store_records")[-1]["asDouble"] >= 3
    assert points(metrics, "store_revision")[-1]["asDouble"] >= 3
    assert attributes(points(metrics, "store_info")[-1]) == {"engine": "lmdb"}
    assert {metric.get("unit", "") for metric in metrics if "_bytes" in metric["name"]} == {"By"}


def test_large_exports_are_split_into_requests_within_the_memory(
    start: Callable[..., Service], http: httpx.Client, collector: Collector
) -> None:
    """The part of the memory limit for metrics is 16 KiB, half of it for a request."""
    notes = start("notes", MEMORY_LIMIT_BYTES="1Mi", **METRICS, **collector.settings())
    text = page(http, notes)
    assert 'memory_part_max_bytes{part="metrics"} 16384' in text
    notes.stop()
    collector.stop()
    assert families(text).keys() <= {metric["name"] for metric in collector.items("metrics")}
    assert len(list(collector.requests("metrics"))) > len(phases(collector))


def test_exemplars_lead_from_a_bucket_to_a_trace(
    start: Callable[..., Service], http: httpx.Client, collector: Collector
) -> None:
    demo = start("demo", **METRICS, **collector.settings())
    traced = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}
    assert http.get(f"{demo.http_url}/demo/hello", headers=traced).status_code == 200
    demo.stop()
    collector.stop()
    durations = points(collector.items("metrics"), "http_request_duration_seconds")
    exemplars = [exemplar for point in durations for exemplar in point.get("exemplars", [])]
    assert exemplars and {exemplar["traceId"] for exemplar in exemplars} == {TRACE_ID}


def test_what_identifies_a_replica(start: Callable[..., Service], collector: Collector) -> None:
    settings = METRICS | LOGS | collector.settings()
    local = start("demo", **settings)
    pod = start("demo", KUBERNETES_SERVICE_HOST="10.0.0.1", **settings)
    named = start("demo", OTEL_RESOURCE_ATTRIBUTES="service.instance.id=a%2Fb", OTEL_SERVICE_NAME="other", **settings)
    expected = {
        ("demo", f"{socket.gethostname()}:{local.process.pid}"),
        ("demo", socket.gethostname()),
        ("other", "a/b"),
    }
    for service in (local, pod, named):
        service.stop()
    collector.stop()
    for signal in ("metrics", "logs"):
        resources = [item["resource"] for item in collector.items(signal)]
        assert {(each["service.name"], each["service.instance.id"]) for each in resources} == expected
        assert {each["service.version"] for each in resources} == {harness.ROOT.joinpath("VERSION").read_text().strip()}


# ---- log lines ----


def record_of(collector: Collector, message: str) -> Item:
    def found() -> Item | None:
        return next((each for each in collector.items("logs") if each["body"]["stringValue"] == message), None)

    record = harness.until(found, what=f"no record {message}: {collector.log.read_text()}")
    assert record is not None
    return record


def test_log_lines_become_records(start: Callable[..., Service], http: httpx.Client, collector: Collector) -> None:
    demo = start("demo", LOG_LEVEL="debug", **LOGS, **collector.settings())
    headers = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "user-agent": "a<b>"}
    assert http.get(f"{demo.http_url}/demo/hello?a=b", headers=headers).status_code == 200
    assert http.get(f"{demo.http_url}/demo/nowhere").status_code == 404
    line = demo.wait_log(message="GET /demo/hello?a=b 200")
    record = record_of(collector, "GET /demo/hello?a=b 200")
    assert (record["severityNumber"], record["severityText"]) == (9, "INFO")
    assert record["traceId"] == TRACE_ID
    assert record["spanId"] == line["logging.googleapis.com/spanId"]
    of = attributes(record)
    assert (of["http.request.method"], of["url.path"], of["url.query"]) == ("GET", "/demo/hello", "a=b")
    assert of["http.response.status_code"] == "200"
    assert of["user_agent.original"] == "a<b>" and of["network.protocol.version"] == "1.1"
    assert int(of["latency_us"]) >= 0
    assert record_of(collector, "GET /demo/nowhere 404")["severityNumber"] == 13
    demo.stop()
    collector.stop()
    listening = record_of(collector, "listening")
    assert {"protocol", "address", "port"} <= attributes(listening).keys()
    assert record_of(collector, "ready")["severityNumber"] == 10
    messages = [record["body"]["stringValue"] for record in collector.items("logs")]
    assert messages == [line["message"] for line in demo.logs()][-len(messages) :]
    assert messages[-1] == "stopped"


def test_without_a_collector_lines_are_dropped_and_nobody_waits(
    start: Callable[..., Service], http: httpx.Client
) -> None:
    demo = start(
        "demo",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        OTEL_TRACES_EXPORTER="none",
        OTEL_BLRP_MAX_QUEUE_SIZE=10,
        **METRICS,
        **LOGS,
    )
    for _ in range(50):
        assert http.get(f"{demo.http_url}/demo/hello").status_code == 200
    text = page(http, demo)
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert int(told['log_records_dropped_total{reason="queue_full"}']) >= 40  # and what was logged before the requests
    assert float(told["log_queue_bytes"]) > 0
    assert "log_records_exported_total 0" in text and "metric_points_exported_total 0" in text
    assert "trace_spans" not in text


def test_a_collector_that_comes_back_gets_metrics_and_lines_again(
    start: Callable[..., Service], http: httpx.Client, collector: Collector
) -> None:
    settings = METRICS | LOGS | {"OTEL_METRIC_EXPORT_INTERVAL": 1000}
    demo = start("demo", **settings, **collector.settings())
    wait_phase(collector, "ready")
    collector.stop()
    before = len(phases(collector))
    assert http.get(f"{demo.http_url}/demo/hello").status_code == 200
    collector.start()
    record_of(collector, "GET /demo/hello 200")
    harness.until(lambda: len(phases(collector)) > before, what="no export of metrics")


def test_a_signal_may_have_an_endpoint_of_its_own(start: Callable[..., Service], collector: Collector) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings: dict[str, Any] = METRICS | LOGS | {"OTEL_EXPORTER_OTLP_ENDPOINT": nowhere}
    start("demo", **settings, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"http://{collector.endpoint}")
    wait_phase(collector, "ready")
    start("users", **settings, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"http://{collector.endpoint}")
    assert record_of(collector, "ready")["service"] == "users"


# ---- options ----


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, 2),
        ({"OTEL_LOGS_EXPORTER": "console"}, 2),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "999"}, 2),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "collector:4317"}, 2),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, 1),  # and no endpoint
        ({"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4317"}, 1),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, settings: dict[str, str], status: int) -> None:
    result = harness.run("demo", "-n", folder=tmp_path, **settings)
    assert result.returncode == status
    assert next(iter(settings)) in result.stderr


def test_each_option_is_described(tmp_path: Path) -> None:
    options = set(re.findall(r"\bOTEL_[A-Z_]+", harness.run("demo", "--help", folder=tmp_path).stdout))
    table = (harness.ROOT / "docs/options.md").read_text()
    assert len(options) > 20 and options <= set(re.findall(r"^\| `(OTEL_[A-Z_]+)`", table, re.MULTILINE))


def test_a_disabled_sdk_sends_nothing(tmp_path: Path) -> None:
    result = harness.run("demo", "-n", folder=tmp_path, OTEL_METRICS_EXPORTER="otlp", OTEL_SDK_DISABLED="true")
    assert result.returncode == 0, result.stderr
