"""console: what services and other senders of OTLP send, as its API shows it; hostile senders; requests from the page."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import pytest
from grpc_tools import protoc

from harness import SANITIZED, START_S, Service, until
from interfaces import rpc_services, served
from system import DECLARED, ROOT

Json = dict[str, Any]
TOKEN = "a-token-of-this-test"
HOSTILE = "<script>alert(1)</script>\"'\x01\u202e\u2028"
SERVICES = {"spans": "trace.v1.TraceService", "points": "metrics.v1.MetricsService", "logs": "logs.v1.LogsService"}


@pytest.fixture(scope="session")
def otlp(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    out = tmp_path_factory.mktemp("sender")
    here = Path(__file__).parent
    assert protoc.main(["protoc", f"-I{here}", f"--python_out={out}", str(here / "sender.proto")]) == 0
    sys.path.insert(0, str(out))
    return importlib.import_module("sender_pb2")


class Console:
    """A console, and senders to it."""

    def __init__(self, service: Service, otlp: ModuleType, channel: grpc.Channel) -> None:
        self.service, self.otlp, self.channel = service, otlp, channel

    def get(self, path: str) -> Json:
        answer = httpx.get(self.service.http_url + path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return dict(answer.json())

    def until(self, path: str, condition: Callable[[Json], Any]) -> Json:
        """What a path answers once the condition holds."""
        return until(lambda: found if condition(found := self.get(path)) else None, what=path)

    def export(self, kind: str, data: bytes) -> bytes:
        path = f"/opentelemetry.proto.collector.{SERVICES[kind]}/Export"
        call = self.channel.unary_unary(path, lambda each: each, lambda each: each)
        return bytes(call(data, timeout=START_S))

    def pairs(self, values: Json) -> list[object]:
        def value(said: object) -> object:
            if isinstance(said, str):
                said = said.encode(errors="surrogateescape")
            kinds = {bytes: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}
            return self.otlp.AnyValue(**{kinds[type(said)]: said})

        return [self.otlp.KeyValue(key=key.encode(), value=value(said)) for key, said in values.items()]

    def send(self, kind: str, items: Iterable[object], service: str = "shop", instance: str = "shop-1") -> bytes:
        attributes = {"service.name": service, "service.instance.id": instance, "service.version": "1"}
        packed = [each.SerializeToString() for each in items]  # type: ignore[attr-defined]
        resource = self.otlp.ResourceItems(
            resource=self.otlp.Resource(attributes=self.pairs(attributes)), scopes=[self.otlp.Scope(items=packed)]
        )
        return self.export(kind, self.otlp.Data(resources=[resource]).SerializeToString())

    def span(self, trace: int, number: int, parent: int = 0, **said: Any) -> object:
        now = time.time_ns()
        fields: Json = {"name": b"GET /", "kind": 2, "start_time_unix_nano": now, "end_time_unix_nano": now + 1000000}
        attributes = self.pairs(said.pop("attributes", {}))
        return self.otlp.Span(
            trace_id=trace.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            parent_span_id=parent.to_bytes(8, "big") if parent else b"",
            attributes=attributes,
            **(fields | said),
        )

    def line(self, message: str, severity: int = 9, trace: int = 0, **fields: object) -> object:
        return self.otlp.LogRecord(
            time_unix_nano=time.time_ns(),
            severity_number=severity,
            body=self.otlp.AnyValue(string_value=message.encode(errors="surrogateescape")),
            attributes=self.pairs(fields),
            trace_id=trace.to_bytes(16, "big") if trace else b"",
        )


@pytest.fixture
def console(
    start: Callable[..., Service], otlp: ModuleType, channel: Callable[[str], grpc.Channel]
) -> Callable[..., Console]:
    def begin(**settings: object) -> Console:
        service = start("console", **settings)
        return Console(service, otlp, channel(service.grpc_address))

    return begin


@pytest.fixture
def local(console: Callable[..., Console], tmp_path: Path) -> Iterator[Callable[..., Console]]:
    """As ./dev up starts it; local(NAME=SERVICE...) with what runs beside it."""

    def begin(**services: Service) -> Console:
        token, state = tmp_path / "token", tmp_path / "up.json"
        token.write_text(TOKEN + "\n")
        state.write_text(
            json.dumps(
                {"services": {name: {"http": one.http_url.removeprefix("http://")} for name, one in services.items()}}
            )
        )
        return console(CONSOLE_TOKEN_FILE=token, CONSOLE_SERVICES_FILE=state)

    return begin


def by_name(fleet: Json) -> dict[str, list[Json]]:
    return {service["name"]: service["replicas"] for service in fleet["services"]}


def events(lines: Iterator[str]) -> Iterator[tuple[str, Json]]:
    kind = ""
    for line in lines:
        name, _, rest = line.partition(": ")
        if name == "event":
            kind = rest
        elif name == "data":
            yield kind, json.loads(rest)


# ---- what services send ----


def test_services_and_flows(console: Callable[..., Console], start: Callable[..., Service]) -> None:
    shown = console()
    telemetry = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{shown.service.grpc_address}",
        "OTEL_BSP_SCHEDULE_DELAY": 10,
    }
    users = start("users", OTEL_RESOURCE_ATTRIBUTES="service.instance.id=users-1", **telemetry)
    address = users.http_url.removeprefix("http://")
    countries = start("countries", USERS_SERVICE_ADDR=address, **telemetry)
    assert httpx.get(f"{countries.http_url}/countries?user_id=1234").status_code == 200
    fleet = shown.until("/api/fleet", lambda found: len(found["flows"]) == 2)
    assert {(flow["from"], flow["to"]) for flow in fleet["flows"]} == {("clients", "countries"), ("countries", "users")}
    assert [(one["id"], one["state"]) for one in by_name(fleet)["users"]] == [("users/users-1", "ready")]
    assert (fleet["mode"], fleet["received"]["dropped"]) == ("cluster", 0)
    (trace,) = shown.until("/api/traces", lambda found: found["traces"] and found["traces"][0]["complete"])["traces"]
    assert (trace["service"], trace["name"]) == ("countries", "GET /countries")
    assert sorted(trace["services"]) == ["countries", "users"]
    spans = shown.get(f"/api/traces/{trace['trace_id']}")["spans"]
    parents = {span["span_id"]: span["parent_id"] for span in spans}
    assert [parent for parent in parents.values() if parent not in parents] == [None]
    assert {"/countries", "/users/{user_id}"} <= {span["attributes"].get("http.route") for span in spans}


def test_followed_by_events(console: Callable[..., Console]) -> None:
    shown = console()
    with httpx.stream("GET", f"{shown.service.http_url}/api/events?logs=1&severity=WARNING", timeout=START_S) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        found = events(stream.iter_lines())
        assert next(found)[0] == "fleet"
        shown.send("logs", [shown.line("quiet"), shown.line("loud", severity=13), shown.line("ready", severity=10)])
        seen: dict[str, Json] = {}
        for kind, data in found:
            seen.setdefault(kind, data)
            if {"log", "timeline"} <= seen.keys() and kind == "fleet" and data["services"]:
                break
    assert [line["message"] for line in seen["log"]["lines"]] == ["loud"]
    assert seen["log"]["missed"] == 0
    assert (seen["timeline"]["kind"], seen["timeline"]["instance"]) == ("started", "shop-1")


def test_a_drain_ends_streams(console: Callable[..., Console]) -> None:
    shown = console()
    with httpx.stream("GET", f"{shown.service.http_url}/api/events", timeout=START_S) as stream:
        lines = stream.iter_lines()
        next(lines)
        shown.service.signal()
        for _ in lines:
            pass
    shown.service.stop()


def test_a_replica_that_says_nothing_more_is_gone(console: Callable[..., Console]) -> None:
    """One whose metrics came every 100 ms, as their times say."""
    shown = console()
    for turn in range(3):
        when = time.time_ns() - (3 - turn) * 100_000_000
        point = shown.otlp.Point(time_unix_nano=when, as_double=1, attributes=shown.pairs({"phase": "ready"}))
        gauge = shown.otlp.Gauge(data_points=[point])
        shown.send("points", [shown.otlp.Metric(name="process_phase", gauge=gauge)])
    assert by_name(shown.get("/api/fleet"))["shop"][0]["state"] == "ready"
    shown.until("/api/fleet", lambda found: by_name(found)["shop"][0]["state"] == "gone")
    kinds = [event["kind"] for event in shown.get("/api/timeline")["events"]]
    assert kinds[-3:] == ["gone", "ready", "started"]


def test_streams_have_a_bound(console: Callable[..., Console]) -> None:
    url = f"{console().service.http_url}/api/events"
    with ExitStack() as streams:
        for _ in range(32):
            stream = streams.enter_context(httpx.stream("GET", url, timeout=START_S))
            assert stream.status_code == 200
        assert httpx.get(url).status_code == 503


def test_the_largest_fleet_is_shown(console: Callable[..., Console]) -> None:
    """As many replicas as there may be, whose names take the most bytes in JSON."""
    shown = console()
    resources = []
    for i in range(1000):
        said = {"service.name": f"{i % 200:03}" + "\x01" * 57, "service.instance.id": f"{i:04}" + "\x01" * 120}
        resources.append(shown.otlp.ResourceItems(resource=shown.otlp.Resource(attributes=shown.pairs(said))))
    shown.export("logs", shown.otlp.Data(resources=resources).SerializeToString())
    with httpx.stream("GET", f"{shown.service.http_url}/api/events?logs=1", timeout=START_S) as stream:
        found = events(stream.iter_lines())
        for _ in range(8):  # one line a turn: the fleet comes with every fourth
            shown.send("logs", [shown.line("next")], f"{0:03}" + "\x01" * 57, f"{0:04}" + "\x01" * 120)
            kind, data = next(found)
            if kind == "fleet":
                break
    assert kind == "fleet"
    assert len(data["services"]) == len(data["history"]) == 200
    assert 0 < sum(map(len, by_name(data).values())) <= 1000


def test_a_slow_reader_is_told_what_it_missed(console: Callable[..., Console]) -> None:
    """One that takes nothing until its queue is full (by HTTP/1.0, without chunks): lines that came and lines that it missed are all there were."""
    shown = console()
    host, _, port = shown.service.http_url.removeprefix("http://").rpartition(":")
    large = {f"{i}" + "\x01" * 900: "\x01" * 900 for i in range(24)}  # about 260 KB in JSON
    with ExitStack() as both:
        slow = both.enter_context(socket.socket())
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(START_S)
        slow.connect((host, int(port)))
        slow.sendall(b"GET /api/events?logs=1 HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n")
        assert slow.recv(15).endswith(b" 200 OK")
        quick = both.enter_context(httpx.stream("GET", f"{shown.service.http_url}/api/events?logs=1", timeout=START_S))
        found = (data for kind, data in events(quick.iter_lines()) if kind == "log")
        sent = 0
        while sent < 24:  # more than its queue and the buffers of the kernel hold
            shown.send("logs", [shown.line(f"line {sent + i}", **large) for i in range(2)])
            sent += 2
            got = 0
            while got < 2:  # it is served after the slow one: the turn is over
                data = next(found)
                got += len(data["lines"]) + data["missed"]
        shown.send("logs", [shown.line("end")])
        came = missed = fleets = 0
        answer = both.enter_context(slow.makefile(encoding="utf-8", newline="\n"))
        for kind, data in events(line.rstrip("\n") for line in answer):
            fleets += kind == "fleet"
            if kind == "log":
                came, missed = came + len(data["lines"]), missed + data["missed"]
            if came + missed > sent or fleets > 15:  # these come once a second, and lines sooner
                break
    assert came + missed == sent + 1
    assert missed > 0


# ---- traces and lines ----


def test_a_trace_has_the_lines_of_all_services(console: Callable[..., Console]) -> None:
    shown = console()
    shown.send("spans", [shown.span(7, 1)], "shop", "shop-1")
    shown.send(
        "spans", [shown.span(7, 2, parent=1, status=shown.otlp.Status(code=2, message="full"))], "stock", "stock-1"
    )
    shown.send("logs", [shown.line("asked", trace=7), shown.line("of another")], "shop", "shop-1")
    shown.send("logs", [shown.line("full", severity=17, trace=7, left=0, share=0.5, done=False)], "stock", "stock-1")
    trace = shown.get(f"/api/traces/{7:032x}")
    assert [(span["service"], span["error"], span["status_message"]) for span in trace["spans"]] == [
        ("shop", False, ""),
        ("stock", True, "full"),
    ]
    assert [(line["service"], line["message"]) for line in trace["lines"]] == [("shop", "asked"), ("stock", "full")]
    assert trace["lines"][1]["fields"] == {"left": 0, "share": 0.5, "done": False}
    assert [each["error"] for each in shown.get("/api/traces?errors=1")["traces"]] == [True]
    assert shown.get("/api/traces?service=nobody")["traces"] == []
    assert shown.get("/api/traces?min_ms=1000")["traces"] == []
    assert len(shown.get(f"/api/traces?text={7:032x}")["traces"]) == 1
    assert httpx.get(f"{shown.service.http_url}/api/traces/{8:032x}").status_code == 404


def test_filters_of_lines(console: Callable[..., Console]) -> None:
    shown = console()
    shown.send("logs", [shown.line(f"line {i}", severity=[5, 9, 13][i % 3], detail=f"number {i}") for i in range(30)])
    assert [line["message"] for line in shown.get("/api/logs?limit=2")["lines"]] == ["line 29", "line 28"]
    assert shown.get("/api/logs?limit=2")["cut"] is True
    warnings = shown.get("/api/logs?severity=WARNING")
    assert ({line["severity"] for line in warnings["lines"]}, warnings["cut"]) == ({"WARNING"}, False)
    assert [line["message"] for line in shown.get("/api/logs?text=NUMBER%2017")["lines"]] == ["line 17"]
    assert shown.get("/api/logs?service=other")["lines"] == []
    for query in ("severity=LOUD", "limit=many", "trace=7", "before_ms=-1", "text=%zz"):
        assert httpx.get(f"{shown.service.http_url}/api/logs?{query}").status_code == 400, query


def test_a_text_search_has_a_bound(console: Callable[..., Console]) -> None:
    """One string that many lines and spans share, and a text that nearly matches everywhere in it."""
    shown = console()
    same = {f"key-{i}": "a" * 1000 for i in range(24)}
    shown.send("logs", [shown.line("first", **same) for _ in range(40)])
    shown.send("spans", [shown.span(i + 1, 1, attributes=same) for i in range(40)])
    for path in ("logs", "traces"):
        assert shown.get(f"/api/{path}?text={'a' * 250}b") == {path.replace("logs", "lines"): [], "cut": True}
        assert shown.get(f"/api/{path}?text=aaab&limit=1")["cut"] is False


def test_hostile_strings_are_valid_json(console: Callable[..., Console]) -> None:
    shown = console()
    names = [HOSTILE, "\udcff\udcfe", "x" * 5000, "\x00"]
    spans = [
        shown.span(1, number, name=name.encode(errors="surrogateescape"), attributes={HOSTILE: name})
        for number, name in enumerate(names, 1)
    ]
    shown.send("spans", spans, HOSTILE, HOSTILE)
    shown.send("logs", [shown.line(name, trace=1, key=name) for name in names], HOSTILE, HOSTILE)
    trace = shown.get(f"/api/traces/{1:032x}")
    assert [span["name"] for span in trace["spans"]][:2] == [HOSTILE, "\ufffd\ufffd"]
    assert len(trace["spans"][2]["name"].encode()) == 1024
    assert trace["spans"][2]["name"].endswith("…")
    assert trace["lines"][0]["message"] == HOSTILE
    assert by_name(shown.get("/api/fleet"))[HOSTILE][0]["instance"] == HOSTILE
    shown.get("/api/timeline")


# ---- what is refused ----


def test_partial_success(console: Callable[..., Console]) -> None:
    """Spans without ids and resources without a name are refused, the others are taken."""
    shown = console()
    none = shown.otlp.Span(trace_id=b"short", span_id=b"short")
    reply = shown.send("spans", [shown.span(1, 1), none, none])
    assert reply[:4] == b"\x0a" + bytes([len(reply) - 2]) + b"\x08\x02"  # rejected: 2
    assert shown.send("spans", [shown.span(1, 2)]) == b""
    assert shown.get("/api/traces")["traces"][0]["spans"] == 2
    assert shown.get("/api/fleet")["received"]["dropped"] == 2
    unnamed = shown.otlp.ResourceItems(scopes=[shown.otlp.Scope(items=[b""])])
    assert shown.export("logs", shown.otlp.Data(resources=[unnamed]).SerializeToString()) != b""


@pytest.mark.parametrize("kind", SERVICES)
def test_what_is_no_message_is_refused(console: Callable[..., Console], kind: str) -> None:
    shown = console()
    for data in (b"\x0a\x01\x00", b"\x0a\x03\x0a\x05\x01", b"\xff"):
        with pytest.raises(grpc.RpcError) as refused:
            shown.export(kind, data)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def resident(service: Service) -> int:
    with open(f"/proc/{service.process.pid}/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


@pytest.mark.skipif(SANITIZED, reason="a sanitizer has memory of its own")
def test_memory_of_a_large_fleet(console: Callable[..., Console]) -> None:
    """100 replicas that send 100,000 spans: at most 30 MB, at any time."""
    shown = console()
    attributes = {"http.request.method": "GET", "http.route": "/v1/notes", "http.response.status_code": 200}
    for turn in range(2):
        for replica in range(100):
            first = (turn * 100 + replica) * 500
            spans = [
                shown.span(number << 64 | number * 0x9E3779B97F4A7C15 % (1 << 64), number, attributes=attributes | {"url.path": f"/v1/notes/{number}"})
                for number in range(first + 1, first + 501)
            ]  # fmt: skip
            shown.send("spans", spans, f"service-{replica % 10}", f"replica-{replica}")
    fleet = shown.get("/api/fleet")
    assert sum(map(len, by_name(fleet).values())) == 100
    assert fleet["received"]["memory_used"] <= fleet["received"]["memory_limit"]
    assert resident(shown.service) <= 30 * 1000 * 1000


@pytest.mark.skipif(SANITIZED, reason="a sanitizer has memory of its own")
def test_hostile_senders_are_bounded(console: Callable[..., Console]) -> None:
    """Services without end, values of 1 MB, and all of it errors, which are kept first."""
    shown = console(CONSOLE_MEMORY_BYTES="4Mi")
    failed = shown.otlp.Status(code=2)
    for turn in range(100):
        large = {f"key-{turn}-{i}": "x" * (1 << 20) for i in range(2)}
        small = {f"key-{turn}-{i}": os.urandom(700).hex() for i in range(40)}
        spans = [
            shown.span(turn << 64 | i + 1, i + 1, attributes=large if i == 0 else small, status=failed)
            for i in range(10)
        ]
        shown.send("spans", spans, f"service-{turn}-{'x' * 5000}", os.urandom(1000).hex())
    names = [
        shown.otlp.ResourceItems(resource=shown.otlp.Resource(attributes=shown.pairs({"service.name": f"name-{i}"})))
        for i in range(20000)
    ]
    shown.export("logs", shown.otlp.Data(resources=names).SerializeToString())
    fleet = shown.get("/api/fleet")
    assert len(fleet["services"]) <= 200
    assert fleet["received"]["memory_used"] <= 6 << 20
    assert resident(shown.service) <= 40 * 1000 * 1000


# ---- who may ----


def test_only_addresses_are_hosts(console: Callable[..., Console]) -> None:
    """A name that somebody else has given this address (DNS rebinding) reads nothing."""
    shown = console()
    paths = ("fleet", "events", "traces", f"traces/{1:032x}", "logs", "timeline", "stores", "interfaces", "interfaces/notes/openapi.json")  # fmt: skip
    port = shown.service.http_url.rpartition(":")[2]
    for path in paths:
        url = f"{shown.service.http_url}/api/{path}"
        assert httpx.get(url, headers={"host": f"evil.example:{port}"}).status_code == 403, path
    for host in (f"localhost:{port}", f"[::1]:{port}", "127.0.0.1"):
        assert httpx.get(f"{shown.service.http_url}/api/fleet", headers={"host": host}).status_code == 200, host


def post(console: Console, path: str, said: Json, **headers: str) -> httpx.Response:
    shown = {"x-console-token": TOKEN} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(console.service.http_url + path, json=said, headers=shown, timeout=START_S)


def test_in_a_cluster_it_only_shows(console: Callable[..., Console]) -> None:
    shown = console()
    for path in ("/api/try", "/api/traffic"):
        assert post(shown, path, {"service": "users", "path": "/"}).status_code == 404


def test_requests_from_the_page(local: Callable[..., Console], start: Callable[..., Service]) -> None:
    users = start("users")
    shown = local(users=users)
    asked = {"service": "users", "path": "/users/1234"}
    until(lambda: post(shown, "/api/try", asked).status_code == 200)
    answer = post(shown, "/api/try", asked, origin=shown.service.http_url).json()
    assert (answer["status"], json.loads(answer["body"])["user_id"]) == (200, "1234")
    assert answer["headers"]["content-type"] == "application/json"
    assert post(shown, "/api/try", asked | {"method": "POST", "body": "x"}).json()["status"] == 405
    assert shown.get("/api/fleet")["mode"] == "local"
    refused = [
        (403, asked, {"x_console_token": "another"}),
        (403, asked, {"origin": "http://evil.example"}),
        (403, asked, {"origin": "null"}),
        (403, asked, {"host": "evil.example"}),
        (422, asked | {"service": "notes"}, {}),
        (422, asked | {"path": "users"}, {}),
        (422, asked | {"method": "CONNECT"}, {}),
        (422, asked | {"headers": {"a": 1}}, {}),
        (400, asked | {"path": "/a b"}, {}),
        (400, asked | {"headers": {"host": "other"}}, {}),
    ]
    for status, said, headers in refused:
        assert post(shown, "/api/try", said, **headers).status_code == status, (said, headers)


def test_traffic(local: Callable[..., Console], start: Callable[..., Service]) -> None:
    users = start("users")
    shown = local(users=users)
    asked = {"service": "users", "path": "/users/1234", "requests_per_s": 100, "seconds": 1}
    until(lambda: post(shown, "/api/traffic", asked).status_code == 202)
    until(lambda: len(users.logs(message="GET /users/1234 200")) >= 95)
    for wrong in ({"requests_per_s": 201}, {"seconds": 61}, {"seconds": 0}, {"path": "/" + "x" * 2000}):
        assert post(shown, "/api/traffic", asked | wrong).status_code == 422, wrong


# ---- what services offer ----


def test_interfaces(console: Callable[..., Console]) -> None:
    shown = console()
    offered = {one["name"]: one for one in shown.get("/api/interfaces")["services"]}
    assert offered.keys() == DECLARED.keys() - {"console"}
    for name, one in offered.items():
        assert bool(one["grpc"]) == bool(DECLARED[name].grpc), name
        if one["openapi"]:
            document = httpx.get(shown.service.http_url + one["openapi"]).json()
            assert (document["openapi"][:2], "/openapi.json" in document["paths"]) == ("3.", True)


@pytest.mark.parametrize("name", [one.name for one in DECLARED.values() if one.grpc and one.name != "console"])
def test_interfaces_are_what_is_served(start_with_peers: Callable[..., Service], channel: Callable[[str], grpc.Channel], name: str) -> None:  # fmt: skip
    """As reflection tells."""
    service = start_with_peers(name)
    methods = channel(service.grpc_address).stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", lambda each: each, lambda each: each
    )
    (listed,) = methods(iter([b"\x3a\x00"]), timeout=START_S)  # list_services
    said = {str(one["service"]) for one in served(ROOT / "src" / name, rpc_services(ROOT))}
    assert all(each.encode() in listed for each in said)
    others = {str(one["service"]) for one in rpc_services(ROOT).values()} - said
    assert not [each for each in others if each.encode() in listed and not each.startswith("grpc.")]
