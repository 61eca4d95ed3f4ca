"""Objectives and thresholds: read from slo.toml, turned into tables, runbooks, recording rules and alert rules."""

from __future__ import annotations

import json
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
SCRAPE_S, EVALUATION_S, SEND_S = 15, 15, 10  # what a page takes besides: the next scrape, the next evaluation, sending
USUAL = 1_000  # events in ten minutes a week ago: a slice that usually counts
HEARD = 100  # events a week ago that make silence meaningful
HEARD_SLICE = 200  # for one of hundreds of slices, or chance alone would halve one now and then
SILENT_WINDOWS = ("10m", "1h", "6h", "1d")  # the first of them with that many events is the one that is watched
SILENT, IRREGULAR = 0.5, 0.1  # of last week's events; of those that follow the calendar or campaigns
SHARE_WINDOWS = ("1h", "6h", "1d", "7d")  # the same for the share of attempts that succeed
SHARE_EVALUATION_S = 300  # they read two weeks of samples
SHARE_FLOOR = 0.25  # a share below this alerts whatever it was the week before
FULL = 0.25  # free share of a volume above which a steep hour is no alert
EMPTY = 0.05  # free share of a volume below which it alerts, however slowly it fills
MISSED = "1d"  # how long a series that vanished is missed
SLICE_BAD, SLICE_MANY = 50, 250  # a slice counts from so many failures; with so many a small one pages as well
RUNBOOKS = "docs/streaming-platform/appendix/runbooks.md"
# Each stage loads its own file and those before it: what does not exist yet must not be missed.
STAGES = {"first": "alerts.rules.yml", "million": "alerts-million.rules.yml", "ten": "alerts-ten.rules.yml"}


@dataclass(frozen=True)
class Cut:
    """Labels by which an objective is watched in slices: a whole slice can fail inside a good average."""

    alert: str
    by: str
    ratio: float  # the share of failures from which a slice counts
    where: str
    drained: str = ""  # says that silence is wanted


CUTS = {
    "slice": Cut("Slice", "country, device", 0.25, "{{ $labels.device }} in {{ $labels.country }}"),
    "cdn": Cut("Cdn", "cdn", 0.10, "the CDN {{ $labels.cdn }}", "steering_cdn_drained"),  # steering away costs little
}


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
    cuts: tuple[str, ...] = ()  # names of CUTS
    per_day: float = 0.0  # events an account and day, assumed: what decides how soon ten of them are bad
    burns: bool = True  # enough events for burn rates
    outside: bool = False  # a second provider counts and pages
    begins: str = "first"  # the stage that counts it first
    irregular: bool = False  # follows the calendar or campaigns, so last week says little: Silent makes a ticket

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


# What a threshold does with its metric: the expression, given the labels and the limit.
KINDS = {
    "above": "max by ({by}) ({metric}) > {limit}",
    "differs": "max by ({by}) (abs({metric})) > {limit}",
    "age": "time() - max by ({by}) ({metric}) > {limit}",  # of the last success
    "ends": "min by ({by}) ({metric}) - time() < {limit}",
    # So many seconds from now; what has run out and stays at zero has no slope, so zero counts.
    "runs out": "min by ({by}) (predict_linear({metric}[1h], {limit})) <= 0",
    "share": "",  # of attempts that succeed, against the week before: see _share
}


@dataclass(frozen=True)
class Threshold:
    """What must not be exceeded, where no share of requests says it: a lag, an age, a difference, a prediction."""

    id: str
    what: str  # with {limit}
    owner: str
    metric: str
    kind: str
    by: tuple[str, ...]
    limit: float
    unit: str  # "s", or what is counted
    page: bool
    promised: tuple[str, ...]  # the places that promise it, page#anchor
    steps: tuple[str, ...]
    wait: str = ""
    figure: str = ""  # the name by which the text quotes the limit
    begins: str = "first"
    good: str = ""  # the counter of what succeeded, for a share
    least: int = 0  # attempts without which a share says nothing
    size: str = ""  # what "runs out" is a part of: no alert while more than FULL of it is left, always below EMPTY
    attempts: str = ""  # the counter of what "above" is a part of: no alert below `part` of an hour's attempts
    part: float = 0.0
    missed: tuple[str, ...] = ()  # labels of which one must not be missing, where series come and go; else `by`

    @property
    def severity(self) -> str:
        return "page" if self.page else "ticket"

    @property
    def alert(self) -> str:
        return "".join(part.capitalize() for part in self.id.split("-"))

    @property
    def shown(self) -> str:
        return self.what.replace("{limit}", span(self.limit) if self.unit == "s" else f"{self.limit:g} {self.unit}")

    @property
    def expression(self) -> str:
        if self.kind == "share":
            return _share(self)
        by = ", ".join(self.by)
        found = KINDS[self.kind].format(by=by, metric=self.metric, limit=f"{self.limit:g}")
        if self.size:
            left = f"min by ({by}) ({self.metric} / {self.size})"
            return f"({found} and {left} < {FULL}) or {left} < {EMPTY}"
        if self.attempts:  # without the counter the limit alone decides
            few = f"{self.part:g} * sum by ({by}) (increase({self.attempts}[1h]))"
            return f"{found} unless max by ({by}) ({self.metric}) <= {few}"
        return found

    @property
    def watched(self) -> tuple[str, ...]:
        """The labels of which one must not be missing."""
        return self.missed or self.by

    @property
    def missing(self) -> str:
        """Series that were there in the last day and are not; or none at all, whatever was before."""
        by = ", ".join(self.watched)
        gone = f"max by ({by}) (last_over_time({self.metric}[{MISSED}])) unless max by ({by}) ({self.metric})"
        return f"({gone}) or absent({self.metric})"


