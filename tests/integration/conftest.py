"""Fixtures of the integration tests; see harness.py."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import grpc
import httpx
import pytest
from grpc_tools import protoc

import cgroup
import described
import examples
import harness
from harness import ROOT, Service
from otelcol import Collector


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """start(NAME, *flags, **environment): a service that is ready; stopped and checked when the test ends."""
    with harness.services(tmp_path) as factory:
        yield factory


@pytest.fixture
def collector(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Collector]:
    """A real OpenTelemetry Collector."""
    folder = tmp_path / "otelcol"
    folder.mkdir()
    collector = Collector(tool("otelcol"), folder)
    yield collector
    collector.stop()


@pytest.fixture
def start_with_peers(start: Callable[..., Service]) -> Callable[..., Service]:
    """start(NAME), and before it the services that it asks."""

    return partial(described.with_peers, start)


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """As start, but the release binary in a memory cgroup with the limit of the service's manifest: see cgroup.py."""
    with cgroup.services(tmp_path / "limited", cgroup.make_or_skip) as factory:
        yield factory


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What protoc makes of proto/routeguide.proto, health.proto and those of examples.py, and what they import: stubs.routeguide, stubs.health, ...
    (messages), each with NAME_grpc (clients)."""
    out = tmp_path_factory.mktemp("stubs")
    import grpc_tools

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    names = sorted(examples.with_imports({"routeguide", "health"} | {each.file for each in examples.GRPC.values()}))
    files = [ROOT / "proto" / f"{name}.proto" for name in names]
    command = ["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    assert protoc.main([*command, *map(str, files)]) == 0
    sys.path.insert(0, str(out))
    modules: dict[str, ModuleType] = {}
    for name in names:
        modules[name] = importlib.import_module(f"{name}_pb2")
        modules[f"{name}_grpc"] = importlib.import_module(f"{name}_pb2_grpc")
    return SimpleNamespace(**modules)


@pytest.fixture
def channel(start: object) -> Iterator[Callable[[str], grpc.Channel]]:
    """channel(ADDRESS): a gRPC channel. Asking for start has it closed before the services are stopped."""
    channels: list[grpc.Channel] = []

    def connect(address: str) -> grpc.Channel:
        channels.append(grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]))
        return channels[-1]

    yield connect
    for each in channels:
        each.close()


@pytest.fixture
def http(start: object) -> Iterator[httpx.Client]:
    """An HTTP/1.1 client that keeps connections alive and follows nothing; closed before the services are stopped."""
    with httpx.Client(timeout=harness.START_S) as client:
        yield client


@dataclass
class Routes:
    """The system A: two servers, and clients of both."""

    guide: Service
    store: Service
    guide_stub: object
    store_stub: object
    history_stub: object


@pytest.fixture
def routes(start: Callable[..., Service], channel: Callable[[str], grpc.Channel], stubs: SimpleNamespace) -> Routes:
    """feature-store, and a route-guide that saves to it."""
    store = start("feature-store")
    guide = start("route-guide", FEATURE_STORE_SERVICE_ADDR=store.grpc_address)
    to_store = channel(store.grpc_address)
    return Routes(
        guide=guide,
        store=store,
        guide_stub=stubs.routeguide_grpc.RouteGuideStub(channel(guide.grpc_address)),
        store_stub=stubs.routeguide_grpc.RouteGuideStub(to_store),
        history_stub=stubs.routeguide_grpc.FeatureHistoryStub(to_store),
    )


@pytest.fixture
def people(start: Callable[..., Service]) -> SimpleNamespace:
    """The system D: people.users, and people.countries that asks it."""
    users = start("users")
    countries = start("countries", USERS_SERVICE_ADDR=users.http_url.removeprefix("http://"))
    return SimpleNamespace(users=users, countries=countries)


@pytest.fixture
def tool() -> Callable[[str], str]:
    """tool(NAME): the path of a program that Debian may not have; the test is skipped where it is not installed."""

    def find(name: str) -> str:
        if path := shutil.which(name):
            return path
        pytest.skip(f"{name} is not installed")

    return find
