"""frames -- HTTP/2 frames and header blocks, also those that no library would write."""

from __future__ import annotations

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME = 16384  # bytes, until the server allows more
WINDOW = 65535  # bytes: HTTP/2's at the beginning, of a stream and of a connection

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ALTSVC, ORIGIN, PRIORITY_UPDATE, UNKNOWN = 10, 12, 16, 11
END_STREAM = ACK = 1
END_HEADERS, PADDED = 4, 8
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
CANCEL = 8


def frame(kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def settings(*values: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values))


def start(*values: tuple[int, int]) -> bytes:
    """What a client sends first, with its settings."""
    return PREFACE + settings(*values)


def headers(stream: int, block: bytes, *, end: bool = True, whole: bool = True) -> bytes:
    """whole: no CONTINUATION follows."""
    return frame(HEADERS, stream, block, (END_STREAM if end else 0) | (END_HEADERS if whole else 0))


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    """In frames of at most MAX_FRAME bytes."""
    parts = [payload[at : at + MAX_FRAME] for at in range(0, len(payload), MAX_FRAME)] or [b""]
    return b"".join(
        frame(DATA, stream, part, END_STREAM if end and at == len(parts) - 1 else 0) for at, part in enumerate(parts)
    )


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, stream, CANCEL.to_bytes(4, "big"))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, stream, increment.to_bytes(4, "big"))


def priority(stream: int, parent: int, weight: int = 15) -> bytes:
    return frame(PRIORITY, stream, parent.to_bytes(4, "big") + bytes((weight,)))


def block(*fields: tuple[str, str]) -> bytes:
    """Does not touch the dynamic table, so that it can be sent any number of times."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)


def literal(name: bytes, value: bytes, *, index: bool = False) -> bytes:
    """A field whose name and value are spelled out, also where HTTP forbids them."""
    return bytes((0x40 if index else 0,)) + string(name) + string(value)


def string(text: bytes) -> bytes:
    return integer(len(text), 7, 0) + text


def integer(value: int, bits: int, first: int) -> bytes:
    """HPACK's, in the low bits of its first byte."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out, value = [first | most], value - most
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def continuations(stream: int, fragment: bytes, count: int, *, end: bool = False) -> bytes:
    """So many CONTINUATION frames with the same fragment of a block; the last one ends it if told so."""
    more = frame(CONTINUATION, stream, fragment) * (count - int(end))
    return more + (frame(CONTINUATION, stream, fragment, END_HEADERS) if end else b"")


def long_block(stream: int, *, end: bool = False) -> bytes:
    """The rest of a header block: 390 KB, about as much as h2o takes."""
    field = b"\0\1x" + integer(MAX_FRAME - 6, 7, 0) + b"y" * (MAX_FRAME - 6)
    return continuations(stream, field, 24, end=end)


def message(payload: bytes, *, compressed: bool = False, size: int | None = None) -> bytes:
    """A message of gRPC; size: what its prefix says."""
    return bytes((compressed,)) + (len(payload) if size is None else size).to_bytes(4, "big") + payload
