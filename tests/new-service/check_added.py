"""Stands beside the checks of tests/e2e in a copy of the tree to which services were added (tests/new-service/cluster)."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from check_backup import job, template
from cluster import command, wait
from services import Declaration, services
from suite import E2E, check, expect
from system import EVERY

ADDED = [one for one in services(EVERY) if one.name.startswith("all-")]
STORED = [one for one in ADDED if one.store]
TEXT, BASE64 = "green", "Z3JlZW4="


@contextlib.contextmanager
def reached(e2e: E2E, one: Declaration) -> Iterator[str]:
    """HOST:PORT of a public service from outside; of another, of one of its pods, for no policy forbids that to the kubelet."""
    if one.public:
        yield e2e.system.outside(one.name)
        return
    with e2e.cluster.forward(e2e.cluster.serving(one.name)[0].name, one.ports[one.called_port]) as at:
        yield at


def http(method: str, url: str, body: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, body and body.encode(), method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def rpc(at: str, one: Declaration, method: str, message: dict[str, str]) -> dict[str, str]:
    service = one.example.rpc.split("/")[0]
    said = command(
        "grpcurl", "-plaintext", "-max-time", "10", "-d", json.dumps(message), at, f"{service}/{method}"
    ).stdout
    return dict(json.loads(said))


def begins(at: str, one: Declaration) -> None:
    """It answers, keeps a text, and is answered by whom it calls."""
    if one.grpc:
        expect(rpc(at, one, "Say", {"word": "tea"}) == {"word": "tea"}, f"{one.name} does not answer")
        if one.store:
            rpc(at, one, "Put", {"word": "tea", "text": BASE64})
        for callee in one.calls:
            expect(rpc(at, one, "Ask", {}) == {"health": 1}, f"{one.name}: {callee} does not answer it")
        return
    base = f"http://{at}/{one.name}"
    if one.store:
        expect(http("PUT", f"{base}/tea", TEXT)[0] == 204, f"{one.name} does not keep")
    else:
        expect(http("GET", f"{base}/tea") == (200, "tea"), f"{one.name} does not answer")
    for callee in one.calls:
        said = http("GET", f"{base}/calls/{callee}")
        expect(said[0] == 200, f"{one.name}: {callee} does not answer it: {said}")


def kept(at: str, one: Declaration) -> bool:
    if one.grpc:
        return rpc(at, one, "Get", {"word": "tea"}).get("text") == BASE64
    return http("GET", f"http://{at}/{one.name}/tea") == (200, TEXT)


def check_of_backups(e2e: E2E) -> dict[str, Any]:
    """The job that reads a backup, without what it does for a bucket, which this cluster lacks: check_backup.py tries that."""
    found = template(e2e, "etcd-backup")
    pod = found["spec"]["template"]["spec"]
    pod["initContainers"] = [each for each in pod["initContainers"] if each["name"] not in ("encrypt", "upload")]
    return found


@check(
    "each added service answers, is answered by whom it calls, and keeps its data over new pods; backups read its records"
)
def added(e2e: E2E) -> str:
    expect(len(ADDED) >= 16, f"only {len(ADDED)} were added")
    for one in ADDED:
        with reached(e2e, one) as at:
            begins(at, one)
    before = {pod.uid for pod in e2e.cluster.pods()}
    e2e.system.restart(*(f"deployment/{one.name}" for one in STORED))
    old = {one.name for one in STORED for pod in e2e.cluster.serving(one.name) if pod.uid in before}
    expect(not old, f"the same pods: {old}")
    for one in STORED:
        with reached(e2e, one) as at:
            expect(wait(f"{one.name} has its text", lambda at=at, one=one: kept(at, one), 30), one.name)
    job(e2e, "backup-check", check_of_backups(e2e))
    for one in STORED:
        said = e2e.cluster.kubectl("logs", "job/backup-check", "-c", one.name)
        expect(re.search(r"\bwords 1\b", said), f"{one.name}: the backup's check says {said}")
    return f"{len(ADDED)} services, {len(STORED)} of them with data"
