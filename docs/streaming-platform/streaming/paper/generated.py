"""All generated files of the paper with the text they must have."""

from __future__ import annotations

import re
from pathlib import Path

from . import figures, slo
from .documents import fill, markdown, quoted
from .plots import images
from .results import Results
from .tables import tables
from .values import values


def unquoted(results: Results) -> list[str]:
    """Figures and tables that are computed and that no page shows."""
    shown = set().union(*(quoted(page.read_text()) for page in markdown(results.folder)))
    for source in (results.folder / "diagrams").iterdir():
        shown |= set(re.findall(r"\{=([\w.-]+)\}", source.read_text()))
    computed = [*values(results), *tables(results), *figures.load(results.folder)]
    return sorted({name.split(".")[-1] for name in computed} - shown)


def outputs(results: Results) -> dict[Path, str]:
    """Raises KeyError or ValueError where a page quotes what does not exist."""
    folder = results.folder
    out = {folder / "img" / name: text for name, text in images(results).items()}
    out |= {folder / name: text for name, text in slo.files(results.slos, results.thresholds).items()}
    out[folder / "alertmanager.json"] = slo.alertmanager()
    hand, computed, blocks = figures.load(folder), values(results), tables(results)
    if both := hand.keys() & computed.keys():
        raise ValueError(f"computed and written by hand: {sorted(both)}")
    for page in markdown(folder):
        out[page] = fill(page.read_text(), hand | computed, blocks)
    return out
