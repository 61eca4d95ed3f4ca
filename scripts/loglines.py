"""loglines -- the services' JSON log lines, made readable for a terminal."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

RESET, DIM, RED, YELLOW, GREEN = "\033[0m", "\033[2m", "\033[31m", "\033[33m", "\033[32m"
SEVERITIES = {"DEBUG": DIM, "NOTICE": GREEN, "WARNING": YELLOW, "ERROR": RED, "CRITICAL": RED}
COLOURS = [f"\033[{code}m" for code in (36, 35, 34, 32, 33, 96, 95, 94)]  # of services
TRACE_SHOWN = 8  # characters of a trace id: enough to find the others


def parsed(line: bytes) -> dict[str, Any] | None:
    """None: it is no line of a service's log."""
    try:
        said = json.loads(line)
        return said if isinstance(said, dict) and isinstance(said.get("severity"), str) else None
    except ValueError:
        return None


def trace_of(said: dict[str, Any]) -> str:
    return str(said.get("logging.googleapis.com/trace", "")).rpartition("/")[2]


def readable(line: bytes, prefix: str) -> bytes:
    """With colours. The prefix says whose line it is."""
    said = parsed(line)
    if said is None:
        return prefix.encode() + b" " + line
    clock = str(said.get("time", ""))[11:23]
    severity = said["severity"]
    request = said.get("httpRequest", {})
    latency = request.get("latency")
    code = said.get("grpc_code")
    # Of a call neither the HTTP method nor the HTTP status says anything: it is always POST and 200.
    message = urlsplit(request.get("requestUrl", "")).path.lstrip("/") if code else said.get("message", "")
    trace = trace_of(said)[:TRACE_SHOWN]
    parts = [
        f"{DIM}{clock}{RESET} {prefix} {SEVERITIES.get(severity, '')}{severity:8}{RESET} {message}",
        f"{GREEN if code == 'OK' else RED}{code}{RESET}" if code else "",
        f"{DIM}{readable_latency(latency)}{RESET}" if latency else "",
        f"{RED}{said['detail']}{RESET}" if said.get("detail") else "",
        f"{DIM}{said['protocol']} {said['address']} {said['port']}{RESET}" if "port" in said else "",
        f"{DIM}{trace}{RESET}" if trace else "",
    ]
    return " ".join(filter(None, parts)).encode()


def readable_latency(latency: str) -> str:
    """Cloud Logging's "0.001234s" as 1.23ms."""
    seconds = float(latency.removesuffix("s"))
    return f"{seconds:.2f}s" if seconds >= 1 else f"{seconds * 1e3:.2f}ms"