def _share(t: Threshold) -> str:
    """The share that succeeded in the shortest window with enough attempts, against that of the week before."""
    by = ", ".join(t.by)

    def total(window: str, then: str = "") -> str:
        return f"sum by ({by}) (increase({t.metric}[{window}]{then}))"

    def good(window: str, then: str = "") -> str:
        return f"(sum by ({by}) (increase({t.good}[{window}]{then})) or 0 * {total(window, then)})"

    before = good("7d", " offset 1w"), total("7d", " offset 1w")
    parts, shorter = [], ""
    for window in SHARE_WINDOWS:
        share, enough = f"{good(window)} / {total(window)}", f"{total(window)} >= {t.least}"
        low = f"({share} < {t.limit:g} * {before[0]} / {before[1]} or {share} < {SHARE_FLOOR})"
        parts.append(f"({low} and {enough}{shorter})")
        shorter += f" unless {enough}"
    return " or ".join(parts)


def span(seconds: float) -> str:
    """A time in the largest unit that leaves a whole number; days only from two on."""
    for unit, size, least in (("days", 86_400, 2), ("h", 3_600, 1), ("min", 60, 1)):
        if seconds % size == 0 and seconds >= least * size:
            return f"{seconds // size:g} {unit}"
    return f"{seconds:g} s"


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
        if not set(slo.cuts) <= CUTS.keys():
            raise ValueError(f"{slo.id}: cuts {slo.cuts}")
        if slo.begins not in STAGES:
            raise ValueError(f"{slo.id}: begins {slo.begins}")
        if slo.page and slo.per_day <= 0:
            raise ValueError(f"{slo.id} pages and does not say how many events there are")
    return slos


def load_thresholds(folder: Path) -> list[Threshold]:
    """Raises TypeError for an unknown or missing key, ValueError for an unknown kind, a doubled id, an empty list."""
    found = [Threshold(**item) for item in tomllib.loads((folder / "slo.toml").read_text())["threshold"]]
    if len({t.id for t in found}) != len(found):
        raise ValueError("an id is used twice")
    for t in found:
        if t.kind not in KINDS or not (t.by and t.steps and t.promised):
            raise ValueError(f"{t.id}: an unknown kind, or no labels, steps or promise")
        if t.begins not in STAGES or (t.kind == "share") != bool(t.good and t.least):
            raise ValueError(f"{t.id}: an unknown stage, or a share without its counter and least number")
        if bool(t.attempts) != (t.part > 0) or t.attempts and t.kind != "above":
            raise ValueError(f"{t.id}: a part of attempts needs both, and a limit above which it alerts")
    return found


def minutes_to_page(slo: Slo, error_share: float, accounts: float) -> float | None:
    """Minutes until a paging rule fires when this share of requests starts to fail; None if none ever does.

    `accounts` are those of the region, at the mean rate of a day.
    """
    bad_per_minute = accounts * slo.per_day / (24 * 60) * error_share
    times = []
    for burn, long, _, severity in BURNS:
        threshold, minutes = burn * slo.budget, HOURS[long] * 60
        if severity == "page" and error_share > threshold and bad_per_minute * minutes >= LEAST_BAD:
            times.append(max(minutes * threshold / error_share, LEAST_BAD / bad_per_minute))
    return min(times) + (SCRAPE_S + EVALUATION_S + SEND_S) / 60 if times else None


