"""The modules that a Go program was built from: `go version -m` without Go. Nothing for other programs, and nothing
where the build recorded none (Debian's do not)."""

import pathlib

MAGIC = b"\xff Go buildinf:"
INLINE = 2  # flag: the strings follow the 32-byte header (Go 1.18 and later)
FRAME = 16  # marks before and after the module text


def components(program: pathlib.Path) -> list[dict]:
    found = []
    for line in _modules(program.read_bytes()).splitlines():
        kind, *fields = line.split("\t")
        if kind == "=>" and found:
            found.pop()  # replaces the one before
        if kind in ("dep", "=>") and len(fields) >= 2:
            found.append(_component(fields[0], fields[1]))
    return found


def _component(path: str, version: str) -> dict:
    purl = f"pkg:golang/{path.lower()}@{version.replace('+', '%2B')}"
    return {"type": "library", "bom-ref": purl, "name": path, "version": version, "purl": purl}


def _modules(data: bytes) -> str:
    at = data.find(MAGIC)
    while at >= 0 and not (at % 16 == 0 and data[at + 15] & INLINE):
        at = data.find(MAGIC, at + 1)
    if at < 0:
        return ""
    _, at = _string(data, at + 32)
    text, _ = _string(data, at)
    return text[FRAME:-FRAME].decode(errors="replace")


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    length, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return data[at : at + length], at + length
