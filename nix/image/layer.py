"""Layers: sorted, ownerless tar archives, compressed the same way every time: as gzip members one after another, which
together are one gzip file (RFC 1952, 2.2), a member to each large file."""

import dataclasses
import gzip
import hashlib
import io
import os
import pathlib
import tarfile
import zlib
from collections.abc import Iterator

MEMBER = 1 << 16  # bytes from which on a file is a gzip member of its own


@dataclasses.dataclass
class Entry:
    """A file of the image, or (source None) a folder. Paths are absolute, inside the image."""

    path: str
    source: pathlib.Path | None = None
    content: bytes | None = None  # instead of source
    mode: int = 0o444
    owner: int = 0

    def read(self) -> bytes:
        return self.content if self.content is not None else self.source.read_bytes()

    @property
    def is_file(self) -> bool:
        return self.source is not None or self.content is not None


@dataclasses.dataclass
class Layer:
    name: str
    entries: list[Entry]
    tar_digest: str
    blob: bytes  # gzip

    @property
    def digest(self) -> str:
        return sha256(self.blob)


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make(name: str, entries: list[Entry], packed: pathlib.Path | None = None) -> Layer:
    """packed holds members that were compressed before (pack.py); without it the layer is the same, and takes longer."""
    pieces = list(_pieces(entries))
    blob = b"".join(_member(piece, packed) for piece in _joined(pieces))
    return Layer(name, entries, sha256(b"".join(pieces)), blob)


def compress(data: bytes) -> bytes:
    """gzip without a time or a name. One zlib gives the same bytes always: the layers are compressed once, at build,
    and nobody compresses them again."""
    deflate = zlib.compressobj(5, zlib.DEFLATED, 31)  # 6 gains 0.9 % for half as much time again, 9 another 0.5 %
    return deflate.compress(data) + deflate.flush()


def content(data: bytes) -> bytes:
    """A file's content as it stands in an archive: in whole blocks."""
    return data + bytes(-len(data) % tarfile.BLOCKSIZE)


def member_name(piece: bytes) -> str:
    return hashlib.sha256(piece).hexdigest()


def _member(piece: bytes, packed: pathlib.Path | None) -> bytes:
    if packed is not None and len(piece) >= MEMBER:
        file = packed / member_name(piece)
        if file.exists():
            return file.read_bytes()
    return compress(piece)


def _joined(pieces: list[bytes]) -> Iterator[bytes]:
    """Files of MEMBER bytes and more each by itself, for they are the same in many images; what is between them in one."""
    between = b""
    for piece in pieces:
        if len(piece) < MEMBER:
            between += piece
            continue
        if between:
            yield between
        yield piece
        between = b""
    yield between


def decompress(blob: bytes) -> bytes:
    return gzip.decompress(blob)


def _pieces(entries: list[Entry]) -> Iterator[bytes]:
    """The archive: headers, contents, the end."""
    for entry in sorted(_with_parents(entries), key=lambda e: e.path):
        info = tarfile.TarInfo(entry.path.lstrip("/"))
        info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.owner, entry.owner, 0
        data = entry.read() if entry.is_file else b""
        info.type, info.size = tarfile.REGTYPE if entry.is_file else tarfile.DIRTYPE, len(data)
        yield info.tobuf(tarfile.USTAR_FORMAT)
        yield content(data)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _with_parents(entries: list[Entry]) -> list[Entry]:
    there = {entry.path: entry for entry in entries}
    for entry in entries:
        folder = os.path.dirname(entry.path)
        while folder != "/":
            there.setdefault(folder, Entry(folder, mode=0o555))
            folder = os.path.dirname(folder)
    return list(there.values())


def files(blob: bytes) -> dict[str, bytes]:
    """The files of a layer: {path in the image: content}."""
    with tarfile.open(fileobj=io.BytesIO(decompress(blob))) as tar:
        return {"/" + info.name: tar.extractfile(info).read() for info in tar if info.isfile()}
