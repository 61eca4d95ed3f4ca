"""Standard clients work unchanged, with nothing but what they bring."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Routes
from harness import ROOT, SANITIZED, START_S, Service

KNOWN = {"latitude": 409146138, "longitude": -746188906}
KNOWN_NAME = "Berkshire Valley Management Area Trail, Jefferson, NJ, USA"
REQUESTS = 500 if SANITIZED else 5000


def run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=START_S * 3, check=False)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


@pytest.mark.parametrize(
    ("flags", "version"), [(["--http1.1"], "1.1"), (["--http2-prior-knowledge"], "2"), (["--http2"], "2")]
)
def test_curl(flags: list[str], version: str, start: Callable[..., Service]) -> None:
    demo = start("demo")
    out = run("curl", "-sS", *flags, "-w", "%{http_version} %{http_code}", demo.http_url + "/demo/hello")
    assert out == f"hello, world!\n{version} 200"


def test_curl_posts_with_an_upgrade_to_http2(start: Callable[..., Service]) -> None:
    notes = start("notes")
    note = json.dumps({"title": "Milk", "body": "2 l", "tags": ["shop"]})
    url = notes.http_url + "/v1/notes"
    out = run("curl", "-sS", "--http2", "-H", "Content-Type: application/json", "-d", note, "-w", "%{http_code}", url)
    assert out.endswith("201")
    assert json.loads(out[:-3])["title"] == "Milk"


def test_curl_sees_head_and_options(start: Callable[..., Service]) -> None:
    demo = start("demo")
    url = demo.http_url + "/demo/hello"
    head = run("curl", "-sS", "--head", url)
    assert head.startswith("HTTP/1.1 200 OK\n")
    assert re.search(r"(?i)^content-length: 14$", head, re.MULTILINE)
    allow = run("curl", "-sS", "-X", "OPTIONS", "-o", os.devnull, "-D", "-", url)
    assert re.search(r"(?i)^allow: GET, HEAD, OPTIONS$", allow, re.MULTILINE)


@pytest.mark.parametrize("flags", [["--h1", "-c8"], ["-c4", "-m16"]], ids=["http1", "h2c"])
def test_h2load(flags: list[str], start: Callable[..., Service]) -> None:
    demo = start("demo")
    out = run("h2load", *flags, f"-n{REQUESTS}", demo.http_url + "/demo/hello")
    assert f"{REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert f"{REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx" in out


def test_wrk(start: Callable[..., Service]) -> None:
    demo = start("demo")
    out = run("wrk", "-t1", "-c8", "-d1", demo.http_url + "/demo/hello")
    assert int(re.findall(r"(\d+) requests in", out)[0]) > 0
    assert "Non-2xx" not in out
    assert "Socket errors" not in out


@pytest.fixture
def grpcurl(tool: Callable[[str], str]) -> Callable[..., str]:
    def call(*arguments: str) -> str:
        return run(tool("grpcurl"), "-plaintext", "-max-time", str(START_S), *arguments)

    return call


def test_grpcurl_lists_and_describes_by_reflection(routes: Routes, grpcurl: Callable[..., str]) -> None:
    both = {"grpc.health.v1.Health", "routeguide.RouteGuide"}
    assert both <= set(grpcurl(routes.guide.grpc_address, "list").split())
    assert both | {"routeguide.FeatureHistory"} <= set(grpcurl(routes.store.grpc_address, "list").split())
    methods = grpcurl(routes.guide.grpc_address, "list", "routeguide.RouteGuide").split()
    names = ["GetFeature", "ListFeatures", "RecordRoute", "RouteChat", "SaveFeature"]
    assert methods == [f"routeguide.RouteGuide.{name}" for name in names]
    for symbol, expected in {
        "routeguide.Point": "int32 latitude = 1;",
        "routeguide.RouteGuide": "rpc RouteChat ( stream .routeguide.RouteNote ) returns ( stream .routeguide.RouteNote );",
        "routeguide.RouteGuide.SaveFeature": "rpc SaveFeature ( .routeguide.Feature ) returns ( .routeguide.SavedResult );",
        "grpc.health.v1.HealthCheckResponse": "ServingStatus status = 1;",
    }.items():
        assert expected in grpcurl(routes.guide.grpc_address, "describe", symbol)


def test_grpcurl_calls_every_kind(routes: Routes, grpcurl: Callable[..., str]) -> None:
    def call(method: str, *messages: object, address: str = routes.guide.grpc_address) -> list[dict[str, object]]:
        data = "\n".join(json.dumps(message) for message in messages)
        return list(stream(grpcurl("-d", data, address, f"routeguide.{method}")))

    assert call("RouteGuide/GetFeature", KNOWN) == [{"name": KNOWN_NAME, "location": KNOWN}]
    saved = call("RouteGuide/GetFeature", KNOWN, address=routes.store.grpc_address)
    assert saved == [{"name": KNOWN_NAME, "location": KNOWN}]
    history = call("FeatureHistory/ListSaves", {"location": KNOWN}, address=routes.store.grpc_address)
    assert [save["name"] for save in history[0]["saves"]] == [KNOWN_NAME]  # type: ignore[attr-defined]
    area = {"lo": KNOWN, "hi": KNOWN}
    assert call("RouteGuide/ListFeatures", area) == [{"name": KNOWN_NAME, "location": KNOWN}]
    route = call("RouteGuide/RecordRoute", KNOWN, {"latitude": 409146138, "longitude": -746188906})
    assert (route[0]["pointCount"], route[0]["featureCount"]) == (2, 2)
    notes = [{"location": {"latitude": 1, "longitude": 2}, "message": text} for text in ("first", "second")]
    assert [note["message"] for note in call("RouteGuide/RouteChat", *notes)] == ["first", "first", "second"]
    health = grpcurl(routes.guide.grpc_address, "grpc.health.v1.Health/Check")
    assert json.loads(health) == {"status": "SERVING"}


def stream(text: str) -> list[dict[str, object]]:
    decoder, at, values = json.JSONDecoder(), 0, []
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        value, at = decoder.raw_decode(text, at)
        values.append(value)
    return values


def test_grpcurl_uses_the_proto_without_reflection(routes: Routes, grpcurl: Callable[..., str]) -> None:
    proto = ["-import-path", str(ROOT / "proto"), "-proto", "routeguide.proto", "-d", json.dumps(KNOWN)]
    assert KNOWN_NAME in grpcurl(*proto, routes.guide.grpc_address, "routeguide.RouteGuide/GetFeature")


@pytest.mark.parametrize("method", ["GetFeature", "SaveFeature"])
def test_ghz(method: str, routes: Routes, tool: Callable[[str], str], tmp_path: Path) -> None:
    address = routes.guide.grpc_address if method == "GetFeature" else routes.store.grpc_address
    data = KNOWN if method == "GetFeature" else {"name": KNOWN_NAME, "location": KNOWN}
    out = run(
        tool("ghz"), "--insecure", "--call", f"routeguide.RouteGuide.{method}", "-d", json.dumps(data),
        "-c", "16", "-n", str(REQUESTS), "--timeout", f"{START_S}s", "-O", "json", address,
    )  # fmt: skip
    report = json.loads(out)
    assert report["statusCodeDistribution"] == {"OK": REQUESTS}
