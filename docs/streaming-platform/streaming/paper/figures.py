"""Figures that no model computes: design choices, cited facts and assumptions, each with its basis, from figures.toml.

Every figure in the text stands between markers, so that a figure has one home. `unmarked` finds those that do not.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from .links import prose

# Digits that are part of a name and not a figure; the four stages are named by their subscribers.
NAMES = re.compile(
    r"""
    \b[SPFRQ]\d+\b | \b(100,000|1\ million|10\ million|250\ million)\b | ^\s*\d+\.\s
    | \b(270|480|720|1080|2160)p\b | \bAV1\b | \bH\.26[45] | \bh2o\b | \bC4\b | \b[lL]evel\ [12]\b | \bArgon2id\b
    | \bHTTP/\d | \bRFC\ \d+ | \bTLS\ 1\.3 | \b3-D\ Secure | \bcamt\.053 | \bIFRS\ 15 | \bB3[48]\b | \bIAS\ 21 | \bIFRIC\ 22 | \bASC\ 606 | \bWCAG\s+2\.2
    | \bISO/IEC\s+[\d-]+ | \(EU\)\s+\d+/\d+ | \b2002/58/EC | \b16\s+CFR\s+312 | \b18\s+U\.S\.C\.\s+2710 | \b47\s+CFR\s+79
    | \bArticles?\s+\d+a? | \bv[12]\b
    """,
    re.VERBOSE | re.MULTILINE,
)
BASIS = re.compile(r"(design|assumption|S\d+|arithmetic: .+)")
PARTS = (
    r"<!--table:[\w-]+-->\n.*?<!--/table-->",
    r"<!--=[\w.-]+-->.*?<!--/-->",
    r"<[^>]*>",
    r"\]\([^)]*\)",
    r"`[^`\n]*`",
    r"https?://\S+",
)


def load(folder: Path) -> dict[str, str]:
    """Name to text. Raises ValueError for a figure without a basis."""
    out = {}
    for name, entry in tomllib.loads((folder / "figures.toml").read_text()).items():
        if set(entry) != {"text", "basis"} or not BASIS.fullmatch(entry["basis"]):
            raise ValueError(f"{name}: needs a text and a basis: {entry}")
        out[name] = str(entry["text"])
    return out


def unmarked(text: str) -> list[str]:
    """The lines of a page that hold a figure outside the markers."""
    rest = prose(text)
    for part in PARTS:
        rest = re.sub(part, lambda m: "\n" * m[0].count("\n") or "\u00a4", rest, flags=re.DOTALL)
    rest = NAMES.sub("\u00a4", rest)
    return [line.strip() for line in rest.splitlines() if re.search(r"\d", line)]


def problems(pages: list[Path]) -> list[str]:
    """Figures that stand in the text without a marker. The list of sources is left out: its figures are quotations."""
    return [
        f"{page.name}: no marker: {line}"
        for page in pages
        if page.name != "sources.md"
        for line in unmarked(page.read_text())
    ]