def minutes_to_page_lost(thresholds: list[Threshold], id_: str) -> float:
    """Minutes until the probe from outside pages for a region that is lost together with its counters."""
    probe = next(t for t in thresholds if t.id == id_)
    return (probe.limit + SCRAPE_S + EVALUATION_S + SEND_S) / 60


def files(slos: list[Slo], thresholds: list[Threshold]) -> dict[str, str]:
    """The rules that each stage adds, by the name of their file."""
    return {
        name: rules([s for s in slos if s.begins == stage], [t for t in thresholds if t.begins == stage], stage)
        for stage, name in STAGES.items()
    }


def rules(slos: list[Slo], thresholds: list[Threshold], stage: str = "first") -> str:
    """The rules as YAML, written by hand because the standard library has no YAML."""
    out = [
        "# Generated from slo.toml by ./generate: recording rules, burn rates over two windows, silence, slices,",
        f"# thresholds. What the stage '{stage}' adds; a stage loads the files of the stages before it as well.",
        "groups:",
    ]
    for slo in slos:
        out += _group(slo.id)
        out += [line for name, expression in _recordings(slo) for line in _record(slo, name, expression)]
        out += [line for rule in _alerts(slo) for line in rule]
    weekly = [t for t in thresholds if t.kind == "share"]
    for name, group, every in (
        (THRESHOLDS, [t for t in thresholds if t not in weekly], EVALUATION_S),
        (SHARES, weekly, SHARE_EVALUATION_S),
    ):
        out += _group(name if stage == "first" else f"{name}-{stage}", every) if group else []
        out += [line for threshold in group for line in _thresholds(threshold)]
    return "\n".join(out) + "\n"


THRESHOLDS, SHARES = "thresholds", "shares"


def _group(name: str, every: int = EVALUATION_S) -> list[str]:
    return [f"  - name: {name}", f"    interval: {every}s", "    rules:"]


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
    for name in slo.cuts:
        by = CUTS[name].by
        parts = _good(slo, "rate", "10m", by), _total(slo, "rate", "10m", by)
        yield f"slo:{name}_error_ratio:rate10m", f"1 - {parts[0]} / {parts[1]}"
        parts = _total(slo, "increase", "10m", by), _good(slo, "increase", "10m", by)
        yield f"slo:{name}_bad:increase10m", f"{parts[0]} - {parts[1]}"
        yield f"slo:{name}_usual:increase10m", _total(slo, "increase", "10m", by, " offset 1w")


def _alerts(slo: Slo) -> Iterator[list[str]]:
    of = f'{{slo="{slo.id}"}}'
    for burn, long, short, severity in BURNS if slo.burns else ():
        limit = f"{burn * slo.budget:.6g}"
        ratios = " and ".join(f"slo:error_ratio:rate{window}{of} > {limit}" for window in (long, short))
        expression = f"{ratios} and slo:bad:increase{long}{of} >= {LEAST_BAD}"
        what = f"the budget of {slo.id} burns at {burn:g} times the allowed rate in {{{{ $labels.region }}}}"
        yield _alert(slo, f"Burn{long}", expression, severity if slo.page else "ticket", what)
    what = f"less than {_part(slo)} of what it was a week ago in {{{{ $labels.region }}}}"
    severity = "ticket" if slo.irregular else slo.severity
    yield _alert(slo, "Silent", _silence(slo, "region", "steering_region_drained"), severity, what)
    what = "no data at all: the counter does not exist"
    yield _alert(slo, "NoData", f"absent({slo.total})", slo.severity, what, wait=f"{NO_DATA_MIN}m")
    for name in slo.cuts:
        cut, few = CUTS[name], f"slo:{name}_bad:increase10m{of}"
        bad = f"slo:{name}_error_ratio:rate10m{of} > {cut.ratio} and {few} >= {SLICE_BAD}"
        many = f"(slo:{name}_usual:increase10m{of} > {USUAL} or {few} >= {SLICE_MANY})"
        what = f"more than {cut.ratio:.0%} fail for {cut.where}"
        yield _alert(slo, f"{cut.alert}Fails", f"{bad} and {many}", slo.severity, what)
        yield _alert(slo, f"Small{cut.alert}Fails", f"{bad} unless {many}", "ticket", what)
        what = f"less than half of what it was a week ago for {cut.where}"
        yield _alert(slo, f"{cut.alert}Silent", _silence(slo, cut.by, cut.drained, HEARD_SLICE), slo.severity, what)


def _part(slo: Slo) -> str:
    return "a tenth" if slo.irregular else "half"


