"""AUTH_TOKENS_FILE: who may call a service, and how often."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx

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


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(line("one", "x", 1) + "two not-a-hash 1\n")
    done = harness.run("notes", folder=tmp_path, AUTH_TOKENS_FILE=tokens)
    assert done.returncode == 1
    assert "AUTH_TOKENS_FILE" in done.stderr and "line 2" in done.stderr
