"""report -- the results of bench peers as a Markdown table, as a picture, and as ratios of CPU time.

Results are {"what": "rpc" or "http", "own": NAME, "names": [NAME...], "conditions": TEXT, "rounds": [{NAME: {MEASURE: FIGURE}}...]}.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Row:
    measure: str
    text: str
    form: str
    goals: dict[str, str] = field(default_factory=dict)  # beside a peer


def median(results: Results, name: str, measure: str) -> float:
    return statistics.median(r[name][measure] for r in results["rounds"])


def ratio(results: Results, measure: str, peer: str) -> float | None:
    """Of our figure to the peer's, the median of all rounds; None where the peer has none."""
    own = results["own"]
    ratios = [r[own][measure] / r[peer][measure] for r in results["rounds"] if r[peer][measure] > 0]
    return statistics.median(ratios) if ratios else None


# ---- the table ----


def table(results: Results, rows: list[Row]) -> str:
    peers = [name for name in results["names"] if name != results["own"]]
    goal = " (goal)" if any(row.goals for row in rows) else ""
    lines = [
        "| measure | " + " | ".join(results["names"]) + " | " + " | ".join(f"to {peer}{goal}" for peer in peers) + " |",
        "|---|" + "---|" * (len(results["names"]) + len(peers)),
    ]
    for row in rows:
        cells = [row.form.format(median(results, name, row.measure)) for name in results["names"]]
        for peer in peers:
            value = ratio(results, row.measure, peer)
            wanted = f" ({row.goals[peer]})" if peer in row.goals else ""
            cells.append(("-" if value is None else f"{value:.2f}") + wanted)
        lines.append(f"| {row.text} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def replaced(document: str, name: str, text: str) -> str:
    """The document with that text between its marks, which are comments of Markdown."""
    marks = re.compile(rf"(<!-- BEGIN measured: {re.escape(name)} -->\n).*?(<!-- END measured -->\n)", re.DOTALL)
    if len(marks.findall(document)) != 1:
        raise ValueError(f"the document does not have exactly one part BEGIN measured: {name}")
    return marks.sub(lambda found: found[1] + "\n" + text.strip() + "\n\n" + found[2], document)


# ---- the picture: a panel a measure, a bar a server ----

PANEL_WIDTH, PANEL_HEIGHT, COLUMNS = 480, 150, 2
LABEL, BAR, STEP, TOP = 110, 18, 26, 34
STYLE = """<style>
text { fill: #24292f } .card { fill: #ffffff } .own { fill: #0b6bcb } .peer { fill: #9aa7b4 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .card { fill: #0d1117 } .own { fill: #4aa3ff } .peer { fill: #57606a } }
</style>"""


def panel(results: Results, row: Row, left: int, top: int) -> Iterator[str]:
    values = {name: median(results, name, row.measure) for name in results["names"]}
    largest = max(values.values()) or 1
    yield f'<text x="{left}" y="{top + 16}" font-weight="bold">{escape(row.text)}</text>'
    for i, (name, value) in enumerate(values.items()):
        y = top + TOP + i * STEP
        width = max((PANEL_WIDTH - LABEL - 90) * value / largest, 1)
        kind = "own" if name == results["own"] else "peer"
        yield f'<text x="{left + LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
        yield f'<rect class="{kind}" x="{left + LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>'
        yield f'<text x="{left + LABEL + width + 6:.1f}" y="{y + 13}">{escape(row.form.format(value))}</text>'


def picture(results: Results, rows: list[Row], title: str) -> str:
    lines = -(-len(rows) // COLUMNS)
    width, height = PANEL_WIDTH * COLUMNS, 40 + PANEL_HEIGHT * lines
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        STYLE,
        f'<rect class="card" width="{width}" height="{height}"/>',
        f'<text x="16" y="24" font-size="15">{escape(title)}</text>',
    ]
    for i, row in enumerate(rows):
        parts += panel(results, row, 16 + PANEL_WIDTH * (i % COLUMNS), 40 + PANEL_HEIGHT * (i // COLUMNS))
    return "\n".join([*parts, "</svg>"]) + "\n"


# ---- ratios of CPU time, and how they change from run to run ----


def cpu_ratios(results: Results) -> dict[str, float]:
    """Of all measures of CPU time, to each peer: "http: h1 cpu to axum"."""
    own = results["own"]
    measures = [measure for measure in results["rounds"][0][own] if measure.endswith(" cpu")]
    peers = [name for name in results["names"] if name != own]
    found = {f"{results['what']}: {m} to {peer}": ratio(results, m, peer) for m in measures for peer in peers}
    return {name: round(value, 4) for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Change:
    name: str
    before: float | None  # the median of earlier runs
    now: float

    @property
    def part(self) -> float:
        return 0 if self.before is None else self.now / self.before - 1


def changes(history: list[dict[str, float]], now: dict[str, float]) -> list[Change]:
    """Each ratio beside its median in these earlier runs."""
    former = {name: [one[name] for one in history if name in one] for name in now}
    return [
        Change(name, statistics.median(former[name]) if former[name] else None, value) for name, value in now.items()
    ]
