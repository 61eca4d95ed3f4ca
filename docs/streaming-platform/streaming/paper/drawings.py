"""Whether the diagrams agree: every participant of a flow is a box of the container diagram or stands outside it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from ..draw import sequence
from .figures import unmarked

OUTSIDE = ("person", "agent", "on-call", "bank", "studio", "friend", "region", "all services")


def boxes(source: Path) -> str:
    """The words of a block diagram, in lower case."""
    spec = tomllib.loads(source.read_text())
    return " | ".join(b["text"] for b in [*spec["box"], *spec.get("group", [])]).lower()


def problems(folder: Path) -> list[str]:
    diagrams = folder / "diagrams"
    drawn = boxes(diagrams / "containers.toml")
    out = []
    for source in sorted(diagrams.glob("*.mmd")):
        for name in sequence.parse(source.read_text()).names.values():
            plain = name.lower()
            if plain not in drawn and not any(word in plain for word in OUTSIDE):
                out.append(f"{source.name}: {name} is not in the container diagram")
        for step in sequence.parse(source.read_text()).steps:
            out += [f"{source.name}: no marker: {line}" for line in unmarked(re.sub(r"\{=[\w.-]+\}", "_", step.text))]
    for source in sorted(diagrams.glob("*.toml")):
        words = re.sub(r"\{=[\w.-]+\}", "_", tomllib.loads(source.read_text())["title"] + " | " + boxes(source))
        out += [f"{source.name}: no marker: {line}" for line in unmarked(words.replace(" | ", "\n"))]
    regions = boxes(diagrams / "regions.toml")
    return out + [
        f"the regions do not show: {word}" for word in ("synchronous standby", "witness") if word not in regions
    ]
