"""The memory of an etcd that holds notes of the greatest size, in a cgroup with the limit of its manifest and with the
manifest's bounds: while 32 clients rewrite the notes, while fresh replicas copy them, and when it starts again.

Clients write for SLIPWAY_ETCD_MEMORY_S seconds (20). What they write may come to etcd's quota sooner than etcd compacts its
history: puts are refused then (507), which is counted and is no mistake."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

import cgroup
import etcd
from harness import BUILD, Service

pytestmark = [pytest.mark.limited, pytest.mark.timeout(3600)]

WRITE_S = float(os.environ.get("SLIPWAY_ETCD_MEMORY_S", "20"))
CLIENTS = 32
NOTES = 64  # of each client
BODY = "x" * 65_000
PATIENCE_S = 300  # a bound, not an expectation
MIB = 2**20

MEMBER = ("etcd", "k8s/components/store-etcd")


class Memory:
    """What the processes of a group have of memory that the kernel cannot take back, sampled."""

    def __init__(self, group: cgroup.Group) -> None:
        self.group = group
        self.peak = 0
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.enough.set()
        self.thread.join()

    def _sample(self) -> None:
        while not self.enough.wait(0.02):
            pids = (self.group.folder / "cgroup.procs").read_text().split()
            self.peak = max(self.peak, sum(self._anonymous(pid) for pid in pids))

    @staticmethod
    def _anonymous(pid: str) -> int:
        try:
            found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc", pid, "status").read_text(), re.MULTILINE)
        except (FileNotFoundError, ProcessLookupError):
            return 0
        return int(found[1]) << 10 if found else 0


class Writer(threading.Thread):
    """Creates notes, then rewrites one after the other."""

    def __init__(self, service: Service, until: float) -> None:
        super().__init__()
        self.address = service.http_url.removeprefix("http://")
        self.until = until
        self.ids: list[str] = []
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_S)
        for n in itertools.count():
            if time.monotonic() > self.until:
                break
            status = self._write(connection, n)
            self.statuses[status] += 1
            if status not in (200, 201):
                time.sleep(0.1)  # as a client would before it repeats the request
        connection.close()

    def _write(self, connection: http.client.HTTPConnection, n: int) -> int:
        method, path = "POST", "/v1/notes"
        if len(self.ids) == NOTES:
            method, path = "PUT", f"/v1/notes/{self.ids[n % NOTES]}"
        body = json.dumps({"title": f"note {n}", "body": BODY, "tags": []})
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 201:
            self.ids.append(json.loads(text)["id"])
        return answer.status


@pytest.fixture
def group() -> Iterator[cgroup.Group]:
    group = cgroup.make_or_skip(cgroup.limit_of(*MEMBER))
    yield group
    group.remove()


@pytest.fixture
def folder() -> Iterator[Path]:
    """On a disk: the files of a tmpfs, which /tmp may be, would count as etcd's memory."""
    with tempfile.TemporaryDirectory(dir=BUILD) as name:
        yield Path(name)


def bounded(group: cgroup.Group, memory: Memory, what: str) -> None:
    print(f"etcd: {what}: at most {memory.peak / MIB:.0f} of {group.limit / MIB:.0f} MiB")
    assert group.oom_kills == 0
    assert 0 < memory.peak < group.limit  # 0: nothing was sampled


def test_rewriting_the_largest_notes(folder: Path, group: cgroup.Group, start: Callable[..., Service]) -> None:
    # The others are in the environment of every etcd of the tests: tests/manifests/run compares them.
    flags = [flag for flag in cgroup.container(*MEMBER)["args"] if re.match("--(auto-compaction|quota)-", flag)]
    assert len(flags) == 3
    with Memory(group) as memory, etcd.running(folder / "etcd", *flags, prefix=group.prefix) as address:
        url = f"etcd://{address}/notes"
        notes = start("notes", build=cgroup.RELEASE, STORE_URL=url)
        writers = [Writer(notes, time.monotonic() + WRITE_S) for _ in range(CLIENTS)]
        for writer in writers:
            writer.start()
        copies = 0
        while any(writer.is_alive() for writer in writers):
            fresh = start("notes", wait=False, build=cgroup.RELEASE, STORE_URL=url)
            fresh.wait_ready(PATIENCE_S).stop()  # it has a copy of all notes when it is ready
            copies += 1
        statuses = sum((writer.statuses for writer in writers), Counter())
        bounded(group, memory, f"{dict(statuses)} writes of 65 KB in {WRITE_S:.0f} s, {copies} copies of the notes")
    with Memory(group) as memory, etcd.running(folder / "etcd", *flags, prefix=group.prefix, within=PATIENCE_S):
        bounded(group, memory, "the same, started again")
    assert statuses[200] + statuses[201] > 0
    assert set(statuses) <= {200, 201, 503, 504, 507}, statuses
