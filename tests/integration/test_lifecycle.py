"""What all services have in common: options, start, readiness, drain, exit status. One table says which they are."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import httpx
import pytest

import clients
import examples
import harness
from harness import Service
from system import DECLARED, PLACES, service_names

SERVICES = service_names()
HTTP_SERVICES = [name for name in SERVICES if name in examples.HTTP]
GRPC_SERVICES = [name for name in SERVICES if name in examples.GRPC]
ROUTE_SERVICES = [name for name in GRPC_SERVICES if examples.GRPC[name].service == "routeguide.RouteGuide"]
# Required options that name a peer which is not there: enough to check options and to start.
NO_PEERS = {name: dict.fromkeys(PLACES[name].peers, "127.0.0.1:1") if name in PLACES else {} for name in SERVICES}


# ---- options ----


@pytest.mark.parametrize("name", SERVICES)
def test_help_names_every_option_and_exits(name: str, tmp_path: Path) -> None:
    result = harness.run(name, "--help", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    one = DECLARED[name]
    stored = ["STORE_URL"] if one.store else []
    for option in ["METRICS_PORT", "SHUTDOWN_DELAY_SECONDS", "LOG_LEVEL", *NO_PEERS[name], *stored]:
        assert option in result.stdout
        assert "--" + option.lower().replace("_", "-") in result.stdout
    assert ("STORE_URL" in result.stdout) == bool(one.store)
    ports = {variable: int(port) for variable, port in re.findall(r" (PORT|GRPC_PORT) +(\d+) ", result.stdout)}
    assert ports == {{"http": "PORT", "grpc": "GRPC_PORT"}[protocol]: port for protocol, port in one.ports.items()}


@pytest.mark.parametrize("name", SERVICES)
def test_check_of_the_options_starts_nothing(name: str, tmp_path: Path) -> None:
    result = harness.run(name, "-n", folder=tmp_path, **NO_PEERS[name])
    assert (result.returncode, result.stderr) == (0, "")
    assert not (tmp_path / "data").exists()


WRONG = [
    ("METRICS_PORT", "http", "0 to 65535"),
    ("METRICS_PORT", "65536", "0 to 65535"),
    ("SHUTDOWN_TIMEOUT_SECONDS", "0", "1 to 3600"),
    ("SHUTDOWN_DELAY_SECONDS", "-1", "0 to 3600"),
    ("WORKERS", "1e3", "0 to 256"),
    ("LOG_LEVEL", "loud", "debug, info, notice"),
]


@pytest.mark.parametrize("check", [[], ["-n"]], ids=["start", "check"])
@pytest.mark.parametrize(("variable", "value", "allowed"), WRONG)
@pytest.mark.parametrize("name", SERVICES)
def test_a_wrong_option_is_one_line_and_status_2(
    name: str, variable: str, value: str, allowed: str, check: list[str], tmp_path: Path
) -> None:
    result = harness.run(name, *check, folder=tmp_path, **NO_PEERS[name] | {variable: value})
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert f"{variable}={value}" in result.stderr
    assert allowed in result.stderr
    assert result.stdout == ""


REFUSED = [
    ("users", "BIND_ADDRESS", "localhost", "must be a numeric address"),
    (
        "users",
        "TRUSTED_PROXIES",
        "10.0.0.0/33",
        "must be at most 64 numeric addresses or networks (10.0.0.0/8), separated by commas",
    ),
    ("countries", "USERS_SERVICE_ADDR", "users", "must be host:port"),
    ("route-guide", "FEATURE_STORE_SERVICE_ADDR", "feature-store", "must be host:port"),
    ("route-guide", "FEATURE_STORE_SERVICE_ADDR", "feature-store:http", "must be host:port"),
    ("route-guide", "FEATURE_STORE_SERVICE_ADDR", "127.0.0.1:65536", "must be host:port"),
    ("notes", "STORE_URL", "file:///data", "expected lmdb:///DIR or etcd://HOST:PORT/PREFIX"),
    ("notes", "STORE_URL", "lmdb://data", "expected lmdb:///DIR, an absolute path"),
    ("feature-store", "STORE_URL", "etcd://etcd:2379", "there is no PREFIX"),
    ("feature-store", "STORE_URL", "etcd://etcd:client/p", "an endpoint must be HOST:PORT"),
    ("feature-store", "STORE_URL", "etcd://etcd:2379/p?view=here", "view must be an absolute path"),
    ("upkeep", "CERTIFICATES", "/" + 256 * "x", "a path is longer than 255 bytes"),
]


@pytest.mark.parametrize("check", [[], ["-n"]], ids=["start", "check"])
@pytest.mark.parametrize(("name", "variable", "value", "said"), REFUSED)
def test_an_address_that_cannot_be_one_is_a_wrong_option(
    name: str, variable: str, value: str, said: str, check: list[str], tmp_path: Path
) -> None:
    settings: dict[str, object] = {**NO_PEERS.get(name, {}), variable: value}
    result = harness.run(name, *check, folder=tmp_path, **settings)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"{name}: {variable}={value[:100]}: {said}\n"


@pytest.mark.parametrize(
    ("name", "variable", "text", "said"),
    [
        ("users", "AUTH_TOKENS_FILE", None, "AUTH_TOKENS_FILE={file}: No such file or directory"),
        ("users", "AUTH_TOKENS_FILE", "anybody\n", "AUTH_TOKENS_FILE={file}: line 1 is not NAME SHA256 RATE"),
        ("route-guide", "FEATURES_FILE", None, "{file}: No such file or directory"),
        ("route-guide", "FEATURES_FILE", "[{]", "{file}:1"),
    ],
)
def test_the_check_reads_the_files_that_start_would(
    name: str, variable: str, text: str | None, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    if text is not None:
        file.write_text(text)
    settings: dict[str, object] = {**NO_PEERS[name], variable: file}
    for check in ([], ["-n"]):
        result = harness.run(name, *check, folder=tmp_path / "run", **settings)
        assert result.returncode == 1
        assert result.stderr.startswith(f"{name}: {said.format(file=file)}"), result.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_an_unknown_flag_is_refused(name: str, tmp_path: Path) -> None:
    result = harness.run(name, "--no-such-flag", folder=tmp_path, **NO_PEERS[name])
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--no-such-flag" in result.stderr


@pytest.mark.parametrize("name", [name for name in SERVICES if NO_PEERS[name]])
def test_a_required_option_is_asked_for(name: str, tmp_path: Path) -> None:
    result = harness.run(name, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert next(iter(NO_PEERS[name])) in result.stderr


def h2o_version() -> str:
    """Of the headers that the programs were built with. $SLIPWAY_H2O_PREFIX: they are not in a build folder of Meson's."""
    prefix = os.environ.get("SLIPWAY_H2O_PREFIX")
    if prefix is None:
        options = ["meson", "introspect", "--buildoptions", harness.BUILD]
        found = json.loads(subprocess.run(options, capture_output=True, check=True, text=True).stdout)
        prefix = next(option["value"] for option in found if option["name"] == "h2o_prefix")
    text = (Path(prefix) / "include/h2o/version.h").read_text()
    return re.findall(r'^#define H2O_VERSION(?:_BASE)? "(.*)"', text, re.MULTILINE)[0]


