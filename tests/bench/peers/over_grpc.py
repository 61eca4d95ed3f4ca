"""over_grpc -- this library's gRPC server beside tonic and grpc-go; what a save costs route-guide and feature-store."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import tempfile

from report import Results, Row
from servers import (
    CPUS,
    IDLE_CONNECTIONS,
    LOAD_CPUS,
    RELEASE,
    ROOT,
    Server,
    build_go,
    build_rust,
    crate_version,
    module_version,
    on_cpus,
    run_h2load,
    run_load,
    say,
)

LOAD = "peer-load"
FEATURES = ROOT / "share" / "route-guide" / "features.json"
POINT = bytes.fromhex("0000000011089aa68cc30110969f989cfdffffffff01")  # (409146138, -746188906), as peer-load sends it
SAME_RATE = 25_000  # calls a second that each of them can answer with less than half of a core
OWN = "slipway"


def programs():
    return {OWN: RELEASE / "tests/bench/peer-guide", "tonic": build_rust("tonic"), "grpc-go": build_go("grpc")}


def start(name, program, features=FEATURES, **options):
    return Server(name, program, "GRPC_PORT", FEATURES_FILE=str(features), **options)


# ---- measures: of a server, {what: value} ----


def unary(server, connections, streams, seconds, body):
    options = ["-d", body, "-H", "te: trailers", "-H", "content-type: application/grpc"]
    return run_h2load(server, "/routeguide.RouteGuide/GetFeature", connections, streams, seconds, *options)


def messages(server, mode, connections, streams, seconds, *window):
    begun = server.cpu_seconds()
    result = run_load(LOAD, mode, server.port, connections, streams, seconds, *window)
    count = result["messages"]
    return count / result["seconds"], (server.cpu_seconds() - begun) * 1e6 / count


def measure_streams(server, seconds):
    features, features_cpu = messages(server, "list", 8, 4, seconds)
    chat, chat_cpu = messages(server, "chat", 8, 16, seconds, 1)
    windowed, windowed_cpu = messages(server, "chat", 8, 16, seconds, 16)
    return {
        "list": features,
        "list cpu": features_cpu,
        "chat": chat,
        "chat cpu": chat_cpu,
        "chat 16": windowed,
        "chat 16 cpu": windowed_cpu,
    }


def measure(server, seconds, body):
    rate, cpu = unary(server, 8, 16, seconds, body)
    wide, wide_cpu = unary(server, 64, 1, seconds, body)
    half = run_load(LOAD, "unary", server.port, 8, 16, seconds, rate / 2)
    same = run_load(LOAD, "unary", server.port, 8, 16, seconds, SAME_RATE)
    return {
        "unary": rate,
        "unary cpu": cpu,
        "wide": wide,
        "wide cpu": wide_cpu,
        "p99": half["p99_us"] / 1000,
        "p50": half["p50_us"] / 1000,
        "same p99": same["p99_us"] / 1000,
        "same p50": same["p50_us"] / 1000,
        **measure_streams(server, seconds),
    }


def measure_idle(name, program):
    """Memory of an idle connection over which a call was made, and how long an exit takes with all of them."""
    with tempfile.NamedTemporaryFile("w") as features:
        features.write("[]")  # what reading a data set has left of memory would hide what connections take
        features.flush()
        server = start(name, program, features.name)
    with server:
        before = server.resident_kib()
        command = [*on_cpus(LOAD_CPUS), RELEASE / "tests/bench" / LOAD, "idle", str(server.port), str(IDLE_CONNECTIONS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as load:
            load.stdout.readline()
            memory = (server.resident_kib() - before) / IDLE_CONNECTIONS
            took = server.end()
    return {"memory": memory, "exit": took * 1000}


def measure_threads(name, program, seconds, body):
    with start(name, program, threads=2) as server:
        rate, cpu = unary(server, 8, 16, seconds, body)
    return {"two": rate, "two cpu": cpu}


ROWS = [
    Row("unary", "GetFeature, 8 connections x 16 streams: calls/s", "{:,.0f}", {"tonic": ">= 1.6"}),
    Row("unary cpu", "... CPU per call, us", "{:.2f}", {"tonic": "<= 0.55", "grpc-go": "<= 0.3"}),
    Row("wide", "GetFeature, 64 connections x 1 stream: calls/s", "{:,.0f}"),
    Row("wide cpu", "... CPU per call, us", "{:.2f}", {"tonic": "<= 0.8", "grpc-go": "<= 0.3"}),
    Row("p50", "GetFeature at half of its own rate, open loop: p50, ms", "{:.2f}"),
    Row("p99", "... p99, ms", "{:.2f}"),
    Row("same p50", f"GetFeature at {SAME_RATE:,} calls/s, open loop: p50, ms", "{:.2f}"),
    Row("same p99", "... p99, ms", "{:.2f}"),
    Row("list", "ListFeatures, 8 x 4: features/s", "{:,.0f}", {"tonic": ">= 3"}),
    Row("list cpu", "... CPU per feature, us", "{:.3f}"),
    Row("chat", "echo, 8 x 16, one note on its way: notes/s", "{:,.0f}", {"tonic": ">= 1.5"}),
    Row("chat cpu", "... CPU per note, us", "{:.2f}"),
    Row("chat 16", "echo, 8 x 16, 16 notes on their way: notes/s", "{:,.0f}", {"tonic": ">= 1.5"}),
    Row("chat 16 cpu", "... CPU per note, us", "{:.2f}"),
    Row("two", "GetFeature, 8 x 16, two threads: calls/s", "{:,.0f}"),
    Row("two cpu", "... CPU per call, us", "{:.2f}"),
    Row("memory", f"memory of an idle connection ({IDLE_CONNECTIONS}), KiB", "{:.1f}"),
    Row("exit", "SIGTERM to exit with all of these, ms", "{:.0f}"),
]


def compare(every, rounds, seconds, body):
    results = []
    with contextlib.ExitStack() as running:
        servers = [running.enter_context(start(name, program)) for name, program in every.items()]
        for server in servers:
            run_load(LOAD, "unary", server.port, 8, 16, 1)  # warm
        for i in range(rounds):
            say(f"round {i + 1} of {rounds}")
            results.append({s.name: measure(s, seconds, body) for s in servers})
    for i, result in enumerate(results):
        say(f"memory and two threads, round {i + 1} of {rounds}")
        for name, program in every.items():
            result[name].update(measure_idle(name, program))
            result[name].update(measure_threads(name, program, seconds, body))
    return results


def rpc(rounds: int, seconds: int) -> Results:
    every = programs()
    with tempfile.NamedTemporaryFile() as body:
        body.write(POINT)
        body.flush()
        results = compare(every, rounds, seconds, body.name)
    versions = f"tonic {crate_version('tonic')}, grpc-go {module_version('google.golang.org/grpc')}"
    return {"what": "rpc", "own": OWN, "names": list(every), "versions": versions, "rounds": results}


# ---- saves ----


def measure_saves(services, seconds):
    """Microseconds of CPU per save, of each service."""
    before = [service.cpu_seconds() for service in services]
    result = run_load(LOAD, "save", services[-1].port, 8, 16, seconds, FEATURES)
    spent = [(service.cpu_seconds() - b) * 1e6 for service, b in zip(services, before, strict=True)]
    return [s / result["calls"] for s in spent], result["calls"] / result["seconds"]


def save(rounds: int, seconds: int) -> None:
    def service(name, **options):
        return start(name, RELEASE / name, cpus=CPUS, **options)

    with (
        tempfile.TemporaryDirectory() as folder,
        service("feature-store", STORE_URL=f"lmdb://{folder}") as store,
        service("route-guide", FEATURE_STORE_SERVICE_ADDR=f"127.0.0.1:{store.port}") as guide,
    ):
        services = [store, guide]
        measure_saves(services, 1)  # warm
        results = [measure_saves(services, seconds) for _ in range(rounds)]
    print("| service | CPU per save, us |")
    print("|---|---|")
    for i, each in enumerate(services):
        print(f"| {each.name} | {statistics.median(spent[i] for spent, _ in results):.1f} |")
    print(f"| both | {statistics.median(sum(spent) for spent, _ in results):.1f} |")
    print(f"\n{statistics.median(rate for _, rate in results):,.0f} saves/s")
