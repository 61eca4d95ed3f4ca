"""examples -- the requests by which the tests of what all services have in common ask each of them: those of its declaration,
src/NAME/service.toml."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import Message

from system import DECLARED

PROTO = Path(__file__).resolve().parents[2] / "proto"
# Paths: one that is answered with 200, also while the service is under load, and one that is refused with 4xx.
HTTP = {name: one.example.http for name, one in DECLARED.items() if one.http}


@dataclass(frozen=True)
class Unary:
    """A unary method, and two messages for it as JSON."""

    rpc: str  # package.Service/Method
    ok: str
    refused: str  # with INVALID_ARGUMENT

    @property
    def service(self) -> str:
        return self.rpc.split("/")[0]

    @property
    def file(self) -> str:
        """The name of the file in proto/ that declares it, without its ending."""
        package, _, service = self.service.rpartition(".")
        for path in sorted(PROTO.glob("*.proto")):
            text = path.read_text()
            if re.search(rf"^package {package};", text, re.MULTILINE) and re.search(
                rf"^service {service}\b", text, re.MULTILINE
            ):
                return path.stem
        raise LookupError(f"no file of {PROTO} declares {self.service}")

    def caller(self, channel: grpc.Channel) -> Callable[..., Message]:
        """caller(CHANNEL)(TEXT, **how): the reply to a message. The fixture stubs makes its types known."""
        service, _, method = self.rpc.partition("/")
        described = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
        takes, gives = map(message_factory.GetMessageClass, (described.input_type, described.output_type))
        call = channel.unary_unary(f"/{self.rpc}", takes.SerializeToString, gives.FromString)
        return lambda text, **how: call(json_format.Parse(text, takes()), **how)


def with_imports(files: set[str]) -> set[str]:
    """Names of files in proto/, without their ending, and of all that they import."""
    texts = [(PROTO / f"{name}.proto").read_text() for name in files]
    found = files | {name for text in texts for name in re.findall(r'^import "(\w+)\.proto";', text, re.MULTILINE)}
    return found if found == files else with_imports(found)


GRPC = {name: Unary(one.example.rpc, *one.example.messages) for name, one in DECLARED.items() if one.grpc}