def c_core_version() -> str:
    command = ["pkg-config", "--modversion", "grpc"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


@pytest.mark.parametrize("name", ["demo", "feature-store"])
def test_libraries_with_known_vulnerabilities_are_named_once(name: str, start: Callable[..., Service]) -> None:
    h2o, c_core = h2o_version(), c_core_version()
    old = [f"h2o {h2o}"] if h2o.startswith("2.2.") else []
    old += [f"gRPC C-core {c_core}"] if name == "feature-store" and int(c_core.split(".")[0]) < 44 else []
    service = start(name)
    said = [line["libraries"] for line in service.logs(severity="WARNING") if "libraries" in line]
    assert said == ([", ".join(old)] if old else [])


def test_flags_win_over_the_environment(start: Callable[..., Service]) -> None:
    port = harness.free_port()
    demo = start("demo", f"--port={port}", PORT="1")
    assert demo.http_url.endswith(f":{port}")


# ---- start ----


@pytest.mark.parametrize(
    ("name", "variable"),
    [(name, "METRICS_PORT") for name in SERVICES]
    + [(name, "PORT") for name in HTTP_SERVICES]
    + [(name, "GRPC_PORT") for name in GRPC_SERVICES],
)
def test_a_taken_port_is_named(name: str, variable: str, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = harness.run(name, folder=tmp_path, **NO_PEERS[name] | {variable: port})
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert str(port) in result.stderr
    assert "in use" in result.stderr


def can_connect(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


@pytest.mark.parametrize("name", ["users", "feature-store"])
def test_all_listeners_take_the_bind_address_and_the_log_names_it(name: str, start: Callable[..., Service]) -> None:
    service = start(name, BIND_ADDRESS="127.0.0.2")
    service.wait_log(message="ready")
    lines = service.logs(message="listening")
    assert {line["protocol"] for line in lines} == {"admin", *DECLARED[name].ports}
    for line in lines:
        assert line["address"] == "127.0.0.2"
        assert can_connect("127.0.0.2", line["port"])
        assert not can_connect("127.0.0.1", line["port"])


@pytest.mark.parametrize("name", SERVICES)
def test_admin_listener(name: str, start_with_peers: Callable[..., Service], http: httpx.Client) -> None:
    service = start_with_peers(name)
    assert http.get(service.admin_url + "/healthz").status_code == 200
    assert http.get(service.admin_url + "/readyz").status_code == 200
    metrics = http.get(service.admin_url + "/metrics")
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert f'build_info{{service="{name}",' in metrics.text
    assert "process_resident_memory_bytes" in metrics.text
    assert http.get(service.admin_url + "/demo/hello").status_code == 404


# ---- readiness while draining ----


@pytest.mark.parametrize("name", HTTP_SERVICES)
def test_readiness_flips_and_serving_goes_on(
    name: str, start_with_peers: Callable[..., Service], http: httpx.Client
) -> None:
    service = start_with_peers(name, SHUTDOWN_DELAY_SECONDS=3600)
    path, _ = examples.HTTP[name]
    before = http.get(service.http_url + path)
    assert (before.status_code, before.headers.get("connection")) == (200, "keep-alive")
    service.signal(signal.SIGTERM)
    service.wait_log(message="draining")
    assert http.get(service.admin_url + "/readyz").status_code == 503
    assert http.get(service.admin_url + "/healthz").status_code == 200
    during = httpx.get(service.http_url + path)  # a new connection
    assert (during.status_code, during.headers["connection"]) == (200, "close")
    service.kill()


@pytest.mark.parametrize("name", GRPC_SERVICES)
def test_grpc_health_flips_and_serving_goes_on(
    name: str, start_with_peers: Callable[..., Service], stubs: SimpleNamespace, channel: Callable[[str], grpc.Channel]
) -> None:
    service = start_with_peers(name, SHUTDOWN_DELAY_SECONDS=3600, MAX_CONNECTION_AGE_MS=30000)
    request, serving = stubs.health.HealthCheckRequest(), stubs.health.HealthCheckResponse
    line = channel(service.grpc_address)
    health = stubs.health_grpc.HealthStub(line)
    watch = health.Watch(request, timeout=harness.STOP_S)
    assert next(watch).status == serving.SERVING
    assert health.Check(request, timeout=harness.START_S).status == serving.SERVING
    service.signal(signal.SIGTERM)
    assert next(watch).status == serving.NOT_SERVING
    assert health.Check(request, timeout=harness.START_S).status == serving.NOT_SERVING
    named = stubs.health.HealthCheckRequest(service=examples.GRPC[name].service)
    assert health.Check(named, timeout=harness.START_S).status == serving.NOT_SERVING
    examples.GRPC[name].caller(line)(examples.GRPC[name].ok, timeout=harness.START_S)
    assert httpx.get(service.admin_url + "/readyz").status_code == 503
    watch.cancel()
    line.close()
    service.kill()


# ---- drain ----


@pytest.mark.parametrize("name", SERVICES)
def test_idle_it_ends_with_status_0(name: str, start: Callable[..., Service]) -> None:
    service = start(name, **NO_PEERS[name])
    service.stop()
    assert [len(service.logs(message=said)) for said in ("ready", "draining", "stopped")] == [1, 1, 1]


@contextlib.contextmanager
def held_request(demo: Service, delay_ms: int) -> Iterator[socket.socket]:
    """The connection of a request that is being answered, for so long."""
    with socket.create_connection(("127.0.0.1", int(demo.http_url.rsplit(":", 1)[1])), harness.START_S) as client:
        client.sendall(f"GET /demo/hello?delay={delay_ms} HTTP/1.1\r\nHost: demo\r\n\r\n".encode())
        # The answer to a request sent after it shows that the loops have read the first.
        httpx.get(demo.http_url + "/demo/hello")
        yield client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_answered(number: int, start: Callable[..., Service]) -> None:
    demo = start("demo")
    with held_request(demo, 3000) as client:
        demo.signal(number)
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nhello, world!\n")
    assert demo.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("waits_for", ["data", "store"])
def test_a_signal_ends_a_start_that_takes_long(
    waits_for: str, number: int, tmp_path: Path, start: Callable[..., Service]
) -> None:
    """Data are read from a pipe that nobody fills; etcd is a listener that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        if waits_for == "data":
            os.mkfifo(features := tmp_path / "features")
            service = start("route-guide", wait=False, FEATURES_FILE=features, FEATURE_STORE_SERVICE_ADDR="127.0.0.1:1")
        else:
            service = start("notes", wait=False, STORE_URL=f"etcd://127.0.0.1:{silent.getsockname()[1]}/test")
        service.wait_log(message="listening", protocol="admin")
        service.signal(number)
        assert service.wait() == 0
    assert service.logs(message="stopped while starting") and not service.logs(message="ready")
    assert service.stderr() == ""


def test_a_second_sigterm_changes_nothing(start: Callable[..., Service]) -> None:
    demo = start("demo")
    with held_request(demo, 1000) as client:
        demo.signal(signal.SIGTERM)
        demo.wait_log(message="draining")
        demo.signal(signal.SIGTERM)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    assert demo.wait() == 0
    assert len(demo.logs(message="draining")) == 1


@pytest.mark.skipif("TSAN_OPTIONS" in os.environ, reason="TSan keeps a signal back until the next call that it knows")
def test_a_second_sigint_ends_at_once(start: Callable[..., Service]) -> None:
    demo = start("demo", SHUTDOWN_DELAY_SECONDS=3600)
    demo.exit_status = None
    demo.signal(signal.SIGINT)
    demo.wait_log(message="draining")
    demo.signal(signal.SIGINT)
    assert demo.wait() != 0


def test_what_does_not_end_in_time_is_cut_off_and_said(start: Callable[..., Service]) -> None:
    demo = start("demo", SHUTDOWN_TIMEOUT_SECONDS=1)
    demo.exit_status = 1
    with held_request(demo, 30000) as client:
        demo.signal(signal.SIGTERM)
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    demo.stop()


def drained(service: Service, client: Callable[[clients.Load], None], threads: int = 6) -> clients.Load:
    """SIGTERM under load: every client must be well under way, and gets to its end by being refused."""
    load = clients.Load(client, threads)
    harness.until(lambda: load.calls >= 20 * threads or load.failures, what=f"{load.calls} calls{service.story()}")
    load.told.set()
    service.signal(signal.SIGTERM)
    load.join(harness.STOP_S)
    started = time.monotonic()
    assert service.wait() == 0
    assert load.failures == []
    assert load.calls_after > 0
    assert time.monotonic() - started < harness.STOP_S
    return load


@pytest.mark.parametrize("protocol", ["http1", "http2"])
@pytest.mark.parametrize("name", HTTP_SERVICES)
def test_http_load_sees_no_failure(name: str, protocol: str, start_with_peers: Callable[..., Service]) -> None:
    service = start_with_peers(name, SHUTDOWN_DELAY_SECONDS=1)
    path, _ = examples.HTTP[name]
    drained(service, getattr(clients, protocol)(service.http_url + path))


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_http_load_sees_no_failure_without_a_delay(protocol: str, start: Callable[..., Service]) -> None:
    service = start("demo")
    drained(service, getattr(clients, protocol)(service.http_url + "/demo/hello"))


@pytest.mark.parametrize("name", GRPC_SERVICES)
def test_unary_load_sees_no_failure(
    name: str, start_with_peers: Callable[..., Service], stubs: SimpleNamespace
) -> None:
    service = start_with_peers(name, SHUTDOWN_DELAY_SECONDS=1, MAX_CONNECTION_AGE_MS=1000)
    example = examples.GRPC[name]
    with grpc.insecure_channel(service.grpc_address) as channel:
        first = example.caller(channel)(example.ok, timeout=clients.TIMEOUT_S)

    def call(channel: grpc.Channel) -> None:
        reply = example.caller(channel)(example.ok, timeout=clients.TIMEOUT_S)
        assert reply == first
        if name == "route-guide":
            assert reply.name  # that the place is known: the location comes back in any case

    drained(service, clients.grpc_calls(service.grpc_address, call))


@pytest.mark.parametrize("name", ROUTE_SERVICES)
def test_stream_load_sees_no_failure(
    name: str, start_with_peers: Callable[..., Service], stubs: SimpleNamespace
) -> None:
    service = start_with_peers(name, SHUTDOWN_DELAY_SECONDS=1, MAX_CONNECTION_AGE_MS=1000)
    point = stubs.routeguide.Point

    def chat(channel: grpc.Channel) -> None:
        """Notes at three places, the next one when the last has come back."""
        stub = stubs.routeguide_grpc.RouteGuideStub(channel)
        returned: list[str] = []

        def notes() -> Iterator[object]:
            for number in range(3):
                yield stubs.routeguide.RouteNote(location=point(latitude=number), message=f"note {number}")

        for note in stub.RouteChat(notes(), timeout=clients.TIMEOUT_S):
            returned.append(note.message)
        assert returned[-1] == "note 2"
        summary = stub.RecordRoute((point(latitude=number) for number in range(10)), timeout=clients.TIMEOUT_S)
        assert summary.point_count == 10

    drained(service, clients.grpc_calls(service.grpc_address, chat))
