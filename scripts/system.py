"""system -- all services of this repository as processes on 127.0.0.1: what scripts/up and scripts/tour share.

A System starts every service that is declared to run here (local), those that others depend on first, and stops them in
the reverse order. With replicas, those that keep data run several times, over an etcd that it starts for them. restart()
replaces some while the others run. It is one thread: step() waits for something to happen and handles it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from services import ROOT, Declaration, Invalid, load


@dataclass(frozen=True)
class Place:
    """What up knows of a service beforehand. Port 0 is a free one."""

    port: int = 0  # of gRPC where that is its only protocol
    admin: int = 0
    peers: dict[str, str] = field(default_factory=dict)  # environment variable -> service whose address goes there
    grpc: int = 0  # where it has HTTP, too


class Failure(Exception):
    """Why the system cannot run: one line for people."""


def _declared() -> dict[str, Declaration]:
    try:
        return load()
    except Invalid as error:
        sys.exit(str(error))


EVERY = _declared()
_ORDER = {one.name: (one.local.admin or 65536, one.name) for one in EVERY.values() if one.local}
# What runs here, by its port of the admin listener; those without one come last.
DECLARED = {name: EVERY[name] for name in sorted(_ORDER, key=_ORDER.__getitem__)}
PLACES = {
    one.name: Place(
        one.local.port,
        one.local.admin,
        {DECLARED[peer].address_variable: peer for peer in one.calls},
        one.local.grpc,
    )
    for one in DECLARED.values()
    if one.local
} | {"etcd": Place(2379)}
STORED = tuple(one.name for one in DECLARED.values() if one.store)  # services that keep data in STORE_URL
CONSOLE = "console"  # where all others send their telemetry
# How often they do: people look on.
TELEMETRY = {
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_BLRP_SCHEDULE_DELAY": "200",
}


def service_names() -> list[str]:
    """All services that run here."""
    return list(DECLARED)


def build_services(build: Path) -> None:
    """Configures and builds what is out of date; progress and errors go to standard error."""
    for command in (["scripts/configure", str(build)], ["scripts/build", str(build), *EVERY]):
        if subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode:
            raise Failure("the build failed")


def instance_names(names: list[str], replicas: int) -> list[str]:
    """What runs: of a service that keeps data NAME, NAME-2, ...; replicas is 0 where each has a store of its own."""
    if not replicas:
        return names
    more = {name: [f"{name}-{number}" for number in range(2, replicas + 1)] for name in STORED}
    return ["etcd", *(each for name in names for each in (name, *more.get(name, [])))]


class Service:
    """One service's process, and what it has said of itself."""

    def __init__(self, name: str) -> None:
        base, _, number = name.rpartition("-")
        self.name = name
        self.program = base if number.isdigit() else name  # the same for all replicas
        known = PLACES.get(self.program, Place())
        self.place = known if self.program == name else Place(peers=known.peers)
        self.process: subprocess.Popen[bytes] | None = None
        self.addresses: dict[str, str] = {}  # protocol -> host:port
        self.started = False  # has logged that it is ready
        self.ready = False  # and its /readyz agrees
        self.told = False  # to stop
        self.edited = False  # has been started again after an edit
        self.failed = False  # then ended by itself: what it needs is another edit
        self.tail: deque[str] = deque(maxlen=20)

    @property
    def address(self) -> str:
        """Where it serves, for those that depend on it."""
        return self.addresses.get("grpc") or self.addresses["http"]

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def again(self) -> None:
        """To be started once more, at the addresses it has, which others know."""
        ports = {protocol: int(address.rpartition(":")[2]) for protocol, address in self.addresses.items()}
        port = ports.get("http") or ports.get("grpc") or self.place.port
        self.place = Place(port, ports.get("admin", self.place.admin), self.place.peers, ports.get("grpc", 0))
        self.process = None
        self.started = self.ready = self.told = self.failed = False
        self.edited = True
        self.tail.clear()


