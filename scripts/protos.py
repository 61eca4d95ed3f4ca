"""protos -- the rpcs that a file of proto/ declares, with the comments above them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SERVICE = re.compile(r"^service (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
RPC = re.compile(
    r"((?:^ *//.*\n)*)^ *rpc (\w+)\((stream )?([\w.]+)\) returns \((stream )?([\w.]+)\)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Rpc:
    package: str
    service: str  # without its package
    name: str
    takes: str  # types as the file names them
    gives: str
    takes_stream: bool
    gives_stream: bool
    about: str

    @property
    def full_service(self) -> str:
        return f"{self.package}.{self.service}"

    def full_type(self, name: str) -> str:
        return name if "." in name else f"{self.package}.{name}"


def rpcs(path: Path) -> list[Rpc]:
    text = path.read_text()
    package = re.findall(r"^package ([\w.]+);$", text, re.MULTILINE)[0]
    found = []
    for service, body in SERVICE.findall(text):
        for comment, name, takes_stream, takes, gives_stream, gives in RPC.findall(body):
            about = " ".join(line.strip().removeprefix("// ") for line in comment.splitlines())
            found.append(Rpc(package, service, name, takes, gives, bool(takes_stream), bool(gives_stream), about))
    return found
