"""harness -- runs the real programs of a build folder as a test's own processes.

    def test_hello(start):                                   # a fixture of conftest.py
        demo = start("demo", SERVICE_NAME="shop")            # on free ports, in a folder of its own; ready on return
        assert httpx.get(demo.http_url + "/demo/hello").text == "hello, world!\n"
        line = demo.wait_log(message="GET /demo/hello 200")  # a line already there, or one to come
        assert line["httpRequest"]["protocol"] == "HTTP/1.1"

Service.http_url, .grpc_address and .admin_url are what the program said it listens on. logs() are its lines so far.
stop() sends SIGTERM and checks the exit status; a test that does not call it leaves it to the fixture, which does,
so that every service in every test has to drain cleanly. kill() is SIGKILL. restart() starts the same service again
on the same data. Every wait has a deadline and none of them sleeps for ordering.

The build folder is $SLIPWAY_BUILD, else build/. Where ASAN_OPTIONS or TSAN_OPTIONS is set, reports go to files beside
the service's log, and a service that left one has failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SLIPWAY_BUILD") or ROOT / "build").resolve()
SANITIZED = any(name in os.environ for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"))
# Bounds for waits, not expectations: a test that reaches one has failed.
START_S = 60.0 if SANITIZED else 20.0
STOP_S = 90.0 if SANITIZED else 45.0

Line = dict[str, Any]
T = TypeVar("T")


def program(name: str, build: Path = BUILD) -> Path:
    """The path of a built program."""
    path = build / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not built (just build, or SLIPWAY_BUILD=FOLDER)")
    return path


def environment(folder: Path, settings: dict[str, object]) -> dict[str, str]:
    """What a service is started with: nothing of the caller's but what the sanitizers and loader need, and settings."""
    kept = ("PATH", "HOME", "LD_LIBRARY_PATH", "GCOV_PREFIX", "GCOV_PREFIX_STRIP", "UBSAN_OPTIONS", "LSAN_OPTIONS")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"):
        if name in os.environ:
            env[name] = f"{os.environ[name]}:log_path={folder / 'sanitizer'}"
    defaults: dict[str, object] = {
        "BIND_ADDRESS": "127.0.0.1",
        "PORT": 0,
        "GRPC_PORT": 0,
        "METRICS_PORT": 0,
        "SHUTDOWN_DELAY_SECONDS": 0,
        "STORE_URL": f"lmdb://{folder / 'data'}",
        "FEATURES_FILE": ROOT / "share/route-guide/features.json",
    }
    return env | {name: str(value) for name, value in (defaults | settings).items() if value is not None}


