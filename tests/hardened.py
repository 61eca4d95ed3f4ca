"""hardened -- whether a program was linked and compiled as meson.build hardens it, by what readelf shows of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

# Landing pads of indirect jumps: each function that is not static begins with one. Start files of the C library alone
# have fewer than ten.
LANDING_PADS = {"X86-64": (b"\xf3\x0f\x1e\xfa", "-fcf-protection"), "AArch64": (b"\x5f\x24\x03\xd5", "BTI")}
PADS_MIN = 50


def readelf(option: str, program: Path) -> str:
    command = ["readelf", "--wide", option, str(program)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def landing_pads(program: Path, header: str) -> list[str]:
    for machine, (pad, name) in LANDING_PADS.items():
        if machine in header and program.read_bytes().count(pad) < PADS_MIN:
            return [f"no landing pads: not compiled with {name}"]
    return []


def faults(program: Path) -> list[str]:
    header = readelf("--file-header", program)
    segments = readelf("--program-headers", program)
    dynamic = readelf("--dynamic", program)
    symbols = set(re.findall(r" (\w+)@", readelf("--dyn-syms", program)))
    stack = re.search(r"^ *GNU_STACK .*", segments, re.MULTILINE)
    wrong = {
        "not position independent (PIE)": not re.search(r"Type: +DYN", header) or "PIE" not in dynamic,
        "no RELRO segment": "GNU_RELRO" not in segments,
        "symbols are bound lazily: RELRO is not full": not re.search(r"BIND_NOW|FLAGS.*\bNOW\b", dynamic),
        "its stack is executable": stack is None or "RWE" in stack[0],
        "a segment is writable and executable": bool(re.search(r"^ *LOAD .* RWE ", segments, re.MULTILINE)),
        "no stack protector": "__stack_chk_fail" not in symbols,
        "no function that _FORTIFY_SOURCE checks": not any(re.fullmatch(r"__\w+_chk", name) for name in symbols),
        "it has a path to search for libraries that anybody may write to": bool(
            re.search(r"\((?:RPATH|RUNPATH)\).*\[(?!/nix/store/|/lib|/usr/lib|\$ORIGIN/\.\./lib)", dynamic)
        ),
    }
    return [what for what, is_so in wrong.items() if is_so] + landing_pads(program, header)