def _silence(slo: Slo, by: str, drained: str = "", heard: int = HEARD) -> str:
    """A ratio of nothing is nothing and never alerts, so journeys are also held against the same time a week ago.

    The window is the shortest in which enough was heard then, so that a small stage is watched as well. Where traffic
    was moved on purpose within a window, it says nothing: of a part that was drained now, and of all parts if any was
    drained then, because the others had its traffic.
    """
    part, parts, before = IRREGULAR if slo.irregular else SILENT, [], ""
    for window in SILENT_WINDOWS:
        then = _total(slo, "increase", window, by, " offset 1w")
        now = f"({_total(slo, 'increase', window, by)} or 0 * {then})"
        moved = (
            f" unless on ({by}) max by ({by}) (max_over_time({drained}[{window}])) == 1"
            f" unless on () max(max_over_time({drained}[{window}] offset 1w)) == 1"
        )
        parts.append(f"({now} < {part} * {then} and {then} >= {heard}{before}{moved if drained else ''})")
        before += f" unless {then} >= {heard}"
    return " or ".join(parts)


def _record(slo: Slo, name: str, expression: str) -> list[str]:
    return [f"      - record: {name}", f"        expr: {expression}", "        labels:", f"          slo: {slo.id}"]


def _alert(slo: Slo, suffix: str, expression: str, severity: str, what: str, wait: str = "") -> list[str]:
    labels = {"severity": severity, "owner": slo.owner.lower(), "slo": slo.id, "runbook": slo.id.lower()}
    return _rule(slo.alert + suffix, expression, wait, labels, f"{slo.journey}: {what}")


def _thresholds(t: Threshold) -> list[str]:
    labels = {"severity": t.severity, "owner": t.owner.lower(), "threshold": t.id, "runbook": t.id.lower()}
    where, gone = (" ".join(f"{{{{ $labels.{label} }}}}" for label in names) for names in (t.by, t.watched))
    return [
        *_rule(t.alert, t.expression, t.wait, labels, f"{t.shown} ({where})"),
        *_rule(f"{t.alert}Missing", t.missing, f"{NO_DATA_MIN}m", labels, f"no data for: {t.shown} ({gone})"),
    ]


def _rule(name: str, expression: str, wait: str, labels: dict[str, str], summary: str) -> list[str]:
    return [
        f"      - alert: {name}",
        f"        expr: {expression}",
        *([f"        for: {wait}"] if wait else []),
        "        labels:",
        *(f"          {label}: {value}" for label, value in labels.items()),
        "        annotations:",
        "          summary: '" + summary.replace("'", "''") + "'",
        f"          runbook_url: '{RUNBOOKS}#{labels['runbook']}'",
    ]


# How alerts reach people: Alertmanager's route and inhibition, without its receivers' addresses.
# By what has a cause of its own. Shards, databases, volumes, consumers and certificates fail together: one group.
GROUP_BY = (
    *("slo", "threshold", "severity", "region", "country", "cdn", "provider"),
    *("currency", "entity", "step", "counterparty", "topic", "kind", "plan"),
)
INHIBIT = (
    # While an objective burns so fast that it pages, its slices make no tickets. No page is ever held back.
    {
        "source_matchers": ['severity="page"', 'alertname=~".*Burn.*"'],
        "target_matchers": ['severity="ticket"', 'alertname=~".*(Slice|Cdn)Fails"'],
        "equal": ["slo"],
    },
)


def alertmanager() -> str:
    """As JSON, which is YAML."""
    config = {
        "route": {
            "receiver": "tickets",
            "group_by": list(GROUP_BY),
            "group_wait": f"{SEND_S}s",
            "group_interval": "1m",  # a device class that joins its country is told again
            "routes": [{"matchers": ['severity="page"'], "receiver": "pager"}],
        },
        "inhibit_rules": list(INHIBIT),
        "receivers": [{"name": "pager"}, {"name": "tickets"}],
    }
    return json.dumps(config, indent=2) + "\n"


def runbooks(slos: list[Slo]) -> str:
    """A section for each objective, where the alerts' runbook label points."""
    return "\n".join(line for s in slos for line in _section(s.id, s.journey, s.owner, s.steps)).rstrip()


def threshold_runbooks(thresholds: list[Threshold]) -> str:
    """The same for each threshold."""
    return "\n".join(line for t in thresholds for line in _section(t.id, t.shown, t.owner, t.steps)).rstrip()


def _section(id_: str, title: str, owner: str, steps: tuple[str, ...]) -> list[str]:
    numbered = [f"{n}. {step}" for n, step in enumerate(steps, 1)]
    return [f'<a id="{id_.lower()}"></a>', f"### {id_}: {title}", "", f"Owner: {owner}.", "", *numbered, ""]