def run(
    name: str, *args: str, folder: Path, timeout: float = START_S, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end: for -n, --help, wrong options and route-client."""
    folder.mkdir(parents=True, exist_ok=True)
    result = subprocess.run(
        [program(name), *args],
        env=environment(folder, settings),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert not sanitizer_reports(folder)
    return result


def sanitizer_reports(folder: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("sanitizer.*")))


def free_port() -> int:
    """A port that was free a moment ago, for the few tests that cannot let a service pick one."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], T], timeout: float = START_S, what: str = "") -> T:
    """The condition's first true result: for what cannot announce itself."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what or f"{condition} did not come true in {timeout} s")
        time.sleep(0.005)
    return result


class Service:
    """One process of a service. Made by the fixture `start`, or as a context manager."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *args: str,
        wait: bool = True,
        build: Path = BUILD,
        prefix: Sequence[str] = (),
        stderr_fd: int | None = None,
        **settings: object,
    ) -> None:
        self.name, self.folder, self.args, self.settings = name, folder, args, settings
        self.prefix = prefix  # a command that becomes the program
        self.stderr_fd = stderr_fd  # in place of the file that stderr() reads
        self.program = program(name, build)
        self.exit_status: int | None = 0  # what stop() expects; None: anything
        self._changed = threading.Condition()
        self._reading = threading.Lock()
        self._spawn()
        if wait:
            self.wait_ready()

    def __repr__(self) -> str:
        return f"<{self.name} pid {self.process.pid}>"

    # ---- life ----

    def _spawn(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lines: list[Line] = []
        self._garbage: list[str] = []
        self._ended = False
        with open(self.folder / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [*self.prefix, self.program, *self.args],
                env=environment(self.folder, self.settings),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr if self.stderr_fd is None else self.stderr_fd,
            )
        self._reader = threading.Thread(target=self._read, name=f"{self.name}-log", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with open(self.folder / "stdout", "ab") as copy:
            for raw in self.process.stdout:
                with self._reading:
                    copy.write(raw)
                try:
                    line = json.loads(raw)
                except ValueError:
                    line = None
                with self._changed:
                    if isinstance(line, dict):
                        self._lines.append(line)
                    else:
                        self._garbage.append(raw.decode(errors="replace"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_ready(self, timeout: float = START_S) -> Service:
        try:
            self.wait_log(timeout, message="ready")
        except AssertionError:
            self.kill()
            raise
        return self

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP until the end. It takes effect thread by thread: one that still ran could answer, so it waits for all."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            assert (
                os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT).si_code == os.CLD_STOPPED
            )
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def unread(self) -> Iterator[None]:
        """Nobody reads its standard output until the end: the pipe fills."""
        with self._reading:
            yield

    def kill(self) -> None:
        """SIGKILL, and the process is gone on return. Also what ends a service that a test expects to be killed."""
        self.exit_status = None
        self.process.kill()
        self.process.wait(STOP_S)
        self._reader.join(STOP_S)

    def wait(self, timeout: float = STOP_S) -> int:
        """The exit status (negative: the signal), with all its lines read."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} did not end in {timeout} s{self.story()}") from None
        self._reader.join(STOP_S)
        return status

    def stop(self, timeout: float = STOP_S) -> None:
        """SIGTERM where it still runs; then everything that must be true of a service that has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.wait(timeout)
        finally:
            self.process.kill()
        reports = sanitizer_reports(self.folder)
        assert not reports, f"{self}: {reports}"
        assert self.exit_status in (None, status), f"{self} ended with {status}{self.story()}"
        assert not self._garbage, f"{self} printed what is not a JSON line: {self._garbage[:3]}"

    def restart(self, **settings: object) -> Service:
        """The same service again, after it has ended, with the same data; settings given here replace earlier ones."""
        assert self.process.poll() is not None, f"{self} is still running"
        self.settings |= settings
        self.exit_status = 0
        self._spawn()
        return self.wait_ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # ---- what it said ----

    def logs(self, test: Callable[[Line], bool] | None = None, **members: object) -> list[Line]:
        """The lines so far whose members have these values and for which test is true."""
        with self._changed:
            return [line for line in self._lines if _matches(line, test, members)]

    def wait_log(self, timeout: float = START_S, test: Callable[[Line], bool] | None = None, **members: object) -> Line:
        """The first such line, waiting for it."""
        found: list[Line] = []
        seen = 0

        def look() -> bool:
            nonlocal seen
            found.extend(line for line in self._lines[seen:] if _matches(line, test, members))
            seen = len(self._lines)
            return bool(found) or self._ended

        with self._changed:
            self._changed.wait_for(look, timeout)
        if not found:
            raise AssertionError(f"{self} did not log {members or test}{self.story()}")
        return found[0]

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    def story(self) -> str:
        """Its last words, for a failure's message."""
        last = "\n".join(json.dumps(line) for line in self.logs()[-15:])
        return f"\nlog:\n{last}\nstderr:\n{self.stderr()}{sanitizer_reports(self.folder)}"

    # ---- where it is ----

    def _port(self, protocol: str) -> int:
        return int(self.wait_log(message="listening", protocol=protocol)["port"])

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self._port('http')}"

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self._port('grpc')}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self._port('admin')}"

    @property
    def data(self) -> Path:
        return self.folder / "data"


def _matches(line: Line, test: Callable[[Line], bool] | None, members: dict[str, object]) -> bool:
    return all(line.get(name) == value for name, value in members.items()) and (test is None or test(line))


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Callable[..., Service]]:
    """A factory of services that are all stopped at the end, the last one first, and each of them checked."""
    running: list[Service] = []

    def start(name: str, *args: str, **settings: object) -> Service:
        place = folder / f"{name}-{len(running)}"
        running.append(service := Service(name, place, *args, **settings))  # type: ignore[arg-type]
        return service

    failures: list[str] = []
    try:
        yield start
    finally:
        for service in reversed(running):
            try:
                service.stop()
            except AssertionError as error:
                failures.append(str(error))
    assert not failures, "\n".join(failures)
