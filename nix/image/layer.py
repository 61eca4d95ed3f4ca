"""Layers: sorted, ownerless tar archives, compressed the same way every time."""

import dataclasses
import gzip
import hashlib
import io
import os
import pathlib
import tarfile
import zlib


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


def make(name: str, entries: list[Entry]) -> Layer:
    data = _tar(entries)
    return Layer(name, entries, sha256(data), compress(data))


def compress(data: bytes) -> bytes:
    """gzip without a time or a name. One zlib gives the same bytes always: the layers are compressed once, at build,
    and nobody compresses them again."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, 31)  # 9 gains 0.5 % for four times the time
    return deflate.compress(data) + deflate.flush()


def decompress(blob: bytes) -> bytes:
    return gzip.decompress(blob)


def _tar(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry in sorted(_with_parents(entries), key=lambda e: e.path):
            info = tarfile.TarInfo(entry.path.lstrip("/"))
            info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.owner, entry.owner, 0
            if entry.is_file:
                data = entry.read()
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            else:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
    return out.getvalue()


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
