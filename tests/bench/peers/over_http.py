"""over_http -- the service demo beside h2o alone, Go's net/http and axum: GET of the same 14 bytes."""

from __future__ import annotations

import contextlib
import gzip
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from report import Results, Row
from servers import (
    IDLE_CONNECTIONS,
    LOAD_CPUS,
    RELEASE,
    START_S,
    Server,
    build_go,
    build_rust,
    crate_version,
    environment,
    fail,
    free_port,
    on_cpus,
    run_h2load,
    run_load,
    say,
)

LOAD = "peer-load-http"
PATH = "/demo/hello"
REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
CONNECTIONS = 64
SAME_RATE = 10_000  # requests a second that each of them can answer with less than half of a core
STARTS = 5  # in a round
OWN = "slipway"


def programs() -> dict[str, Path]:
    return {
        OWN: RELEASE / "demo",
        "h2o": RELEASE / "tests/bench/peer-h2o",
        "net/http": build_go("http"),
        "axum": build_rust("axum"),
    }


def versions(go: Path) -> str:
    compiler = subprocess.run(["go", "version", go], stdout=subprocess.PIPE, text=True, check=False).stdout
    go_version = found[1] if (found := re.search(r": go(\S+)", compiler)) else "unknown"
    log = (RELEASE / "configure.log").read_text(errors="replace") if (RELEASE / "configure.log").exists() else ""
    h2o = found[1] if (found := re.search(r'Message: h2o "([^"]+)"', log)) else "unknown"
    return f"h2o {h2o}, Go {go_version}, axum {crate_version('axum')} on hyper {crate_version('hyper')}"


# ---- measures: of a server, {what: value} ----


def requests(server: Server, seconds: int) -> tuple[float, float]:
    begun = server.cpu_seconds()
    result = run_load(LOAD, "get", server.port, PATH, CONNECTIONS, seconds)
    count = result["requests"]
    return count / result["seconds"], (server.cpu_seconds() - begun) * 1e6 / count


def measure(server: Server, seconds: int) -> dict[str, float]:
    rate, cpu = requests(server, seconds)
    h2_rate, h2_cpu = run_h2load(server, PATH, 8, 16, seconds)
    half = run_load(LOAD, "get", server.port, PATH, CONNECTIONS, seconds, rate / 2)
    same = run_load(LOAD, "get", server.port, PATH, CONNECTIONS, seconds, SAME_RATE)
    return {
        "h1": rate,
        "h1 cpu": cpu,
        "h2": h2_rate,
        "h2 cpu": h2_cpu,
        "p50": half["p50_us"] / 1000,
        "p99": half["p99_us"] / 1000,
        "same p50": same["p50_us"] / 1000,
        "same p99": same["p99_us"] / 1000,
        "memory": server.resident_kib() / 1024,
    }


def measure_idle(name: str, program: Path) -> dict[str, float]:
    """Memory of a fresh server, and of each connection over which it has answered one request."""
    with Server(name, program, "PORT") as server:
        before = server.resident_kib()
        command = [*on_cpus(LOAD_CPUS), RELEASE / "tests/bench" / LOAD, "idle", server.port, PATH, IDLE_CONNECTIONS]
        with subprocess.Popen(map(str, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as load:
            if not load.stdout.readline():
                fail(f"{name} does not answer on {IDLE_CONNECTIONS} connections")
            after = server.resident_kib()
            load.stdin.close()
    return {"fresh memory": before / 1024, "connection": (after - before) / IDLE_CONNECTIONS}


def has_answered(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(REQUEST)
            return s.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def start_seconds(name: str, program: Path) -> float:
    """From the start of the process to the first answer."""
    port = free_port()
    options = environment("PORT", port, 1)
    begun = time.monotonic()
    process = subprocess.Popen([program], env=options, stdout=subprocess.DEVNULL)
    try:
        while not has_answered(port):
            if process.poll() is not None or time.monotonic() > begun + START_S:
                fail(f"{name} does not answer")
            time.sleep(0.0002)
        return time.monotonic() - begun
    finally:
        process.kill()
        process.wait()


def measure_start(name: str, program: Path) -> dict[str, float]:
    return {"start": sorted(start_seconds(name, program) for _ in range(STARTS))[STARTS // 2] * 1000}


def size(program: Path) -> float:
    """MB of what an image must hold: the program and the libraries that it loads, stripped, each compressed as layers are."""
    loaded = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    files = [program, *map(Path, re.findall(r"(?:=> |^\t)(/\S+)", loaded.stdout, re.MULTILINE))]
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            copy = Path(shutil.copy(file.resolve(), folder))
            subprocess.run(["strip", copy], check=True)
            total += len(gzip.compress(copy.read_bytes(), 6))
    return total / 1e6


# ---- what is shown ----

ROWS = [
    Row("h1", f"HTTP/1.1, {CONNECTIONS} connections: requests/s", "{:,.0f}"),
    Row("h1 cpu", "... CPU per request, us", "{:.2f}"),
    Row("h2", "HTTP/2, 8 connections x 16 streams: requests/s", "{:,.0f}"),
    Row("h2 cpu", "... CPU per request, us", "{:.2f}"),
    Row("p50", "HTTP/1.1 at half of its own rate, open loop: p50, ms", "{:.2f}"),
    Row("p99", "... p99, ms", "{:.2f}"),
    Row("same p50", f"HTTP/1.1 at {SAME_RATE:,} requests/s, open loop: p50, ms", "{:.2f}"),
    Row("same p99", "... p99, ms", "{:.2f}"),
    Row("fresh memory", "memory after the start, MiB", "{:.1f}"),
    Row("memory", "memory after the runs above, MiB", "{:.1f}"),
    Row("connection", f"memory of an idle connection ({IDLE_CONNECTIONS}), KiB", "{:.1f}"),
    Row("start", "start of the process to the first answer, ms", "{:.1f}"),
    Row("size", "program and its libraries, compressed, MB", "{:.2f}"),
]
PANELS = [
    Row("h1 cpu", "CPU per request, HTTP/1.1 (us)", "{:.1f}"),
    Row("h2 cpu", "CPU per request, HTTP/2 (us)", "{:.1f}"),
    Row("p99", "p99 at half of its own peak, HTTP/1.1 (ms)", "{:.2f}"),
    Row("memory", "memory after the runs (MiB)", "{:.0f}"),
]
TITLE = "GET of 14 bytes, one core: Slipway's demo with log and metrics beside others; less is better"


def http(rounds: int, seconds: int) -> Results:
    every = programs()
    results = []
    with contextlib.ExitStack() as running:
        servers = [running.enter_context(Server(name, program, "PORT")) for name, program in every.items()]
        for server in servers:
            requests(server, 1)  # warm
        for i in range(rounds):
            say(f"round {i + 1} of {rounds}")
            results.append({s.name: measure(s, seconds) for s in servers})
    sizes = {name: size(program) for name, program in every.items()}
    for i, result in enumerate(results):
        say(f"idle connections and starts, round {i + 1} of {rounds}")
        for name, program in every.items():
            result[name].update(measure_idle(name, program))
            result[name].update(measure_start(name, program))
            result[name]["size"] = sizes[name]
    return {
        "what": "http",
        "own": OWN,
        "names": list(every),
        "versions": versions(every["net/http"]),
        "rounds": results,
    }
