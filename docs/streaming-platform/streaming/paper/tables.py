"""The tables of the paper, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields

from ..model.compute import Result
from ..model.inputs import LADDER, SCENARIOS, TITLES, Inputs
from ..model.sensitivity import percentile
from .results import SIMULATIONS, Results
from .slo import minutes_to_page
from .values import magnitude, short


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines)


def tables(results: Results) -> dict[str, str]:
    makers: dict[str, Callable[[Results], str]] = {
        "load": _load,
        "plant": _plant,
        "bill": _bill,
        "inputs": _inputs,
        "ladder": _ladder,
        "swings": _swings,
        "spread": _spread,
        "checks": _checks,
        "slo": _slo,
        "detection": _detection,
        "simulations": _simulations,
    }
    return {name: make(results) for name, make in makers.items()}


def _per_scenario(results: Results, rows: list[tuple[str, Callable[[Result], str]]]) -> str:
    head = ["", *(TITLES[name] for name in results.scenarios)]
    return table(head, ([label, *(cell(r) for r in results.scenarios.values())] for label, cell in rows))


def _load(results: Results) -> str:
    return _per_scenario(
        results,
        [
            ("streams at once, mean", lambda r: magnitude(r.audience.mean_streams)),
            ("streams at once, busiest hour", lambda r: magnitude(r.audience.peak_streams)),
            ("peak over mean", lambda r: f"{r.audience.peak_ratio:.1f}"),
            ("egress, PB a month", lambda r: short(r.delivery.egress_pb)),
            ("egress at the busiest hour, Tb/s", lambda r: short(r.delivery.peak_tbps)),
            ("sum of the zones' peaks, Tb/s", lambda r: short(r.delivery.edge_tbps)),
            ("byte hit rate at the edge", lambda r: f"{r.delivery.edge_hit:.1%}"),
            ("byte hit rate with the second tier", lambda r: f"{r.delivery.origin_hit:.2%}"),
            ("origin at the busiest hour, Gb/s", lambda r: short(r.delivery.origin_peak_gbps)),
            ("API requests/s", lambda r: magnitude(r.control.requests_s)),
            ("of which heartbeats, token refreshes", _timers),
            (
                "events/s, of which from clients",
                lambda r: f"{magnitude(r.control.events_s)} ({magnitude(r.control.client_events_s)})",
            ),
            ("event log, MB/s in", lambda r: short(r.control.event_mb_s)),
            ("database writes/s", lambda r: short(r.control.writes_s)),
            ("invoices/s on the busiest day", lambda r: short(r.control.invoices_s)),
            ("pushes/s", lambda r: short(r.control.pushes_s)),
            ("push connections", lambda r: magnitude(r.control.connections)),
        ],
    )


def _timers(r: Result) -> str:
    return f"{short(r.control.heartbeats_s)}, {short(r.control.refreshes_s)}"


def _plant(results: Results) -> str:
    return _per_scenario(
        results,
        [
            ("control regions", lambda r: short(r.inputs.regions)),
            ("edge servers of our own", lambda r: short(r.delivery.edge_servers)),
            (
                "of the edge servers, needed for throughput",
                lambda r: short(r.delivery.servers_for_throughput) if r.inputs.own_edge else "-",
            ),
            ("servers of our own at fill sites", lambda r: short(r.delivery.fill_servers)),
            ("service machines", lambda r: short(r.plant.service_machines)),
            ("ranking machines", lambda r: short(r.plant.ranking_machines)),
            ("push machines", lambda r: short(r.plant.push_machines)),
            ("transcoding machines", lambda r: short(r.plant.transcode_machines)),
            ("log brokers", lambda r: short(r.plant.log_brokers)),
            ("database nodes", lambda r: short(r.plant.database_nodes)),
            ("memory cache, TB", lambda r: short(r.plant.cache_tb)),
            ("lake, PB", lambda r: short(r.plant.lake_pb)),
            ("media at the origin, two copies, TB", lambda r: short(r.media.origin_tb)),
            ("transcoding, core-hours a month", lambda r: magnitude(r.media.core_hours_per_month)),
            ("traffic between zones, PB a month", lambda r: short(r.plant.zone_pb)),
            ("between regions", lambda r: short(r.plant.region_pb)),
            ("API answers", lambda r: short(r.plant.answers_pb)),
        ],
    )


def _bill(results: Results) -> str:
    names = [f.name for f in fields(next(iter(results.scenarios.values())).bill) if f.name != "payments"]

    def part(name: str) -> Callable[[Result], str]:
        return lambda r: magnitude(getattr(r.bill, name))

    rows = [(name.replace("_", " "), part(name)) for name in names]
    rows += [
        ("**infrastructure**", lambda r: f"**{magnitude(r.bill.infrastructure)}**"),
        ("**per account**", lambda r: f"**{r.per_subscriber:.3f}**"),
        ("card fees, beside it", lambda r: magnitude(r.bill.payments)),
    ]
    return _per_scenario(results, rows)


def _inputs(results: Results) -> str:
    def cell(i: Inputs, name: str) -> str:
        value = getattr(i, name)
        return (
            ", ".join(z.name for z in value)
            if name == "zones"
            else str(value)
            if value is True or value is False
            else short(value)
        )

    rows = []
    for f in fields(Inputs):
        low, high = f.metadata["range"]
        span = f"x {low:g} to {high:g}" if (low, high) != (1.0, 1.0) else "given"
        rows.append(
            [
                f"`{f.name}`",
                *(cell(i, f.name) for i in SCENARIOS.values()),
                f.metadata["unit"],
                span,
                f.metadata["basis"],
            ]
        )
    return table(["input", *SCENARIOS, "unit", "range", "basis"], rows)


def _ladder(results: Results) -> str:
    rows = [
        [f"{r.height}p", f"{r.share:.0%}", f"{r.modern_mbps:g}", f"{r.avc_mbps:g}" if r.avc_mbps else "-"]
        for r in LADDER
    ]
    return table(["rung", "share of hours", "AV1 or HEVC, Mb/s", "AVC, Mb/s"], rows)


def _swings(results: Results) -> str:
    rows = []
    for rank in range(5):
        cells = []
        for name in results.scenarios:
            s = results.swings[name][rank]
            cells.append(f"`{s.name}` {s.low:.3f} to {s.high:.3f} (elasticity {s.elasticity:.2f})")
        rows.append([str(rank + 1), *cells])
    return table(["", *(TITLES[name] for name in results.scenarios)], rows)


def _spread(results: Results) -> str:
    rows = []
    for name, r in results.scenarios.items():
        marks = [f"{percentile(results.spreads[name], q):.3f}" for q in (0.1, 0.5, 0.9)]
        rows.append([TITLES[name], f"{r.per_subscriber:.3f}", *marks])
    return table(["EUR per account and month", "as modelled", "P10", "median", "P90"], rows)


def _checks(results: Results) -> str:
    rows = [
        [c.what, f"{magnitude(c.published)} {c.unit}", magnitude(c.modelled), f"{c.ratio:.2f}", c.source, c.verdict]
        for c in results.checks
    ]
    return table(["figure", "published", "model", "ratio", "source", "the difference"], rows)


def _slo(results: Results) -> str:
    rows = [
        [
            s.id,
            s.journey,
            s.promise,
            f"{s.objective * 100:g} %",
            short(s.budget_minutes),
            s.owner,
            "page" if s.page else "ticket",
        ]
        for s in results.slos
    ]
    return table(["id", "journey", "good means", "objective", "budget, min a month", "owner", "alert"], rows)


def _detection(results: Results) -> str:
    def cell(minutes: float | None) -> str:
        return "never pages" if minutes is None else f"{short(minutes)} min"

    shares = (1.0, 0.1, 0.01)
    rows = [[s.id, *(cell(minutes_to_page(s, share)) for share in shares)] for s in results.slos if s.page]
    return table(["objective", *(f"{share:.0%} fail" for share in shares)], rows)


def _simulations(results: Results) -> str:
    rows = []
    for name, sim in SIMULATIONS.items():
        for variant, what in sim.VARIANTS.items():
            verdict = results.verdicts[name, variant]
            broken = "; ".join(f.claim for f in verdict.findings if not f.holds) or "nothing"
            rows.append([name, f"`{variant}`", what, "holds" if verdict.holds else "**broken**", broken])
    return table(["simulation", "variant", "what it is", "verdict", "which claims fail"], rows)
