"""servers -- what the comparisons of bench peers share: building the peers, servers that run, programs that make load."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn, Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
RELEASE = ROOT / "build-release"
PEERS = ROOT / "build-peers"
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPUS, LOAD_CPUS = CPUS[:1], CPUS[-1:]
IDLE_CONNECTIONS = 2000
START_S = 30


def fail(text: str) -> NoReturn:
    sys.exit(f"bench peers: {text}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- the peers' programs ----


def build_rust(name: str) -> Path:
    if shutil.which("cargo") is None:
        fail(f"{name} is built by cargo, which is not installed: https://rustup.rs")
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--bin", name, "--target-dir", PEERS / "rust"]
    subprocess.run(command, cwd=HERE / "rust", check=True)
    return PEERS / "rust/release" / name


def build_go(folder: str) -> Path:
    """Static, as for an image that holds nothing else."""
    tools = [ROOT / "scripts/tools", "--go"]
    go = subprocess.run(tools, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    if not go:
        fail("the peers in Go need Go")
    program = PEERS / "go" / folder
    environment = os.environ | {"CGO_ENABLED": "0"}
    command = [go, "build", "-mod=readonly", "-trimpath", "-o", program, f"./{folder}"]
    subprocess.run(command, cwd=HERE / "go", env=environment, check=True)
    return program


def crate_version(name: str) -> str:
    lock = (HERE / "rust/Cargo.lock").read_text()
    return re.search(rf'name = "{name}"\nversion = "([^"]+)"', lock)[1]


def module_version(path: str) -> str:
    return re.search(rf"{re.escape(path)} v?(\S+)", (HERE / "go/go.mod").read_text())[1]


# ---- a server that runs ----


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def on_cpus(cpus: list[int]) -> list[str]:
    return ["taskset", "-c", ",".join(map(str, cpus))]


def environment(port_variable: str, port: int, threads: int) -> dict[str, str]:
    """What all servers take from it."""
    count = str(threads)
    return os.environ | {
        "BIND_ADDRESS": "127.0.0.1",
        port_variable: str(port),
        "METRICS_PORT": str(free_port()),
        "SHUTDOWN_DELAY_SECONDS": "0",
        "WORKERS": count,
        "THREADS": count,
        "GOMAXPROCS": count,
    }


class Server:
    """One server that runs, on the first CPUs, as many as it has threads."""

    def __init__(self, name: str, program: Path, port_variable: str, threads: int = 1,
                 cpus: list[int] | None = None, **options: str) -> None:  # fmt: skip
        self.name = name
        self.port = free_port()
        self.process = subprocess.Popen(
            [*on_cpus(cpus or CPUS[:threads]), program],
            env=environment(port_variable, self.port, threads) | options,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_S
        while not listens(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.end()
                fail(f"{name} does not start")
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def cpu_seconds(self) -> float:
        # The clock of another process's CPU time, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def resident_kib(self) -> int:
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def end(self) -> float:
        """Seconds from SIGTERM to the exit."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)  # nothing, where it has ended
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - begun


# ---- load ----


def run_load(program: str, *arguments: object) -> dict[str, Any]:
    """Of a program of this folder, which prints JSON."""
    command = [*on_cpus(LOAD_CPUS), RELEASE / "tests/bench" / program, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        fail(f"{program} {arguments}: status {done.returncode}: {done.stdout}")
    return json.loads(done.stdout)


def run_h2load(
    server: Server, path: str, connections: int, streams: int, seconds: int, *options: str
) -> tuple[float, float]:
    """Requests a second, and microseconds of the server's CPU time for each."""
    begun = server.cpu_seconds()
    command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", *options]
    done = subprocess.run(
        [*on_cpus(LOAD_CPUS), *command, f"http://127.0.0.1:{server.port}{path}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    count = int(re.search(r"(\d+) succeeded", done.stdout)[1])
    if count == 0 or not re.search(r"\b0 failed, 0 errored", done.stdout):
        fail(f"h2load with {server.name}: {done.stdout}")
    return count / seconds, (server.cpu_seconds() - begun) * 1e6 / count
