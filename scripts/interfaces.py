"""interfaces -- what the console shows of the services' APIs, as files below src/console/www: generated.py writes them.

interfaces.json lists the services that run under ./dev up, with the gRPC services that each serves; interfaces/NAME.json is the
complete description of a service's HTTP API. A service serves the gRPC services whose macros of methods its sources name.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from protos import Rpc, rpcs
from services import Declaration

WWW = "src/console/www"


def words(name: str) -> str:
    """As scripts/rpc-stubs names what belongs to a service: RouteGuide is ROUTE_GUIDE."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).upper()


def rpc_services(root: Path) -> dict[str, dict[str, object]]:
    """By the macros' prefix: each service of proto/, with its methods."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((root / "proto").glob("*.proto")):
        for rpc in rpcs(file):
            prefix = "__".join(words(part) for part in rpc.full_service.split("."))
            found.setdefault(prefix, {"service": rpc.full_service, "methods": []})["methods"].append(method(rpc))
    return found


def method(rpc: Rpc) -> dict[str, object]:
    return {
        "name": rpc.name,
        "client_streaming": rpc.takes_stream,
        "server_streaming": rpc.gives_stream,
        "request": rpc.full_type(rpc.takes),
        "response": rpc.full_type(rpc.gives),
    }


def served(folder: Path, every: dict[str, dict[str, object]]) -> list[dict[str, object]]:
    text = "\n".join(file.read_text() for file in sorted(folder.glob("*.[ch]")))
    return [said for prefix, said in every.items() if re.search(rf"\b{prefix}__\w+\(", text)]


def files(root: Path, every: dict[str, Declaration]) -> dict[str, str | None]:
    """By path: the text, or None for a file that is left over."""
    if "console" not in every:
        return {}
    rpc, listed = rpc_services(root), []
    found: dict[str, str | None] = {}
    for one in every.values():
        if not one.local or one.name == "console":
            continue
        described = root / "src" / one.name / "openapi.json"
        if described.exists():
            command = [root / "scripts/describe", described]
            found[f"{WWW}/interfaces/{one.name}.json"] = subprocess.check_output(command, text=True)
        rpcs = served(root / "src" / one.name, rpc) if one.grpc else []
        listed.append({"name": one.name, "openapi": described.exists(), "grpc": rpcs})
    found[f"{WWW}/interfaces.json"] = json.dumps({"services": listed}, indent=1) + "\n"
    left = {f"{WWW}/interfaces/{file.name}" for file in (root / WWW / "interfaces").glob("*.json")}
    return {name: None for name in left} | found
