"""described -- the descriptions of HTTP APIs, and services with those that they ask."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from examples import HTTP
from harness import ROOT, Service
from system import DECLARED, PLACES

DESCRIBED = [name for name in HTTP if (ROOT / "src" / name / "openapi.json").exists()]


def described_api(name: str) -> dict[str, Any]:
    """The description of a service's HTTP API, as it serves it."""
    command = [ROOT / "scripts/describe", ROOT / "src" / name / "openapi.json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def with_peers(start: Callable[..., Service], name: str, **settings: object) -> Service:
    """A service, and before it those that it asks."""
    peers = {}
    for variable, peer in PLACES[name].peers.items() if name in PLACES else []:
        service = with_peers(start, peer)
        peers[variable] = service.grpc_address if DECLARED[peer].grpc else service.http_url.removeprefix("http://")
    return start(name, **peers, **settings)
