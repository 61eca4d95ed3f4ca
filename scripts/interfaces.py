"""interfaces -- what the console shows of the services' APIs, as files below src/console/www: generated.py writes them.

interfaces.json lists the services that run under ./dev up, with the gRPC services that each serves; interfaces/NAME.json is the
complete description of a service's HTTP API. A service serves the gRPC services whose macros of methods its sources name.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from services import Declaration

WWW = "src/console/www"
RPC = re.compile(r"^  rpc (\w+)\((stream )?([\w.]+)\) returns \((stream )?([\w.]+)\)", re.MULTILINE)


def words(name: str) -> str:
    """As scripts/rpc-stubs names what belongs to a service: RouteGuide is ROUTE_GUIDE."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).upper()


def rpc_services(root: Path) -> dict[str, dict[str, object]]:
    """By the macros' prefix: each service of proto/, with its methods."""
    found = {}
    for file in sorted((root / "proto").glob("*.proto")):
        text = file.read_text()
        package = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
        for name, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            full = f"{package[1]}.{name}" if package else name
            prefix = "__".join(words(part) for part in full.split("."))
            methods = [method(package[1] if package else "", each) for each in RPC.findall(body)]
            found[prefix] = {"service": full, "methods": methods}
    return found


def method(package: str, found: tuple[str, ...]) -> dict[str, object]:
    name, takes_stream, takes, gives_stream, gives = found

    def full(kind: str) -> str:
        return kind if "." in kind else f"{package}.{kind}"

    return {
        "name": name,
        "client_streaming": bool(takes_stream),
        "server_streaming": bool(gives_stream),
        "request": full(takes),
        "response": full(gives),
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
