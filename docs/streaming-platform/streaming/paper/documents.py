"""Markdown files with generated parts.

A figure stands between <!--=name--> and <!--/-->, a table between <!--table:name--> and <!--/table-->. `fill` puts in
what the model says; a file is up to date when filling it changes nothing. While writing, {=name} and {table:name} may
stand for the markers.
"""

from __future__ import annotations

import re
from pathlib import Path

VALUE = re.compile(r"<!--=([\w.-]+)-->.*?<!--/-->", re.DOTALL)
TABLE = re.compile(r"<!--table:([\w-]+)-->\n.*?<!--/table-->", re.DOTALL)
OPENING = re.compile(r"<!--(=|table:)")


def markdown(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.md"), *folder.glob("appendix/*.md")])


def body(folder: Path) -> list[Path]:
    """The pages that are read from beginning to end; the appendix is looked things up in."""
    return sorted(folder.glob("*.md"))


# What the pages of the body had in words before they were shortened, and what is left to a reader.
WORDS_BEFORE = 17_503
MEMO_WORDS = 1_100  # two printed pages


def too_long(pages: list[Path]) -> list[str]:
    """Whether the body is longer than two thirds of what it was, or the memo longer than two pages."""
    words = {page.name: len(page.read_text().split()) for page in pages}
    limit, total = WORDS_BEFORE * 2 // 3, sum(words.values())
    memo = len(page_memo(pages).split())
    out = [f"{total} words, {limit} allowed: {words}"] if total > limit else []
    return out + ([f"the memo has {memo} words, {MEMO_WORDS} allowed"] if memo > MEMO_WORDS else [])


def page_memo(pages: list[Path]) -> str:
    """The memo: the first page up to its list of contents."""
    return next(page for page in pages if page.name == "README.md").read_text().partition("\n## Contents")[0]


def fill(text: str, values: dict[str, str], tables: dict[str, str]) -> str:
    """Raises KeyError for an unknown name, ValueError for a marker that is not closed."""
    text = re.sub(r"\{=([\w.-]+)\}", r"<!--=\1-->?<!--/-->", text)
    text = re.sub(r"^\{table:([\w-]+)\}$", r"<!--table:\1-->\n<!--/table-->", text, flags=re.MULTILINE)
    if len(OPENING.findall(text)) != len(VALUE.findall(text)) + len(TABLE.findall(text)):
        raise ValueError("a marker is not closed or not well formed")
    text = VALUE.sub(lambda m: f"<!--={m[1]}-->{values[m[1]]}<!--/-->", text)
    return TABLE.sub(lambda m: f"<!--table:{m[1]}-->\n{tables[m[1]]}\n<!--/table-->", text)


def quoted(text: str) -> set[str]:
    """The names of the figures and tables that the text quotes; a scenario's figure without the scenario's name."""
    return {name.split(".")[-1] for name in VALUE.findall(text)} | set(TABLE.findall(text))
