"""The event schemas: they compile, keep the style, and never break a reader of the committed baseline.

protoc compiles the files to a descriptor; the few fields of it that matter are read here. The baseline is a text file
with one line for each field, reserved number or name, and enum value.

The evolution rule: a number keeps its name, type and cardinality for ever. A field that goes away leaves its number and
its name reserved, and what is reserved stays so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

TYPES = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    6: "fixed64",
    7: "fixed32",
    8: "bool",
    9: "string",
    11: "message",
    12: "bytes",
    13: "uint32",
    14: "enum",
    15: "sfixed32",
    16: "sfixed64",
    17: "sint32",
    18: "sint64",
}
BASELINE = "baseline.txt"


def have_protoc() -> bool:
    return shutil.which("protoc") is not None


def describe(folder: Path) -> list[str]:
    """The baseline lines of the schemas in the folder. Raises ValueError with protoc's words if they do not compile."""
    files = sorted(str(f.relative_to(folder)) for f in folder.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "set"
        command = ["protoc", f"--proto_path={folder}", f"--descriptor_set_out={out}", *files]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise ValueError(done.stderr.strip())
        raw = out.read_bytes()
    lines: list[str] = []
    for file in _all(raw, 1):
        package = _text(file, 2)
        for message in _all(file, 4):
            lines += _message(message, package)
        for enum in _all(file, 5):
            lines += _enum(enum, package)
    return sorted(lines)


def breaks(baseline: list[str], now: list[str]) -> list[str]:
    """What a reader of the baseline could not live with."""
    out = []
    present = set(now)
    where = {_slot(line): line for line in now}
    for line in baseline:
        if line in present:
            continue
        owner, kind, rest = _parts(line)
        if kind.startswith("reserved"):
            out.append(f"no longer reserved: {line}")
        elif _slot(line) in where:
            out.append(f"changed: {line} is now {where[_slot(line)]}")
        else:
            number, name = rest[0], rest[1]
            for need in (f"{owner} reserved-number {number}", f"{owner} reserved-name {name}"):
                if need not in present:
                    out.append(f"removed without reserving: {line} (wanted: {need})")
    return out


def lint(folder: Path) -> list[str]:
    """Style: package and folder agree, enums begin with an unspecified zero, messages are commented."""
    out = []
    for file in sorted(folder.rglob("*.proto")):
        text = file.read_text()
        package = re.search(r"^package ([\w.]+);", text, re.MULTILINE)
        want = str(file.parent.relative_to(folder)).replace("/", ".")
        if not package or package[1] != want or not re.fullmatch(r"[\w.]+\.v\d+", want):
            out.append(f"{file.name}: package is not {want}, or has no version")
        for before, name in re.findall(r"(^.*\n)^message (\w+)", text, re.MULTILINE):
            if not before.startswith("//"):
                out.append(f"{file.name}: message {name} has no comment")
    for line in describe(folder):
        owner, kind, rest = _parts(line)
        if kind == "value":
            prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", owner.rsplit(".", 1)[1]).upper() + "_"
            if not rest[1].startswith(prefix) or (rest[0] == "0") != (rest[1] == prefix + "UNSPECIFIED"):
                out.append(f"{line}: values are {prefix}..., zero is {prefix}UNSPECIFIED")
        elif kind == "field" and not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", rest[1]):
            out.append(f"{line}: not snake_case")
    return out


def _parts(line: str) -> tuple[str, str, list[str]]:
    owner, kind, *rest = line.split(" ")
    return owner, kind, rest


def _slot(line: str) -> tuple[str, str, str]:
    owner, kind, rest = _parts(line)
    return owner, kind, rest[0]


def _message(raw: bytes, scope: str) -> list[str]:
    name = f"{scope}.{_text(raw, 1)}"
    lines = []
    for field in _all(raw, 2):
        kind = TYPES[_number(field, 5)]
        kind = _text(field, 6).lstrip(".") if kind in ("message", "enum") else kind
        many = "repeated" if _number(field, 4) == 3 else "single"
        lines.append(f"{name} field {_number(field, 3)} {_text(field, 1)} {kind} {many}")
    for reserved in _all(raw, 9):
        lines += [f"{name} reserved-number {n}" for n in range(_number(reserved, 1), _number(reserved, 2))]
    lines += [f"{name} reserved-name {item.decode()}" for item in _all(raw, 10)]
    for inner in _all(raw, 3):
        lines += _message(inner, name)
    for enum in _all(raw, 4):
        lines += _enum(enum, name)
    return lines


def _enum(raw: bytes, scope: str) -> list[str]:
    name = f"{scope}.{_text(raw, 1)}"
    lines = [f"{name} value {_number(value, 2)} {_text(value, 1)}" for value in _all(raw, 2)]
    lines += [f"{name} reserved-name {item.decode()}" for item in _all(raw, 5)]
    for reserved in _all(raw, 4):
        lines += [f"{name} reserved-number {n}" for n in range(_number(reserved, 1), _number(reserved, 2) + 1)]
    return lines


def _all(raw: bytes, number: int) -> list[bytes]:
    return [value for field, value in _fields(raw) if field == number and isinstance(value, bytes)]


def _text(raw: bytes, number: int) -> str:
    return next(iter(_all(raw, number)), b"").decode()


def _number(raw: bytes, number: int) -> int:
    return next((value for field, value in _fields(raw) if field == number and isinstance(value, int)), 0)


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a serialized protobuf message: varints as int, length-delimited ones as bytes."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        if tag & 7 == 0:
            value, at = _varint(raw, at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            length, at = _varint(raw, at)
            yield tag >> 3, raw[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {tag & 7} in a descriptor")


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
