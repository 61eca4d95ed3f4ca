"""Markdown files with generated parts.

A figure stands between <!--=name--> and <!--/-->, a table between <!--table:name--> and <!--/table-->. `fill` puts in
what the model says; a file is up to date when filling it changes nothing.
"""

from __future__ import annotations

import re
from pathlib import Path

VALUE = re.compile(r"<!--=([\w.]+)-->.*?<!--/-->", re.DOTALL)
TABLE = re.compile(r"<!--table:([\w-]+)-->\n.*?<!--/table-->", re.DOTALL)
OPENING = re.compile(r"<!--(=|table:)")


def markdown(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.md"))


def fill(text: str, values: dict[str, str], tables: dict[str, str]) -> str:
    """Raises KeyError for an unknown name, ValueError for a marker that is not closed."""
    if len(OPENING.findall(text)) != len(VALUE.findall(text)) + len(TABLE.findall(text)):
        raise ValueError("a marker is not closed or not well formed")
    text = VALUE.sub(lambda m: f"<!--={m[1]}-->{values[m[1]]}<!--/-->", text)
    return TABLE.sub(lambda m: f"<!--table:{m[1]}-->\n{tables[m[1]]}\n<!--/table-->", text)


def quoted(text: str) -> set[str]:
    """The names of the figures and tables that the text quotes; a scenario's figure without the scenario's name."""
    return {name.split(".")[-1] for name in VALUE.findall(text)} | set(TABLE.findall(text))
