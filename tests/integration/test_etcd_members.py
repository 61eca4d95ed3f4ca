"""Three members of etcd, of which some go: services go on, and nothing acknowledged is lost."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import etcd
import harness
from harness import Service


class Writer:
    """Writes notes one after the other, through one replica and the other, until it is stopped; an id is kept once its
    note is acknowledged."""

    def __init__(self, replicas: list[Service]) -> None:
        self.replicas = replicas
        self.acknowledged: list[str] = []
        self.longest_s = 0.0  # without an acknowledged write
        self.enough = threading.Event()
        self.thread = threading.Thread(target=self._write)
        self.thread.start()

    def _write(self) -> None:
        last = time.monotonic()
        for n in range(1_000_000):
            if self.enough.is_set():
                return
            try:
                url = f"{self.replicas[n % len(self.replicas)].http_url}/v1/notes"
                answer = httpx.post(url, json={"title": f"n{n}", "body": "", "tags": []}, timeout=10)
            except httpx.HTTPError:
                continue
            if answer.status_code == 201:
                self.acknowledged.append(answer.json()["id"])
                self.longest_s = max(self.longest_s, time.monotonic() - last)
                last = time.monotonic()

    def goes_on(self) -> None:
        """Two more are acknowledged: the second was begun after the call."""
        count = len(self.acknowledged)
        harness.until(lambda: len(self.acknowledged) >= count + 2, what="no write is acknowledged")

    def stop(self) -> None:
        self.enough.set()
        self.thread.join()


@pytest.fixture
def members(tmp_path: Path) -> Iterator[etcd.Members]:
    members = etcd.Members(tmp_path / "etcd", 3)
    yield members
    members.stop()


@pytest.fixture
def writer(members: etcd.Members, start) -> Iterator[Writer]:
    replicas = [start("notes", STORE_URL=f"etcd://{','.join(members.clients)}/notes") for _ in range(2)]
    writer = Writer(replicas)
    writer.goes_on()
    yield writer
    writer.stop()


def everything_is_there(writer: Writer) -> None:
    writer.stop()
    for replica in writer.replicas:
        with httpx.Client(base_url=replica.http_url) as client:
            lost = [note for note in writer.acknowledged if client.get(f"/v1/notes/{note}").status_code != 200]
        assert lost == []
    print(f"{len(writer.acknowledged)} writes; longest time without one: {writer.longest_s:.2f} s")


def test_the_leader_is_killed(members: etcd.Members, writer: Writer) -> None:
    members.kill(members.leader())
    writer.goes_on()
    everything_is_there(writer)


def test_a_lost_disk_is_replaced(members: etcd.Members, writer: Writer) -> None:
    lost = members.leader()
    members.kill(lost)
    shutil.rmtree(members.folder / str(lost))
    writer.goes_on()
    members.replace(lost)
    writer.goes_on()
    members.kill(next(n for n in members.processes if n != lost))  # now it is needed, with all its data
    writer.goes_on()
    everything_is_there(writer)


def defragment(*args: str) -> subprocess.CompletedProcess[str]:
    command = [harness.program("store-tool"), "defragment", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_defragmented_the_leader_last(members: etcd.Members, writer: Writer) -> None:
    members.leave_free()
    led = members.leader()
    done = defragment(f"etcd://{','.join(members.clients)}/any")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sorted(line.split(": ")[0] for line in lines) == sorted(members.clients)
    assert lines[-1].startswith(members.clients[led]), f"not the former leader: {done.stdout}"
    for line in lines:
        size, free, now = map(float, re.findall(r"([0-9.]+) MiB", line))
        assert now <= size - free / 2, line
    assert members.leader() != led
    writer.goes_on()
    everything_is_there(writer)


def test_members_with_little_free_are_left(members: etcd.Members) -> None:
    members.leave_free()
    url = f"etcd://{','.join(members.clients)}/any"
    led = members.leader()
    assert defragment(url, "0").stdout.count(" now\n") == 3
    before = members.leader()
    assert before != led
    done = defragment(url)
    assert done.returncode == 0 and done.stdout.count("; left as it is\n") == 3, done.stdout + done.stderr
    assert members.leader() == before


def test_nothing_is_defragmented_while_a_member_is_away(members: etcd.Members) -> None:
    members.leave_free()
    members.kill(2)
    done = defragment(f"etcd://{','.join(members.clients)}/any", "0")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"store-tool: etcd at {members.clients[2]}: "), done.stderr