def _die_with_parent() -> None:
    """In the child: be drained also when this program is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class System:
    def __init__(self, build: Path, data: Path, on_line: Callable[[str, bytes], None], replicas: int = 0) -> None:
        self.build, self.data, self.on_line = build, data, on_line
        self.services = {name: Service(name) for name in instance_names(service_names(), replicas)}
        self.signals = 0  # SIGINT, SIGTERM and SIGHUP so far
        self.ended: Service | None = None  # the first that ended without being told to
        self.on_end: Callable[[Service], None] = lambda service: None  # one that an edit has broken
        self.on_ready: Callable[[Service], None] = lambda service: None
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._partial: dict[IO[bytes], bytes] = {}
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._selector.register(reader, selectors.EVENT_READ)

    def _on_signal(self, number: int, frame: object) -> None:
        self.signals += 1

    # ---- starting ----

    def place(self, given: dict[str, dict[str, int]], auto: bool) -> None:
        """Decides the ports: those given by kind (port, grpc, admin) and name, else all free ones, else the defaults.
        Refuses what is taken."""
        for service in self.services.values():
            known = Place() if auto else service.place
            port, admin, grpc = (
                given[kind].get(service.name, getattr(known, kind)) for kind in ("port", "admin", "grpc")
            )
            service.place = Place(port, admin, service.place.peers, grpc)
            for number in filter(None, (port, admin, grpc)):
                _refuse_if_taken(number, service.name)

    def start(self, timeout: float = 60) -> None:
        """Starts all that do not run, and returns when all are ready or have failed, or one has ended, or a signal has come;
        Failure after timeout."""
        deadline = time.monotonic() + timeout
        while not all(service.ready or service.failed for service in self.services.values()):
            for service in self.services.values():
                needs = self._needs(service)
                if service.process is None and all(needed.ready or needed.failed for needed in needs):
                    self._spawn(service)
            starting = [service for service in self.services.values() if service.started and not service.ready]
            self.step(0.05 if starting else deadline - time.monotonic())
            for service in starting:
                service.ready = answers_ready(service.addresses["admin"])
                if service.ready:
                    self.on_ready(service)
            if self.signals or self.ended:
                return
            if time.monotonic() > deadline:
                late = ", ".join(s.name for s in self.services.values() if not (s.ready or s.failed))
                raise Failure(f"not ready after {timeout:.0f} s: {late}")

    def restart(self, programs: Iterable[str], timeout: float = 60) -> list[Service]:
        """Drains what runs these programs, dependants first, and starts it again. Returns what did not get ready: it is left
        out until the next time."""
        chosen = [service for service in self.services.values() if service.program in set(programs)]
        self._drain(chosen, timeout)
        for service in chosen:
            service.again()
        try:
            self.start(timeout)
        except Failure:
            for service in chosen:
                if not service.ready and not service.failed:
                    service.failed = True
                    self._drain([service], 0)
        return [service for service in chosen if service.failed]

    def _replicas(self, program: str) -> list[Service]:
        return [service for service in self.services.values() if service.program == program]

    def _needs(self, service: Service) -> list[Service]:
        programs = {*service.place.peers.values(), *(["etcd"] if service.program in STORED else [])}
        programs |= {CONSOLE} & self.services.keys() - {service.name}
        return [each for program in programs for each in self._replicas(program)]

    def _store_url(self, service: Service) -> str:
        if "etcd" not in self.services:
            return f"lmdb://{self.data / service.name}"
        view = self.data / f"view-{service.name}"
        return f"etcd://{self.services['etcd'].address}/{service.program}?view={view}"

    def _spawn(self, service: Service) -> None:
        if service.name == "etcd":
            self._spawn_etcd(service)
            return
        program = self.build / service.program
        if not program.exists():
            raise Failure(f"{program} is not there: run './dev build'")
        both = {"http", "grpc"} <= DECLARED[service.program].ports.keys()
        settings = {
            "SHUTDOWN_DELAY_SECONDS": os.environ.get("SHUTDOWN_DELAY_SECONDS", "0"),
            "BIND_ADDRESS": "127.0.0.1",
            "PORT": str(service.place.port),
            "GRPC_PORT": str(service.place.grpc if both else service.place.port),
            "METRICS_PORT": str(service.place.admin),
            "FEATURES_FILE": str(ROOT / "share/route-guide/features.json"),
        }
        if service.program in STORED:
            settings["STORE_URL"] = self._store_url(service)
        for variable, peer in service.place.peers.items():
            settings[variable] = ",".join(each.address for each in self._replicas(peer))
        self._run(service, [program], settings | self._telemetry(service))

    def _telemetry(self, service: Service) -> dict[str, str]:
        """Where a service sends spans, metrics and log lines: to the console, unless the environment says otherwise."""
        if service.name == CONSOLE:
            state = DataFolder(self.data)
            return {
                "OTEL_SDK_DISABLED": "true",  # it would tell itself of what it is told
                "CONSOLE_TOKEN_FILE": str(state.token_file()),
                "CONSOLE_SERVICES_FILE": str(state.state_file),
            }
        if CONSOLE not in self.services or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            return {}
        return {name: os.environ.get(name) or value for name, value in TELEMETRY.items()} | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.services[CONSOLE].addresses['grpc']}",
            "OTEL_RESOURCE_ATTRIBUTES": os.environ.get("OTEL_RESOURCE_ATTRIBUTES")
            or f"service.instance.id={service.name}",
        }

    def _spawn_etcd(self, service: Service) -> None:
        """One member. It does not say where it listens, so its ports are chosen here."""
        program = find_etcd()
        client = f"127.0.0.1:{service.place.port or held_port()}"
        peer = f"http://127.0.0.1:{held_port()}"
        flags = {
            "name": "up",
            "data-dir": str(self.data / "etcd"),
            "listen-client-urls": f"http://{client}",
            "advertise-client-urls": f"http://{client}",
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"up={peer}",
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "5m",
            "log-level": "error",
            "socket-reuse-port": "true",
        }
        service.addresses = {"http": client, "admin": client}
        service.started = True
        self._run(service, [program, *(f"--{name}={value}" for name, value in flags.items())], ETCD_BOUNDS)

    def _run(self, service: Service, command: list[str | Path], settings: dict[str, str]) -> None:
        service.process = subprocess.Popen(
            command,
            env=os.environ | settings,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # Ctrl-C goes to this program alone, which stops them in order
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (there are no threads)
        )
        for stream in (service.process.stdout, service.process.stderr):
            assert stream
            os.set_blocking(stream.fileno(), False)
            self._partial[stream] = b""
            self._selector.register(stream, selectors.EVENT_READ, service)

    # ---- running ----

    def on_readable(self, fd: int, call: Callable[[], None] | None) -> None:
        """Has step() call it whenever fd can be read; None: no more."""
        if call:
            self._selector.register(fd, selectors.EVENT_READ, call)
        else:
            self._selector.unregister(fd)

    def step(self, timeout: float | None = None) -> None:
        """Waits until something happens, and handles it."""
        for key, _ in self._selector.select(timeout if timeout is None else max(timeout, 0)):
            if isinstance(key.data, Service):
                self._read(key.data, key.fileobj)  # type: ignore[arg-type]
            elif key.data:
                key.data()
            else:
                os.read(key.fd, 4096)

    def _read(self, service: Service, stream: IO[bytes]) -> None:
        if stream.closed:  # its end was seen in this very turn
            return
        data = os.read(stream.fileno(), 1 << 18)
        *lines, rest = (self._partial[stream] + data).split(b"\n")
        if not data:
            lines, rest = [rest] if rest else [], b""
            self._selector.unregister(stream)
            stream.close()
        self._partial[stream] = rest
        for line in lines:
            self._line(service, line)
        if not data and service.process and stream is service.process.stdout:
            self._end(service)

    def _line(self, service: Service, line: bytes) -> None:
        service.tail.append(line.decode(errors="replace"))
        if not service.started:
            self._announcement(service, line)
        self.on_line(service.name, line)

    def _announcement(self, service: Service, line: bytes) -> None:
        with contextlib.suppress(ValueError):
            said: dict[str, Any] = json.loads(line)
            if said.get("message") == "listening":
                service.addresses[said["protocol"]] = f"127.0.0.1:{said['port']}"
            elif said.get("message") == "ready":
                service.started = True

    def _end(self, service: Service) -> None:
        assert service.process
        service.process.wait()
        errors = service.process.stderr
        if errors and not errors.closed:
            self._read(service, errors)
        if self._stopping or service.told:
            return
        if service.edited:
            service.failed = True
            service.ready = False
            self.on_end(service)
        elif not self.ended:
            self.ended = service

    # ---- stopping ----

    def stop(self, timeout: float = 60) -> list[str]:
        """SIGTERM to all, dependants first. Returns what did not end well; a second signal ends all at once."""
        self._stopping = True
        started = [service for service in self.services.values() if service.process]
        self._drain(started, timeout)
        left_out = [self.ended, *(service for service in started if service.failed)]
        return [f"{s.name} {how_it_ended(s)}" for s in started if s not in left_out and not ended_well(s)]

    def _drain(self, services: list[Service], timeout: float) -> None:
        """SIGTERM to these, dependants first, and SIGKILL after timeout or a further signal; returns when all have ended and
        all that they printed has been read."""
        deadline = time.monotonic() + timeout
        signals = self.signals
        while running := [s for s in services if s.running()]:
            needed = {needed.name for service in running for needed in self._needs(service)}
            for service in running:
                assert service.process
                if self.signals > signals or time.monotonic() > deadline:
                    service.told = True
                    service.process.kill()
                elif service.name not in needed and not service.told:
                    service.told = True
                    service.process.terminate()
            self.step(0.1)
        while any(stream for s in services if s.process and (stream := s.process.stdout) and not stream.closed):
            self.step(1)


def how_it_ended(service: Service) -> str:
    assert service.process
    status = service.process.returncode
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"


def ended_well(service: Service) -> bool:
    """One that is told to stop before it has started may not yet have learnt to drain; etcd ends by the signal."""
    assert service.process
    told = service.process.returncode == -signal.SIGTERM and (not service.started or service.name == "etcd")
    return service.process.returncode == 0 or told


def answers_ready(admin: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{admin}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


# ---- etcd ----


# What bounds the memory of an etcd, as in k8s/components/store-etcd. It keeps the last transactions in memory, for members
# that are behind, and reads those since its last snapshot at a start: of up to 1 MiB each, 5,000 and 10,000 by default.
# In the environment, because an etcd of before 3.6 does not start with a flag that it does not know.
ETCD_BOUNDS = {"ETCD_SNAPSHOT_COUNT": "200", "ETCD_SNAPSHOT_CATCHUP_ENTRIES": "200", "GOMEMLIMIT": "768MiB"}


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway"


def find_tool(name: str) -> str | None:
    """Where ./dev, scripts/tools or the Nix shell have put a program."""
    folders = [os.environ.get("PATH", ""), str(cache_folder() / "tools"), str(Path.home() / ".local/bin")]
    return shutil.which(name, path=os.pathsep.join(folders))


def find_etcd() -> str:
    if program := find_tool("etcd"):
        return program
    raise Failure(f"etcd is not there: {ROOT}/scripts/tools {cache_folder()}/tools etcd puts it there")


_held_ports: list[socket.socket] = []


def held_port() -> int:
    """A free port for an etcd with --socket-reuse-port. A socket that does not listen holds it until this process ends,
    so that nobody else takes it before etcd does, or while etcd is away."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    _held_ports.append(holder)
    return int(holder.getsockname()[1])


