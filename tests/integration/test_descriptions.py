"""The descriptions of HTTP APIs: served to everybody, and about the routes that are there. tests/api/run lints them and holds
the answers of services against them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from described import DESCRIBED, described_api
from harness import ROOT, Service

METHODS = {"get", "put", "post", "patch", "delete"}
ROUTE = re.compile(r'\{(?:\.method = )?"([A-Z]+)", (?:\.path = )?"(/[^"]*)"')


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and what is said of it."""
    for path, item in description["paths"].items():
        for method in METHODS & item.keys():
            yield method.upper(), path, item[method]


def some(path: str) -> str:
    """A path that the template matches."""
    return re.sub(r"\{\w+\}", "x", path)


def test_the_services_of_this_repository_have_one() -> None:
    assert {"countries", "demo", "notes", "users"} <= set(DESCRIBED)


@pytest.mark.parametrize("name", DESCRIBED)
def test_it_needs_no_token(
    start_with_peers: Callable[..., Service], http: httpx.Client, tmp_path: Path, name: str
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"slow {hashlib.sha256(b'a-token').hexdigest()} 1\n")
    url = start_with_peers(name, AUTH_TOKENS_FILE=tokens).http_url
    reply = http.get(f"{url}/openapi.json")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == described_api(name)
    for method, path, operation in operations(reply.json()):
        if operation.get("security") == []:
            continue
        refused = http.request(method, url + some(path))
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), path
        assert refused.headers["content-type"] == "application/problem+json"
        answers = [
            http.request(method, url + some(path), headers={"authorization": "Bearer a-token"}) for _ in range(3)
        ]
        limited = [answer for answer in answers if answer.status_code == 429]
        assert limited and int(limited[0].headers["retry-after"]) >= 1, path
        assert {"401", "429"} <= operation["responses"].keys()


@pytest.mark.parametrize("name", DESCRIBED)
def test_it_describes_the_routes_that_are_there(
    start_with_peers: Callable[..., Service], http: httpx.Client, name: str
) -> None:
    described = {(method, path) for method, path, _ in operations(described_api(name))}
    routes = set(ROUTE.findall((ROOT / "src" / name / "main.c").read_text())) | {("GET", "/openapi.json")}
    assert described == routes
    url = start_with_peers(name).http_url
    for path in {path for _, path in described}:
        allowed = set(http.options(url + some(path)).headers["allow"].split(", ")) - {"HEAD", "OPTIONS"}
        assert allowed == {method for method, each in described if each == path}


@pytest.mark.parametrize("name", DESCRIBED)
def test_what_it_refers_to_is_there(name: str) -> None:
    description = described_api(name)

    def resolve(value: Any) -> None:
        if isinstance(value, dict) and "$ref" in value:
            part = description
            for step in value["$ref"].removeprefix("#/").split("/"):
                part = part[step]
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            resolve(part)

    resolve(description)
