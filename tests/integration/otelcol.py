"""A real OpenTelemetry Collector for tests: tests/integration/collector, which scripts/tools builds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
from harness import free_port

Item = dict[str, Any]
SIGNALS = {  # the names of the lists in a request
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
}


class Collector:
    """otelcol on a port of its own; it writes what it gets to a file for each signal. tls: the receiver's certificate and key."""

    def __init__(self, program: str, folder: Path, tls: dict[str, str] | None = None) -> None:
        self.files = {signal: folder / f"{signal}.json" for signal in SIGNALS}
        self.endpoint = f"127.0.0.1:{free_port()}"
        self.program, self.config = program, folder / "config.yaml"
        config = {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.endpoint} | ({"tls": tls} if tls else {})}}},
            "exporters": {
                f"file/{signal}": {"path": str(path), "append": True, "flush_interval": "20ms"}
                for signal, path in self.files.items()
            },
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {signal: {"receivers": ["otlp"], "exporters": [f"file/{signal}"]} for signal in SIGNALS},
            },
        }
        self.config.write_text(json.dumps(config))
        self.log = folder / "log"
        self.start()

    def start(self) -> None:
        with self.log.open("w") as log:
            self.process = subprocess.Popen([self.program, "--config", str(self.config)], stderr=log, stdout=log)
        harness.until(lambda: "Everything is ready" in self.log.read_text(), what="otelcol does not start")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(harness.STOP_S)

    def settings(self) -> dict[str, object]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.endpoint}", "OTEL_BSP_SCHEDULE_DELAY": 50}

    def requests(self, signal: str) -> Iterator[Item]:
        path = self.files[signal]
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # it is being written
                continue

    def items(self, signal: str) -> list[Item]:
        """All so far, each with the attributes of the service that made it: item["resource"], item["service"]."""
        of_resource, of_scope, items = SIGNALS[signal]
        found = []
        for request in self.requests(signal):
            for each in request[of_resource]:
                resource = attributes(each["resource"])
                of = {"resource": resource, "service": resource["service.name"]}
                found += [item | of for scope in each[of_scope] for item in scope[items]]
        return found

    def spans(self) -> list[Item]:
        return self.items("traces")

    def wait_spans(self, count: int, trace_id: str) -> list[Item]:
        def enough() -> list[Item]:
            spans = [span for span in self.spans() if span["traceId"] == trace_id]
            return spans if len(spans) >= count else []

        return harness.until(enough, what=f"no {count} spans of the trace: {self.log.read_text()}")


def attributes(of: Item) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in of.get("attributes", [])}
