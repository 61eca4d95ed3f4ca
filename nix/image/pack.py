"""pack.py PROGRAM OUT [PREFERRED...] -- compresses the libraries that PROGRAM loads, for layer.make to take."""

import pathlib
import sys

import elf
import layer


def main(program: str, out: str, *preferred: str) -> None:
    folder = pathlib.Path(out)
    folder.mkdir()
    for file in elf.libraries(pathlib.Path(program), preferred=list(preferred)).values():
        piece = layer.content(file.read_bytes())
        if len(piece) < layer.MEMBER:
            continue
        (folder / layer.member_name(piece)).write_bytes(layer.compress(piece))


if __name__ == "__main__":
    main(*sys.argv[1:])
