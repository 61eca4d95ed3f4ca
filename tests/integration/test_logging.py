"""What the log says of a request, of each service over its own protocol, held against the fields that Cloud Logging takes out of
a JSON line for the entry itself (https://cloud.google.com/logging/docs/structured-logging, and LogEntry, HttpRequest in its
API). What it does not know it leaves in the payload; what has a wrong type or form it drops without a word."""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import re
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from hyperframe.frame import GoAwayFrame, PingFrame, SettingsFrame

import examples
import harness
from conftest import Routes
from harness import ROOT, Line, Service
from raw_http2 import Connection
from system import service_names

PROJECT = "shop-123"
SEVERITIES = {"DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"}
INT64 = r"0|[1-9][0-9]{0,18}"  # 64 bit integers are strings in JSON
REQUEST = {  # members of HttpRequest, by form; those of a cache are not ours to say
    "requestMethod": r"[A-Z]+",
    "requestUrl": r"https?://[^/\s]+/\S*",
    "requestSize": INT64,
    "status": int,
    "responseSize": INT64,
    "userAgent": r".+",
    "remoteIp": r".+",
    "serverIp": r".+",
    "referer": r".+",
    "latency": r"[0-9]+(\.[0-9]{1,9})?s",
    "protocol": r"HTTP/[0-9.]+",
}
NEEDED = REQUEST.keys() - {"referer"}
SPECIAL = {  # all there are below this name; others would stay in the payload
    f"logging.googleapis.com/{name}"
    for name in ("trace", "spanId", "trace_sampled", "labels", "insertId", "operation", "sourceLocation", "stack_trace")
}
# Names that older agents took, and that are often written by mistake: they are not parsed, or in another way.
MISTAKEN = {"timestamp", "level", "msg", "trace", "spanId", "traceSampled", "trace_id", "http_request"}


def has_form(value: object, form: object) -> bool:
    if isinstance(form, str):
        return isinstance(value, str) and re.fullmatch(form, value) is not None
    return type(value) is form


def holds(line: Line, service: str, trace: str, sampled: bool, status: int) -> None:
    """Every field of the line that Cloud Logging knows."""
    assert line["severity"] in SEVERITIES
    assert line["severity"] == ("INFO" if status < 400 else "WARNING")
    assert isinstance(line["message"], str) and line["message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", line["time"])
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(line["time"][:26] + "+00:00")
    assert abs(age) < datetime.timedelta(hours=1), "beyond a day in the future an entry is refused"
    assert line["logging.googleapis.com/trace"] == f"projects/{PROJECT}/traces/{trace}"
    assert re.fullmatch("[0-9a-f]{16}", line["logging.googleapis.com/spanId"])
    assert int(line["logging.googleapis.com/spanId"], 16) != 0
    assert line["logging.googleapis.com/trace_sampled"] is sampled
    labels = line["logging.googleapis.com/labels"]
    assert labels["service"] == service and all(isinstance(value, str) for value in labels.values())
    assert line["serviceContext"] == {"service": service, "version": (ROOT / "VERSION").read_text().strip()}
    assert {name for name in line if name.startswith("logging.googleapis.com/")} <= SPECIAL
    assert not MISTAKEN & line.keys()
    request = line["httpRequest"]
    assert request.keys() >= NEEDED
    for name, value in request.items():
        assert has_form(value, REQUEST[name]), f"{name}: {value!r}"
    ipaddress.ip_address(request["remoteIp"])
    ipaddress.ip_address(request["serverIp"])
    assert request["status"] == status


def of_trace(trace: str) -> Callable[[Line], bool]:
    return lambda line: str(line.get("logging.googleapis.com/trace", "")).endswith(trace)


def of_path(path: str) -> Callable[[Line], bool]:
    return lambda line: urlsplit(line.get("httpRequest", {}).get("requestUrl", "")).path == path


@pytest.fixture
def systems(start_with_peers: Callable[..., Service]) -> dict[str, Service]:
    """One of each."""
    return {name: start_with_peers(name, GOOGLE_CLOUD_PROJECT=PROJECT, LOG_LEVEL="info") for name in service_names()}


def test_no_service_is_left_out() -> None:
    assert set(service_names()) == examples.HTTP.keys() | examples.GRPC.keys()


def test_http(systems: dict[str, Service], http: httpx.Client) -> None:
    for name, paths in examples.HTTP.items():
        service = systems[name]
        for path, sampled in zip(paths, (True, False)):
            trace = uuid.uuid4().hex
            headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-{sampled:02d}", "referer": "https://shop.example/"}
            answer = http.get(service.http_url + path, headers=headers)
            line = service.wait_log(test=of_trace(trace))
            holds(line, name, trace, sampled, answer.status_code)
            request = line["httpRequest"]
            assert (answer.status_code < 400) == sampled, "one request of each pair is refused"
            assert line["message"] == f"GET {path} {answer.status_code}"
            assert (request["requestMethod"], request["requestUrl"]) == ("GET", service.http_url + path)
            assert (request["referer"], request["protocol"]) == ("https://shop.example/", "HTTP/1.1")
            assert request["responseSize"] == str(len(answer.content))
            assert request["userAgent"].startswith("python-httpx/")


