"""Service level objectives: read from slo.toml, turned into a table, error budgets and Prometheus alert rules."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

WINDOW_DAYS = 30
# Burn rate, long window, short window, severity (S17).
BURNS = (
    (14.4, "1h", "5m", "page"),
    (6.0, "6h", "30m", "page"),
    (3.0, "1d", "2h", "ticket"),
    (1.0, "3d", "6h", "ticket"),
)
LEAST_BAD = 10  # bad events in the long window before anybody is called: three in a quiet night are no outage
HOURS = {"5m": 1 / 12, "30m": 0.5, "1h": 1, "2h": 2, "6h": 6, "1d": 24, "3d": 72}


@dataclass(frozen=True)
class Slo:
    id: str
    journey: str
    owner: str
    objective: float
    promise: str
    good: str
    total: str
    page: bool

    @property
    def budget(self) -> float:
        return 1 - self.objective

    @property
    def budget_minutes(self) -> float:
        """Minutes of total outage a month that spend the budget."""
        return self.budget * WINDOW_DAYS * 24 * 60


def load(folder: Path) -> list[Slo]:
    """Raises TypeError for an unknown or missing key, ValueError for a nonsensical objective or a doubled id."""
    slos = [Slo(**item) for item in tomllib.loads((folder / "slo.toml").read_text())["slo"]]
    if len({s.id for s in slos}) != len(slos):
        raise ValueError("an id is used twice")
    for slo in slos:
        if not 0.5 < slo.objective < 1:
            raise ValueError(f"{slo.id}: objective {slo.objective}")
    return slos


def minutes_to_page(slo: Slo, error_share: float) -> float | None:
    """Minutes until a paging rule fires when this share of requests starts to fail; None if none ever does."""
    times = []
    for burn, long, short, severity in BURNS:
        threshold = burn * slo.budget
        if severity == "page" and error_share >= threshold:
            times.append(max(HOURS[long], HOURS[short]) * threshold / error_share * 60)
    return min(times, default=None)


def rules(slos: list[Slo]) -> str:
    """The alert rules as YAML, written by hand because the standard library has no YAML."""
    out = ["# Generated from slo.toml by ./generate: burn rates over two windows each, and absence.", "groups:"]
    for slo in slos:
        out += [f"  - name: {slo.id}", "    rules:"]
        for burn, long, short, severity in BURNS:
            level = severity if slo.page else "ticket"
            error = [f"(1 - {_good('rate', slo, w)} / sum(rate({slo.total}[{w}])))" for w in (long, short)]
            limit = f"{burn * slo.budget:.6g}"
            bad = f"sum(increase({slo.total}[{long}])) - {_good('increase', slo, long)} >= {LEAST_BAD}"
            expression = f"{error[0]} > {limit} and {error[1]} > {limit} and {bad}"
            what = f"the budget of {slo.id} burns {burn:g} times too fast"
            out += _rule(slo, f"Burn{long}", expression, level, what)
        if slo.page:
            out += _rule(slo, "Absent", _absence(slo), "page", "less than half of what it was a week ago")
    return "\n".join(out) + "\n"


def _good(function: str, slo: Slo, window: str) -> str:
    """A client library exports a labelled counter from its first increment on: no series means no good event."""
    return f"(sum({function}({slo.good}[{window}])) or vector(0))"


def _absence(slo: Slo) -> str:
    """A ratio of nothing is nothing and never alerts, so journeys are also held against the same hour a week ago."""
    now, then = f"(sum(rate({slo.total}[10m])) or vector(0))", f"{slo.total}[10m] offset 1w"
    return f"{now} < 0.5 * sum(rate({then})) and sum(increase({then})) > 1000"


def _rule(slo: Slo, suffix: str, expression: str, severity: str, what: str) -> list[str]:
    return [
        f"      - alert: {''.join(p.capitalize() for p in slo.id.split('-'))}{suffix}",
        f"        expr: {expression}",
        "        labels:",
        f"          severity: {severity}",
        f"          owner: {slo.owner.lower()}",
        "        annotations:",
        f"          summary: '{slo.journey}: {what}'",
    ]