# ---- what is in the way ----


def _refuse_if_taken(port: int, name: str) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except PermissionError:
            raise Failure(f"port {port} ({name}) needs root") from None
        except OSError:
            raise Failure(
                f"port {port} ({name}) is taken by {port_holder(port)}; --ports auto takes free ones"
            ) from None


def port_holder(port: int) -> str:
    """Who listens on a port, as far as this user may see."""
    inodes = set(_listening_inodes(port))
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return "another program"


def _listening_inodes(port: int) -> Iterable[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for row in Path(table).read_text().splitlines()[1:]:
                columns = row.split()
                if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                    yield f"socket:[{columns[9]}]"


class DataFolder:
    """The folder that holds the services' data and logs, owned by one running system at a time; says where that system is.
    A file in the user's cache names the data folders of all systems that run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "log"
        self.state_file = path / "up.json"
        self._lock: IO[str] | None = None

    def take(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / "up.lock", "a+")  # noqa: SIM115 (held to the end)
        except OSError as error:
            raise Failure(f"cannot use {self.path} for the data: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise Failure(
                f"already running on {self.path} (pid {holder}); a second one: --ports auto --data FOLDER"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        self.state_file.unlink(missing_ok=True)
        (self.path / "console-token").unlink(missing_ok=True)

    def token_file(self) -> Path:
        """What the console's page shows to be allowed to send requests: a new one each time that the
        system is started, readable by this user alone."""
        file = self.path / "console-token"
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w") as token:
                token.write(secrets.token_urlsafe(24))
        return file

    def publish(self, services: dict[str, Service]) -> None:
        where = {s.name: {"pid": s.process.pid, **s.addresses} for s in services.values() if s.process}
        state = {"pid": os.getpid(), "services": where}
        new = self.state_file.with_suffix(".new")
        new.write_text(json.dumps(state, indent=2) + "\n")
        new.replace(self.state_file)
        _running_file(os.getpid()).parent.mkdir(parents=True, exist_ok=True)
        _running_file(os.getpid()).write_text(json.dumps({"root": str(ROOT), "data": str(self.path)}) + "\n")

    def forget(self) -> None:
        """It no longer runs. The lock ends with the process."""
        self.state_file.unlink(missing_ok=True)
        _running_file(os.getpid()).unlink(missing_ok=True)

    def running(self) -> dict[str, dict[str, Any]] | None:
        """The addresses of the system that runs on this folder now, or None: also while it starts."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            with open(self.path / "up.lock") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return None
                except BlockingIOError:
                    holder = int(lock.read())
            state = json.loads(self.state_file.read_text())
            if state["pid"] == holder:  # else one that was killed has left it
                return dict(state["services"])
        return None


def _running_file(pid: int) -> Path:
    return cache_folder() / f"running/{pid}.json"


def running_data_folders() -> list[DataFolder]:
    """Of the systems of this checkout that run now, the last started first. Removes what killed ones have left."""
    found: list[tuple[float, DataFolder]] = []
    for file in _running_file(0).parent.glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(file.read_text())
            data = DataFolder(Path(said["data"]))
            if data.running() is None:
                file.unlink(missing_ok=True)
            elif said["root"] == str(ROOT):
                found.append((file.stat().st_mtime, data))
    return [data for _, data in sorted(found, key=lambda one: one[0], reverse=True)]