def test_grpc(systems: dict[str, Service], channel: Callable[[str], grpc.Channel], stubs: SimpleNamespace) -> None:
    for name, example in examples.GRPC.items():
        service = systems[name]
        call = example.caller(channel(service.grpc_address))
        for message, code, status in ((example.ok, "OK", 200), (example.refused, "INVALID_ARGUMENT", 400)):
            trace = uuid.uuid4().hex
            metadata = [("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
            try:
                call(message, metadata=metadata, timeout=harness.START_S)
            except grpc.RpcError as error:
                assert error.code().name == code
            line = service.wait_log(test=of_trace(trace))
            holds(line, name, trace, True, status)
            assert line["grpc_code"] == code
            assert line["httpRequest"]["requestUrl"] == f"http://{service.grpc_address}/{example.rpc}"
            assert line["httpRequest"]["protocol"] == "HTTP/2"
            assert line["httpRequest"]["userAgent"].startswith("grpc-python/")


@pytest.mark.parametrize(
    ("proxies", "client", "scheme"),
    [("127.0.0.0/8,10.0.0.0/8", "192.0.2.7", "https"), ("10.0.0.0/8", "127.0.0.1", "http")],
)
def test_the_client_behind_a_proxy(
    start: Callable[..., Service], channel: Callable[[str], grpc.Channel], proxies: str, client: str, scheme: str
) -> None:
    """It is named where the proxy is trusted; else anybody could name anyone."""
    demo, store = start("demo", TRUSTED_PROXIES=proxies), start("feature-store", TRUSTED_PROXIES=proxies)
    headers = [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "203.0.113.1, 192.0.2.7"),
        ("x-forwarded-for", "10.1.1.1"),
    ]
    assert httpx.get(f"{demo.http_url}/demo/hello", headers=headers, timeout=harness.START_S).status_code == 200
    headers[1:] = [("x-forwarded-for", "203.0.113.1, 192.0.2.7,10.1.1.1")]  # of several the client sends the last
    method = "/routeguide.RouteGuide/Nothing"
    with pytest.raises(grpc.RpcError):
        channel(store.grpc_address).unary_unary(method)(b"", metadata=headers, timeout=harness.START_S)
    for service, path in ((demo, "/demo/hello"), (store, method)):
        request = service.wait_log(test=of_path(path))["httpRequest"]
        assert request["remoteIp"] == client
        assert urlsplit(request["requestUrl"]).scheme == scheme


def test_a_mistake_of_a_grpc_client_is_no_error(
    start: Callable[..., Service], channel: Callable[[str], grpc.Channel]
) -> None:
    guide = start("feature-store", GRPC_MAX_MESSAGE_BYTES=1024)
    calls = channel(guide.grpc_address)
    mistakes = [
        ("/routeguide.RouteGuide/Nothing", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("/routeguide.RouteGuide/SaveFeature", b"x" * 2048, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("/routeguide.RouteGuide/GetFeature", b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
    ]
    for method, message, code in mistakes:
        with pytest.raises(grpc.RpcError) as failed:
            calls.unary_unary(method)(message, timeout=harness.START_S)
        assert failed.value.code() is code
        line = guide.wait_log(test=of_path(method))
        assert line["severity"] == "WARNING", line


def test_no_trace_begins_one(systems: dict[str, Service], http: httpx.Client) -> None:
    http.get(f"{systems['demo'].http_url}/demo/hello?new")
    line = systems["demo"].wait_log(message="GET /demo/hello?new 200")
    trace = line["logging.googleapis.com/trace"].removeprefix(f"projects/{PROJECT}/traces/")
    assert re.fullmatch("[0-9a-f]{32}", trace)
    holds(line, "demo", trace, line["logging.googleapis.com/trace_sampled"], 200)


def test_other_lines_too(systems: dict[str, Service], http: httpx.Client) -> None:
    """From the first to the last: a severity, a message, a time."""
    for service in systems.values():
        service.stop()
        assert len(service.logs()) > 2
        for line in service.logs():
            assert line["severity"] in SEVERITIES and isinstance(line["message"], str), line
            datetime.datetime.fromisoformat(line["time"][:26] + "+00:00")
            assert not MISTAKEN & line.keys(), line


def test_frames_of_unknown_types_reach_neither_stderr_nor_stop_the_service(start: Callable[..., Service]) -> None:
    """Nobody reads stderr, which takes 4 KiB: h2o 2.2.5 writes a line for each such frame."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    demo = start("demo", WORKERS=1, stderr_fd=write)
    os.close(write)
    url = urlsplit(demo.http_url)
    with socket.create_connection((url.hostname, url.port), timeout=harness.START_S) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame().serialize())
        sock.sendall(b"\0\0\0\x0b\0\0\0\0\0" * 20_000 + PingFrame(opaque_data=b"the last").serialize())
        received = b""
        while b"the last" not in received:
            received += (more := sock.recv(65536))
            assert more, "the connection was closed"
    assert httpx.get(f"{demo.http_url}/demo/hello", timeout=harness.START_S).status_code == 200
    demo.stop()
    with os.fdopen(read, "rb") as rest:
        assert rest.read() == b""
    said = demo.logs(message="a library wrote to standard error")
    assert all(line["text"] == "skipping frame (type:11)" for line in said)
    assert len(said) < 20


def test_a_client_cannot_forge_a_line(routes: Routes) -> None:
    """Libraries' messages quote what a client has sent. Standard output and error often end up in one log."""
    line = 'x\n{"severity":"CRITICAL","message":"forged"}\n'
    for service in (routes.guide, routes.store):
        connection = Connection(service.grpc_address)
        connection.synchronize()
        for number, header in enumerate(("grpc-timeout", "grpc-encoding", "grpc-status", "custom")):
            connection.open(1 + 2 * number, "/routeguide.RouteGuide/RecordRoute", (header, line))
        connection.synchronize()
        connection.socket.sendall(GoAwayFrame(0, error_code=11, additional_data=line.encode()).serialize())
        with pytest.raises(ConnectionError):  # no call is left
            connection.synchronize()
        connection.socket.close()
        service.stop()
        assert service.stderr() == ""
        assert not service.logs(message="forged")


def test_the_level_changes_at_run_time(start) -> None:
    service = start("demo", wait=False, LOG_LEVEL="error")
    harness.until(lambda: httpx.get(f"{service.admin_url}/readyz").status_code == 200, what="ready")
    # Nobody can do without the port, whatever the level; and of this start nothing else was said.
    assert {line["message"] for line in service.logs()} == {"listening"}
    level = f"{service.admin_url}/log-level"
    assert httpx.get(level).text == "error"
    assert httpx.put(level, content="info").status_code == 204
    service.wait_log(message="log level", level="info")
    assert httpx.get(f"{service.http_url}/demo/hello").status_code == 200
    service.wait_log(test=of_path("/demo/hello"))
    refused = httpx.put(level, content="loud")
    assert refused.status_code == 400 and "must be debug" in refused.json()["detail"]
    assert httpx.get(level).text == "info"
    for expected in ("debug", "error", "debug"):
        service.signal(signal.SIGUSR1)
        harness.until(lambda expected=expected: httpx.get(level).text == expected, what=expected)
    assert httpx.get(f"{service.http_url}/log-level").status_code == 404  # not on the public port


def test_the_level_is_set_over_loopback_only(start) -> None:
    service = start("demo", BIND_ADDRESS="::")
    address = other_address()
    if address is None:
        pytest.skip("this machine has no address but loopback's")
    url = f"http://{address}:{urlsplit(service.admin_url).port}/log-level"
    assert httpx.get(url).text == "info"
    assert httpx.put(url, content="debug").status_code == 403
    assert httpx.get(url).text == "info"


def other_address() -> str | None:
    """An address of this machine that packets to elsewhere would come from; none is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


def test_text_is_for_people(tmp_path: Path) -> None:
    with subprocess.Popen(
        [harness.program("demo")],
        env=harness.environment(tmp_path, {"LOG_FORMAT": "text", "PORT": 0, "METRICS_PORT": 0}),
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.endswith("ready\n"):
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (INFO|NOTICE|WARNING) +\S", line) for line in lines)
    assert any(re.search(r"INFO     listening protocol=http address=\S+ port=\d+$", line) for line in lines)


def test_each_metric_is_described(systems: dict[str, Service], http: httpx.Client) -> None:
    """In docs/metrics.md, which describes no others."""
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.c"))
    named = set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+)+)`", (ROOT / "docs/metrics.md").read_text())) - {"build_id"}
    for service in systems.values():
        families = set(re.findall(r"^# TYPE (\S+) ", http.get(f"{service.admin_url}/metrics").text, re.MULTILINE))
        assert len(families) > 20 and families <= named
    assert not [name for name in named if f'"{name}"' not in source]


def test_queries_ask_for_members_of_lines() -> None:
    """Of docs/log-queries.md."""
    known = {f"httpRequest.{name}" for name in REQUEST} | {"severity", "trace", "resource.type", "labels.service"}
    known |= {"resource.labels.namespace_name", 'labels."k8s-pod/app_kubernetes_io/name"'}
    known |= {f"jsonPayload.{name}" for name in ("message", "grpc_code", "crash.signal", "dropped", "left_out")}
    blocks = re.findall(r"^```text\n(.*?)^```$", (ROOT / "docs/log-queries.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 10
    for block in blocks:
        assert block.startswith('resource.type="k8s_container"\nresource.labels.namespace_name="slipway"\n')
        asked = re.findall(r'(?:^|OR |NOT |\()([a-z][\w."/-]+?)(?=[=<>:])', block, re.MULTILINE)
        assert len(asked) >= len(block.splitlines()), block
        assert set(asked) <= known, block
        for names in re.findall(r"labels\.service=(.+?)(?: OR labels|$)", block, re.MULTILINE):
            assert set(re.findall(r'"([\w-]+)"', names)) <= set(service_names()) | {"upkeep"}, block
