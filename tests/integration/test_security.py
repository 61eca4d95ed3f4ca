"""Each claim of SECURITY.md names a test that exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()
NAMED = re.compile(r"`(tests/[\w/.-]+)(?:::([\w.]+))?`")


def claims(text: str) -> Iterator[str]:
    """The list items of the sections below "Threat model"."""
    model = text.partition("\n## Threat model\n")[2].partition("\n## ")[0]
    for section in re.split(r"^### .*$", model, flags=re.MULTILINE)[1:]:
        yield from re.findall(r"^- (.*(?:\n  .*)*)", section, re.MULTILINE)


def is_there(path: str, name: str) -> bool:
    file = ROOT / path
    if not file.is_file():
        return False
    if path.startswith("tests/fuzz/"):
        return name == "" and any((ROOT / "tests/fuzz/corpus" / file.stem.removeprefix("fuzz_")).iterdir())
    if file.suffix == ".c":
        suite, _, test = name.partition(".")
        return bool(
            re.search(
                rf"^(?:Parameterized)?Test\({suite}, {test}\b|, {suite}, {test}\)", file.read_text(), re.MULTILINE
            )
        )
    return bool(name) and re.search(rf"^def {name}\(", file.read_text(), re.MULTILINE) is not None


def wrong(text: str) -> list[str]:
    unproven = [claim for claim in claims(text) if not NAMED.search(claim)]
    return unproven + [f"{path}::{name}" for path, name in NAMED.findall(text) if not is_there(path, name)]


def test_every_claim_names_a_test_that_exists() -> None:
    assert len(list(claims(TEXT))) > 30
    assert wrong(TEXT) == []


def test_every_fuzzer_is_named() -> None:
    there = {f"tests/fuzz/{file.name}" for file in ROOT.glob("tests/fuzz/fuzz_*.c")}
    assert there == {path for path, _ in NAMED.findall(TEXT) if path.startswith("tests/fuzz/")}


@pytest.mark.parametrize(
    "item",
    [
        "- Nothing shows it.",
        "- A file that is not there: `tests/unit/test_nothing.c::a.b`.",
        "- A test of C that is not there: `tests/unit/test_http.c::http.nothing`.",
        "- One of Python: `tests/integration/test_demo.py::test_nothing`.",
        "- A file without a test: `tests/integration/test_demo.py`.",
        "- A fuzzer: `tests/fuzz/fuzz_nothing.c`.",
    ],
)
def test_a_claim_without_its_test_is_found(item: str) -> None:
    assert len(wrong(f"\n## Threat model\n\n### Public HTTP\n\n{item}\n")) == 1


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", TEXT):
        assert (ROOT / link).exists(), link
