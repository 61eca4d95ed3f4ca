"""Service level objectives: read from slo.toml, turned into tables, runbooks, recording rules and alert rules."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
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
NO_DATA_MIN = 15  # how long a counter may be missing
USUAL = 1_000  # events in ten minutes a week ago: a slice that usually counts
HEARD = 100  # events a week ago that make silence meaningful
SILENT_WINDOWS = ("10m", "1h", "6h", "1d")  # the first of them with that many events is the one that is watched
SLICE = "country, device"
SLICE_RATIO, SLICE_BAD, SLICE_MANY = 0.25, 50, 250  # a slice counts from this share and number; pages from the third
RUNBOOKS = "docs/streaming-platform/appendix/runbooks.md"


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
    steps: tuple[str, ...] = field(default=())
    sliced: bool = False  # watched for each country and device class as well
    burns: bool = True  # enough events for burn rates
    outside: bool = False  # a second provider counts and pages

    @property
    def budget(self) -> float:
        return 1 - self.objective

    @property
    def budget_minutes(self) -> float:
        """Minutes of total outage a month that spend the budget."""
        return self.budget * WINDOW_DAYS * 24 * 60

    @property
    def severity(self) -> str:
        return "page" if self.page else "ticket"

    @property
    def shown(self) -> str:
        """How the table of objectives names the alert."""
        return "page, outside" if self.outside else self.severity

    @property
    def alert(self) -> str:
        return "".join(part.capitalize() for part in self.id.split("-"))


def load(folder: Path) -> list[Slo]:
    """Raises TypeError for an unknown or missing key, ValueError for a nonsensical objective, a doubled id, no runbook."""
    slos = [Slo(**item) for item in tomllib.loads((folder / "slo.toml").read_text())["slo"]]
    if len({s.id for s in slos}) != len(slos):
        raise ValueError("an id is used twice")
    for slo in slos:
        if not 0.5 < slo.objective < 1:
            raise ValueError(f"{slo.id}: objective {slo.objective}")
        if not slo.steps:
            raise ValueError(f"{slo.id}: the runbook has no steps")
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
    """The rules as YAML, written by hand because the standard library has no YAML."""
    out = [
        "# Generated from slo.toml by ./generate: recording rules, burn rates over two windows, silence, slices.",
        "groups:",
    ]
    for slo in slos:
        out += [f"  - name: {slo.id}", "    rules:"]
        out += [line for name, expression in _recordings(slo) for line in _record(slo, name, expression)]
        out += [line for rule in _alerts(slo) for line in rule]
    return "\n".join(out) + "\n"


def _good(slo: Slo, function: str, window: str, by: str) -> str:
    """What was good; zero where there are attempts and no counter of good ones, as in a total failure."""
    return f"(sum by ({by}) ({function}({slo.good}[{window}])) or 0 * {_total(slo, function, window, by)})"


def _total(slo: Slo, function: str, window: str, by: str, then: str = "") -> str:
    return f"sum by ({by}) ({function}({slo.total}[{window}]{then}))"


def _recordings(slo: Slo) -> Iterator[tuple[str, str]]:
    for window in HOURS:
        parts = _good(slo, "rate", window, "region"), _total(slo, "rate", window, "region")
        yield f"slo:error_ratio:rate{window}", f"1 - {parts[0]} / {parts[1]}"
    for _, long, _, _ in BURNS:
        parts = _total(slo, "increase", long, "region"), _good(slo, "increase", long, "region")
        yield f"slo:bad:increase{long}", f"{parts[0]} - {parts[1]}"
    if slo.sliced:
        parts = _good(slo, "rate", "10m", SLICE), _total(slo, "rate", "10m", SLICE)
        yield "slo:slice_error_ratio:rate10m", f"1 - {parts[0]} / {parts[1]}"
        parts = _total(slo, "increase", "10m", SLICE), _good(slo, "increase", "10m", SLICE)
        yield "slo:slice_bad:increase10m", f"{parts[0]} - {parts[1]}"
        yield "slo:slice_usual:increase10m", _total(slo, "increase", "10m", SLICE, " offset 1w")


def _alerts(slo: Slo) -> Iterator[list[str]]:
    of = f'{{slo="{slo.id}"}}'
    for burn, long, short, severity in BURNS if slo.burns else ():
        limit = f"{burn * slo.budget:.6g}"
        ratios = " and ".join(f"slo:error_ratio:rate{window}{of} > {limit}" for window in (long, short))
        expression = f"{ratios} and slo:bad:increase{long}{of} >= {LEAST_BAD}"
        what = f"the budget of {slo.id} burns {burn:g} times too fast in {{{{ $labels.region }}}}"
        yield _alert(slo, f"Burn{long}", expression, severity if slo.page else "ticket", what)
    drained = "unless on (region) steering_region_drained == 1"
    what = "less than half of what it was a week ago in {{ $labels.region }}"
    yield _alert(slo, "Silent", f"({_silence(slo, 'region')}) {drained}", slo.severity, what)
    what = "no data at all: neither the counter nor its past is there"
    yield _alert(slo, "NoData", f"absent({slo.total})", slo.severity, what, wait=f"{NO_DATA_MIN}m")
    if slo.sliced:
        bad = f"slo:slice_error_ratio:rate10m{of} > {SLICE_RATIO} and slo:slice_bad:increase10m{of} >= {SLICE_BAD}"
        many = f"(slo:slice_usual:increase10m{of} > {USUAL} or slo:slice_bad:increase10m{of} >= {SLICE_MANY})"
        where = "{{ $labels.device }} in {{ $labels.country }}"
        yield _alert(slo, "SliceFails", f"{bad} and {many}", slo.severity, f"a quarter fails for {where}")
        yield _alert(slo, "SmallSliceFails", f"{bad} unless {many}", "ticket", f"a quarter fails for {where}")
        what = f"less than half of what it was a week ago for {where}"
        yield _alert(slo, "SliceSilent", _silence(slo, SLICE), slo.severity, what)


def _silence(slo: Slo, by: str) -> str:
    """A ratio of nothing is nothing and never alerts, so journeys are also held against the same time a week ago.

    The window is the shortest in which enough was heard then, so that a small stage is watched as well.
    """
    parts, before = [], ""
    for window in SILENT_WINDOWS:
        then = _total(slo, "increase", window, by, " offset 1w")
        now = f"({_total(slo, 'increase', window, by)} or 0 * {then})"
        parts.append(f"({now} < 0.5 * {then} and {then} >= {HEARD}{before})")
        before = f" unless {then} >= {HEARD}"
    return " or ".join(parts)


def _record(slo: Slo, name: str, expression: str) -> list[str]:
    return [f"      - record: {name}", f"        expr: {expression}", "        labels:", f"          slo: {slo.id}"]


def _alert(slo: Slo, suffix: str, expression: str, severity: str, what: str, wait: str = "") -> list[str]:
    return [
        f"      - alert: {slo.alert}{suffix}",
        f"        expr: {expression}",
        *([f"        for: {wait}"] if wait else []),
        "        labels:",
        f"          severity: {severity}",
        f"          owner: {slo.owner.lower()}",
        f"          slo: {slo.id}",
        f"          runbook: {slo.id.lower()}",
        "        annotations:",
        f"          summary: '{slo.journey}: {what}'",
        f"          runbook_url: '{RUNBOOKS}#{slo.id.lower()}'",
    ]


def runbooks(slos: list[Slo]) -> str:
    """A section for each objective, where the alerts' runbook label points."""
    out = []
    for slo in slos:
        out += [f'<a id="{slo.id.lower()}"></a>', f"### {slo.id}: {slo.journey}", "", f"Owner: {slo.owner}.", ""]
        out += [f"{n}. {step}" for n, step in enumerate(slo.steps, 1)] + [""]
    return "\n".join(out).rstrip()
