"""etcd -- one member of etcd for a test, on free ports, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from system import Failure, answers_ready, find_etcd


def program() -> str:
    """Where CI is set there has to be one."""
    try:
        return find_etcd()
    except Failure as failure:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(failure))


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its address. The data in folder stay; another one goes on from there."""
    client, peer = f"127.0.0.1:{harness.free_port()}", f"http://127.0.0.1:{harness.free_port()}"
    command = [program(), "--name=test", f"--data-dir={folder}", "--log-level=error", f"--initial-cluster=test={peer}"]
    command += [f"--listen-client-urls=http://{client}", f"--advertise-client-urls=http://{client}"]
    command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        harness.until(lambda: answers_ready(client) or process.poll() is not None, what="etcd does not start")
        assert process.poll() is None, "etcd does not start"
        yield client
    finally:
        process.kill()
        process.wait()
