"""The release binaries are hardened: what meson.build asks for is in them (tests/hardened.py). tests/nix/test_images.py
has the same test for the programs of the images."""

import os
import subprocess
from pathlib import Path

import hardened
import pytest

ROOT = Path(__file__).resolve().parents[2]
RELEASE = Path(os.environ.get("SLIPWAY_RELEASE", ROOT / "build-release"))
SERVICES = sorted(main.parent.name for main in ROOT.glob("src/*/main.c"))
# What each flag that is left out looks like.
SOFTENED = {
    "not position independent (PIE)": ["-fno-pie", "-no-pie"],
    "symbols are bound lazily: RELRO is not full": ["-Wl,-z,lazy"],
    "no RELRO segment": ["-Wl,-z,norelro"],
    "its stack is executable": ["-Wl,-z,execstack"],
    "no stack protector": ["-fno-stack-protector"],
    "no function that _FORTIFY_SOURCE checks": ["-U_FORTIFY_SOURCE"],
}
PROGRAM = """#include <stdio.h>
int main(int argc, char **argv) { char name[8]; snprintf(name, argc, "%s", argv[0]); return puts(name); }
"""
HARD = ["-O2", "-D_FORTIFY_SOURCE=3", "-fstack-protector-strong", "-fPIE", "-pie", "-Wl,-z,relro,-z,now,-z,noexecstack"]

pytestmark = pytest.mark.limited  # with the release binaries


@pytest.mark.parametrize("service", SERVICES)
def test_release_binaries_are_hardened(service: str) -> None:
    assert hardened.faults(RELEASE / service) == []


@pytest.mark.parametrize("fault", [None, *SOFTENED])
def test_what_is_not_hardened_is_found(tmp_path: Path, fault: str | None) -> None:
    source, program = tmp_path / "p.c", tmp_path / "p"
    source.write_text(PROGRAM)
    flags = HARD + (SOFTENED[fault] if fault else [])
    subprocess.run(["gcc", *flags, str(source), "-o", str(program)], check=True, capture_output=True)
    pads = "no landing pads: not compiled with "  # so small a program has few
    found = [one for one in hardened.faults(program) if not one.startswith(pads)]
    assert found == ([fault] if fault else [])
