"""AUTH_TOKENS_FILE: who may call a service, and how often."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc
import httpx
import pytest

import harness
from harness import Service


def line(name: str, token: str, rate: int) -> str:
    return f"{name} {hashlib.sha256(token.encode()).hexdigest()} {rate}\n"


def test_notes_lets_in_who_has_a_token(start: Callable[..., Service], http: httpx.Client, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# who\n" + line("writer", "a-token", 1000) + line("slow", "another", 1))
    notes = start("notes", AUTH_TOKENS_FILE=tokens)
    url, writer = f"{notes.http_url}/v1/notes", {"authorization": "Bearer a-token"}

    refused = http.post(url, json={"title": "x"})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"
    assert http.post(url, json={"title": "x"}, headers={"authorization": "Bearer a-tokem"}).status_code == 401
    assert http.get(url).status_code == 401

    made = http.post(url, json={"title": "x"}, headers=writer)
    assert made.status_code == 201
    assert http.get(notes.http_url + made.headers["location"], headers=writer).json()["title"] == "x"
    assert len(http.get(url, headers=writer).json()["notes"]) == 1, "what was refused left nothing behind"

    slow = [http.get(url, headers={"authorization": "Bearer another"}) for _ in range(3)]
    limited = [answer for answer in slow if answer.status_code == 429]
    assert limited, [answer.status_code for answer in slow]
    assert limited[0].headers["retry-after"] == "1"
    assert http.get(url, headers=writer).status_code == 200, "one client's limit is not another's"

    assert http.get(f"{notes.admin_url}/readyz").status_code == 200, "probes need no token"
    assert not notes.logs(lambda entry: "a-token" in str(entry)), "tokens do not get into the log"


def test_grpc_asks_for_the_same_tokens(
    start: Callable[..., Service], channel: Callable[[str], grpc.Channel], stubs: SimpleNamespace, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(line("reader", "a-token", 1000) + line("slow", "another", 1))
    store = start("feature-store", AUTH_TOKENS_FILE=tokens)
    line_to_store = channel(store.grpc_address)
    history = stubs.routeguide_grpc.FeatureHistoryStub(line_to_store)

    def list_saves(token: str | None) -> object:
        metadata = [("authorization", f"Bearer {token}")] if token else []
        request = stubs.routeguide.ListSavesRequest(location=stubs.routeguide.Point(latitude=1))
        return history.ListSaves(request, metadata=metadata, timeout=harness.START_S)

    for wrong in (None, "a-tokem"):
        with pytest.raises(grpc.RpcError) as refused:
            list_saves(wrong)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert list(list_saves("a-token").saves) == []
    with pytest.raises(grpc.RpcError) as limited:
        for _ in range(3):
            list_saves("another")
    assert limited.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    health = stubs.health_grpc.HealthStub(line_to_store)
    health.Check(stubs.health.HealthCheckRequest(), timeout=harness.START_S)  # probes need no token
    assert not store.logs(lambda entry: "a-token" in str(entry)), "tokens do not get into the log"


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(line("one", "x", 1) + "two not-a-hash 1\n")
    done = harness.run("notes", folder=tmp_path, AUTH_TOKENS_FILE=tokens)
    assert done.returncode == 1
    assert "AUTH_TOKENS_FILE" in done.stderr and "line 2" in done.stderr
