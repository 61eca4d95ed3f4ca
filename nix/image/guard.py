"""The closure guard: what must never get into an image. Raises Refused with every reason at once."""

import os
import pathlib
import re

import elf
import layer

FORBIDDEN_PROGRAM = re.compile(
    r"^(a|ba|da|c|k|z|fi|tc)?sh$|^(busybox|toybox|env|perl[\d.]*|python[\d.]*|ruby|lua|node|"
    r"(.*-)?(gcc|g\+\+|cc|c\+\+|cc1|cc1plus|clang|clang\+\+|tcc|go|rustc|ld|ld\.\w+|as|ar|make|cmake|meson|ninja)(-[\d.]+)?)$"
)
FORBIDDEN_LIBRARY = re.compile(r"^lib(perl|python[\d.]*|LLVM|clang|cc1|gccjit|bfd|opcodes)\b.*\.so")
FORBIDDEN_SUFFIX = (".a", ".o", ".la", ".h", ".hpp", ".c", ".pc", ".map")
STORE_DEV = re.compile(r"^/nix/store/[^/]*-dev(/|$)")
BUILD_PATH = re.compile(rb"/nix-build-[\w.-]|/build/source\b|/tmp/[\w.-]*build[\w.-]*/")


class Refused(Exception):
    pass


def check(entries: list[layer.Entry], own_programs: set[str], compressed: int, bound: int) -> None:
    """own_programs are the paths of the programs that this repository builds. Sizes in bytes."""
    reasons = []
    for entry in entries:
        if entry.is_file:
            reasons += [f"{entry.path}: {reason}" for reason in _reasons(entry, entry.path in own_programs)]
    if compressed > bound:
        reasons.append(f"compressed, the image has {compressed} bytes; its bound is {bound} (nix/bounds.nix)")
    if reasons:
        raise Refused("the closure guard refuses the image:\n  " + "\n  ".join(reasons))


def _reasons(entry: layer.Entry, own: bool):
    name = os.path.basename(entry.path)
    data = entry.read()
    origins = {str(entry.source), str(entry.source.resolve())} if entry.source else set()
    names = {name} | {os.path.basename(origin) for origin in origins}
    if any(FORBIDDEN_PROGRAM.match(n) for n in names):
        yield "a shell, an interpreter or a compiler"
    if any(FORBIDDEN_LIBRARY.match(n) for n in names):
        yield "a library of an interpreter or a compiler"
    if name.endswith(FORBIDDEN_SUFFIX):
        yield "of use only to a build"
    if any(STORE_DEV.match(path) for path in {entry.path, *origins}):
        yield "from a development output"
    if data[:2] == b"#!":
        yield "a script: there is nothing to run it"
    if entry.mode & 0o111 and data[:4] != b"\x7fELF":
        yield "executable, but not a program"
    if entry.mode & 0o222 or entry.mode & 0o7000:
        yield f"mode {entry.mode:o}"
    if own and BUILD_PATH.search(data):
        yield "contains a path of the build"


def missing(program: pathlib.Path, root: pathlib.Path) -> list[str]:
    """What a program inside root would not find there."""
    try:
        elf.libraries(program, root)
    except elf.NotFound as error:
        return [str(error)]
    return []
