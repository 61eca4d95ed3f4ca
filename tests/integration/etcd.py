"""etcd -- one member of etcd for a test, or several, on free ports, in folders of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import harness
from system import ETCD_BOUNDS, Failure, answers_ready, find_etcd, held_port


def program() -> str:
    """Where CI is set there has to be one."""
    try:
        return find_etcd()
    except Failure as failure:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(failure))


def spawned(command: list[str]) -> subprocess.Popen[bytes]:
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=os.environ | ETCD_BOUNDS, **quiet)


@contextlib.contextmanager
def started(command: list[str], address: str) -> Iterator[None]:
    """An etcd that is ready, as it says at address."""
    process = spawned(command)
    try:
        harness.until(lambda: answers_ready(address) or process.poll() is not None, what="etcd does not start")
        assert process.poll() is None, "etcd does not start"
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def running(folder: Path, *flags: str, prefix: Sequence[str] = ()) -> Iterator[str]:
    """Its address. The data in folder stay; another one goes on from there. prefix: a command that becomes etcd."""
    client, peer = f"127.0.0.1:{held_port()}", f"http://127.0.0.1:{held_port()}"
    command = [
        *prefix,
        program(),
        *flags,
        "--name=test",
        f"--data-dir={folder}",
        "--log-level=error",
        f"--initial-cluster=test={peer}",
    ]
    command += ["--socket-reuse-port"]
    command += [f"--listen-client-urls=http://{client}", f"--advertise-client-urls=http://{client}"]
    command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    with started(command, client):
        yield client


class Members:
    """A cluster, and what an operator does to it. Members that are killed keep their data unless it is taken away."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.clients = [f"127.0.0.1:{held_port()}" for _ in range(count)]
        self.peers = [f"http://127.0.0.1:{held_port()}" for _ in range(count)]
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for n in range(count):
            self._start(n, "new")
        harness.until(lambda: all(map(answers_ready, self.clients)), what="etcd does not start")

    def _start(self, n: int, state: str) -> None:
        members = ",".join(f"m{i}={peer}" for i, peer in enumerate(self.peers))
        command = [program(), f"--name=m{n}", f"--data-dir={self.folder / str(n)}", "--log-level=error"]
        command += [
            "--socket-reuse-port",
            f"--listen-client-urls=http://{self.clients[n]}",
            f"--advertise-client-urls=http://{self.clients[n]}",
        ]
        command += [f"--listen-peer-urls={self.peers[n]}", f"--initial-advertise-peer-urls={self.peers[n]}"]
        command += [f"--initial-cluster={members}", f"--initial-cluster-state={state}"]
        self.processes[n] = spawned(command)

    def kill(self, n: int) -> None:
        process = self.processes.pop(n)
        process.kill()
        process.wait()

    def _etcdctl(self, n: int, *args: str) -> str:
        """Repeated while it is refused: a cluster takes no new member until five seconds after a change."""
        command = [Path(program()).with_name("etcdctl"), f"--endpoints={self.clients[n]}", *args]

        def done() -> subprocess.CompletedProcess[str] | None:
            result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=harness.START_S)
            if result.returncode and "unhealthy cluster" not in result.stderr:
                raise Failure(result.stderr)
            return None if result.returncode else result

        return harness.until(done, what=f"etcdctl {args[0]} {args[1]} is refused").stdout

    def _status(self, n: int) -> dict[str, Any]:
        return json.loads(self._etcdctl(n, "endpoint", "status", "-w=json"))[0]["Status"]

    def leader(self) -> int:
        status = {n: self._status(n) for n in self.processes}
        return next(n for n, one in status.items() if one["leader"] == one["header"]["member_id"])

    def leave_free(self) -> None:
        """Files with more that nothing uses than that something does: many revisions of one key, and then the last."""
        for _ in range(40):
            said = self._etcdctl(0, "put", "/other/key", "v" * 100_000, "-w=json")
        self._etcdctl(0, "compaction", "--physical", str(json.loads(said)["header"]["revision"]))
        # The command waits for one member. The others compact by themselves, and count a page as free after another write.
        for n in self.processes:

            def is_free(n: int = n) -> bool:
                self._etcdctl(n, "put", "/other/key", "v")
                status = self._status(n)
                return status["dbSizeInUse"] * 2 < status["dbSize"]

            harness.until(is_free, what=f"member {n} does not compact its file")

    def replace(self, n: int) -> None:
        """As the runbook says: a member whose disk is lost begins again with an empty one."""
        other = next(iter(self.processes))
        members = json.loads(self._etcdctl(other, "member", "list", "-w=json", "--hex=true"))["members"]
        gone = next(member["ID"] for member in members if member["name"] == f"m{n}")
        self._etcdctl(other, "member", "remove", str(gone))
        self._etcdctl(other, "member", "add", f"m{n}", f"--peer-urls={self.peers[n]}")
        self._start(n, "existing")
        harness.until(lambda: answers_ready(self.clients[n]), what="the new member does not start")

    def stop(self) -> None:
        for n in list(self.processes):
            self.kill(n)
