"""telemetry -- what a test sends to the console by OTLP: replicas with their states, requests and log lines."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

EXPORT_S = 20
SERVER, CLIENT, INTERNAL = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL
SEVERITIES = {"INFO": 9, "WARNING": 13, "ERROR": 17}

_ids = itertools.count(1)


def identity(size: int) -> bytes:
    """An id that is not used again. The last bytes differ, as a sampler would have it."""
    return (next(_ids) * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big").rjust(size, b"\1")


def pairs(values: Mapping[str, Any]) -> list[KeyValue]:
    def value(of: Any) -> AnyValue:
        if isinstance(of, bool):
            return AnyValue(bool_value=of)
        if isinstance(of, int):
            return AnyValue(int_value=of)
        return AnyValue(double_value=of) if isinstance(of, float) else AnyValue(string_value=of)

    return [KeyValue(key=name, value=value(each)) for name, each in values.items()]


@dataclass
class Call:
    """A span, as a request made it: its trace and how long it took, of which the parts are told from."""

    replica: Replica
    trace: bytes
    span: bytes
    start_ns: int
    duration_ms: float

    def log(self, message: str, severity: str = "INFO", **fields: Any) -> None:
        self.replica.log(message, severity, call=self, **fields)


@dataclass
class Replica:
    """A process of a service, as the console knows it."""

    channel: grpc.Channel
    service: str
    instance: str
    version: str = "1.0"
    started: float = field(default_factory=time.time)

    def _resource(self) -> dict[str, Any]:
        named = {
            "service.name": self.service,
            "service.instance.id": self.instance,
            "service.version": self.version,
        }
        return {"attributes": pairs(named)}

    def phase(self, phase: str) -> Replica:
        """starting, ready, draining or stopped."""
        now = time.time_ns()

        def gauge(name: str, value: float, **labels: str) -> dict[str, Any]:
            point = {"time_unix_nano": now, "as_double": value, "attributes": pairs(labels)}
            return {"name": name, "gauge": {"data_points": [point]}}

        points = [
            gauge("process_phase", 1, phase=phase),
            gauge("process_start_time_seconds", self.started),
            gauge("clients_memory_bytes", 11 << 20),
            gauge("memory_part_max_bytes", 64 << 20, part="clients"),
        ]
        sent = {"resource_metrics": [{"resource": self._resource(), "scope_metrics": [{"metrics": points}]}]}
        stub = metrics_grpc.MetricsServiceStub(self.channel)
        stub.Export(metrics.ExportMetricsServiceRequest(**sent), timeout=EXPORT_S)
        return self

    def request(
        self,
        name: str,
        duration_ms: float,
        *,
        parent: Call | None = None,
        kind: int = SERVER,
        failed: bool = False,
        **attributes: Any,
    ) -> Call:
        """A span; of a trace of its own, or in the middle of its parent."""
        start = parent.start_ns if parent else time.time_ns() - int(duration_ms * 1e6)
        offset = (parent.duration_ms - duration_ms) / 2 * 1e6 if parent else 0
        call = Call(self, parent.trace if parent else identity(16), identity(8), start + int(offset), duration_ms)
        span = Span(
            trace_id=call.trace,
            span_id=call.span,
            parent_span_id=parent.span if parent else b"",
            name=name,
            kind=kind,  # type: ignore[arg-type]
            start_time_unix_nano=call.start_ns,
            end_time_unix_nano=call.start_ns + int(duration_ms * 1e6),
            attributes=pairs(attributes),
            status=Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET),
        )
        sent = {"resource_spans": [{"resource": self._resource(), "scope_spans": [{"spans": [span]}]}]}
        stub = traces_grpc.TraceServiceStub(self.channel)
        stub.Export(traces.ExportTraceServiceRequest(**sent), timeout=EXPORT_S)
        return call

    def log(self, message: str, severity: str = "INFO", call: Call | None = None, **fields: Any) -> None:
        self.log_all([message], severity, call, **fields)

    def log_all(self, messages: list[str], severity: str = "INFO", call: Call | None = None, **fields: Any) -> None:
        records = [
            {
                "time_unix_nano": time.time_ns(),
                "severity_number": SEVERITIES[severity],
                "severity_text": severity,
                "body": AnyValue(string_value=message),
                "attributes": pairs(fields),
                "trace_id": call.trace if call else b"",
                "span_id": call.span if call else b"",
            }
            for message in messages
        ]
        sent = {"resource_logs": [{"resource": self._resource(), "scope_logs": [{"log_records": records}]}]}
        stub = logs_grpc.LogsServiceStub(self.channel)
        stub.Export(logs.ExportLogsServiceRequest(**sent), timeout=EXPORT_S)
