"""What a dynamic program asks its loader for, and where the loader finds it: ldd without running anything, for any
64-bit little-endian architecture."""

import dataclasses
import os
import pathlib
import struct

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 1, 5, 15, 29
TRIPLETS = {62: "x86_64-linux-gnu", 183: "aarch64-linux-gnu"}


@dataclasses.dataclass
class Elf:
    machine: int
    interpreter: str | None
    needed: list[str]
    search: list[str]  # RUNPATH or RPATH


class NotFound(Exception):
    pass


def is_elf(path: pathlib.Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def read(path: pathlib.Path) -> Elf:
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path}: not a 64-bit little-endian ELF file")
    (machine,) = struct.unpack_from("<H", data, 18)
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]
    elf = Elf(machine, None, [], [])
    for kind, _, start, _, _, length, _, _ in segments:
        if kind == PT_INTERP:
            elf.interpreter = data[start : start + length].rstrip(b"\0").decode()
        elif kind == PT_DYNAMIC:
            _read_dynamic(data, segments, start, length, elf)
    return elf


def _read_dynamic(data: bytes, segments: list, start: int, length: int, elf: Elf) -> None:
    entries = [struct.unpack_from("<qQ", data, start + i * 16) for i in range(length // 16)]
    tables = [value for tag, value in entries if tag == DT_STRTAB]
    if not tables:
        return
    strings = _file_offset(segments, tables[0])

    def text(value: int) -> str:
        begin = strings + value
        return data[begin : data.index(b"\0", begin)].decode()

    elf.needed = [text(value) for tag, value in entries if tag == DT_NEEDED]
    for kind in (DT_RPATH, DT_RUNPATH):  # RUNPATH hides RPATH
        for tag, value in entries:
            if tag == kind:
                elf.search = [folder for folder in text(value).split(":") if folder]


def _file_offset(segments: list, address: int) -> int:
    for kind, _, start, base, _, length, _, _ in segments:
        if kind == PT_LOAD and base <= address < base + length:
            return start + address - base
    raise ValueError("an address outside of every segment")


def libraries(program: pathlib.Path, root: pathlib.Path = pathlib.Path("/"), preferred: list[str] = ()) -> dict:
    """The loader and every library that program loads: {path where the loader looks for it: file that is there}.

    root is where the file system of the program begins. A file of the same name in a preferred folder stands in for
    what is found. Raises NotFound for what is missing."""
    main = read(program)
    if main.interpreter is None:
        return {}
    loader = _inside(root, main.interpreter)
    if not loader.exists():
        raise NotFound(f"{program}: no loader {main.interpreter}")
    defaults = [os.path.dirname(main.interpreter)]
    triplet = TRIPLETS.get(main.machine)
    defaults += [f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib", "/usr/lib", "/lib64"]
    found = {main.interpreter: loader}
    known = {os.path.basename(main.interpreter)}
    waiting = [(str(program), main)]
    while waiting:
        asker, elf = waiting.pop(0)
        origin = os.path.dirname(asker)
        search = [folder.replace("$ORIGIN", origin).replace("${ORIGIN}", origin) for folder in elf.search] + defaults
        for name in elf.needed:
            if name in known:
                continue
            known.add(name)
            at, file = _find(name, search, root, asker)
            file = next((p for p in (pathlib.Path(f) / name for f in preferred) if p.exists()), file)
            found[at] = file
            waiting.append((at, read(file)))
    return found


def _find(name: str, search: list[str], root: pathlib.Path, asker: str) -> tuple[str, pathlib.Path]:
    for folder in search:
        at = os.path.normpath(os.path.join(folder, name))
        if _inside(root, at).exists():
            return at, _inside(root, at)
    raise NotFound(f"{asker}: needs {name}, which is in none of {', '.join(search)}")


def _inside(root: pathlib.Path, path: str) -> pathlib.Path:
    return root / path.lstrip("/")
