"""The tables of the paper, as Markdown."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import fields

from ..model.compute import Result
from ..model.inputs import LADDER, SCENARIOS, TITLES, Inputs
from ..model.plan import (
    FIRST_MONTHS,
    MILLION,
    PHASES,
    REVIEW_MONTHS,
    STAGES,
    TEAMS,
    WORK,
    Rent,
    RentOver,
    approval,
    first_bill,
    rents,
    rents_with_building,
)
from ..model.sensitivity import percentile
from ..sim import books, ledger
from ..sim.books import CHART, Return
from ..sim.ledger import NEEDS_CAPTURED, NEXT
from .results import SIMULATIONS, Results
from .slo import minutes_to_page, runbooks, threshold_runbooks
from .values import accounts_of_a_region, magnitude, short

BESIDE = ("payments", "support")  # lines of the bill that are not infrastructure


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
        "claims": _claims,
        "stages": _stages,
        "approval": _approval,
        "first-bill": _first_bill,
        "rent": _rent,
        "rent-built": _rent_built,
        "work": _work,
        "million": _million,
        "million-bill": _million_bill,
        "chart": _chart,
        "runbooks": lambda r: runbooks(r.slos),
        "thresholds": _thresholds,
        "threshold-runbooks": lambda r: threshold_runbooks(r.thresholds),
        "fees": _fees,
        "postings": _postings,
        "states": _states,
        "ranks": _ranks,
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
            ("of which heartbeats, token refreshes, polls", _timers),
            (
                "events/s, of which from clients",
                lambda r: f"{magnitude(r.control.events_s)} ({magnitude(r.control.client_events_s)})",
            ),
            ("event log, MB/s in", lambda r: short(r.control.event_mb_s)),
            ("database writes/s", lambda r: short(r.control.writes_s)),
            ("invoices/s on the busiest day", lambda r: short(r.control.invoices_s)),
            ("DRM licences/s", lambda r: magnitude(r.control.licences_s)),
            ("pushes/s", lambda r: short(r.control.pushes_s)),
            ("push connections", lambda r: magnitude(r.control.connections)),
        ],
    )


def _timers(r: Result) -> str:
    return f"{short(r.control.heartbeats_s)}, {short(r.control.refreshes_s)}, {short(r.control.polls_s)}"


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
            ("licence machines of our own", lambda r: short(r.plant.licence_machines)),
            ("search machines", lambda r: short(r.plant.search_machines)),
            ("log brokers", lambda r: short(r.plant.log_brokers)),
            (
                "PostgreSQL shards; nodes, those of the keys included",
                lambda r: f"{short(r.plant.shards)}, {short(r.plant.postgres_nodes)}",
            ),
            ("wide-column nodes", lambda r: short(r.plant.library_nodes)),
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
    names = [f.name for f in fields(next(iter(results.scenarios.values())).bill) if f.name not in BESIDE]

    def part(name: str) -> Callable[[Result], str]:
        return lambda r: magnitude(getattr(r.bill, name))

    rows = [(name.replace("_", " "), part(name)) for name in names]
    rows += [
        ("**infrastructure**", lambda r: f"**{magnitude(r.bill.infrastructure)}**"),
        ("**per account**", lambda r: f"**{r.per_subscriber:.3f}**"),
        ("payments, beside it", lambda r: magnitude(r.bill.payments)),
        ("support, beside it", lambda r: magnitude(r.bill.support)),
    ]
    return _per_scenario(results, rows)


def _million_bill(results: Results) -> str:
    """The infrastructure of the second stage, line by line."""
    stage = STAGES[1]
    lines = {name.replace("_", " "): euros for name, euros in vars(stage.result.bill).items() if name not in BESIDE}
    rows = [[name, magnitude(euros), f"{euros / stage.inputs.subscribers:.3f}"] for name, euros in lines.items()]
    rows.append(["**infrastructure**", f"**{magnitude(stage.infrastructure)}**", f"**{stage.infrastructure_eur:.3f}**"])
    return table(["1 million subscribers", "euros a month", "per account"], rows)


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
        [
            f"{r.height}p",
            f"{r.share:.0%}",
            f"{r.av1_mbps:g}",
            f"{r.hevc_mbps:g}",
            f"{r.avc_mbps:g}" if r.avc_mbps else "-",
        ]
        for r in LADDER
    ]
    return table(["rung", "share of hours", "AV1, Mb/s", "HEVC, Mb/s", "AVC, Mb/s"], rows)


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
        for c in [*results.checks, results.ceiling]
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
            s.shown,
        ]
        for s in results.slos
    ]
    return table(["id", "journey", "good means", "objective", "budget, min a month", "owner", "alert"], rows)


def _detection(results: Results) -> str:
    def cell(minutes: float | None) -> str:
        return "never pages" if minutes is None else f"{short(minutes)} min"

    cases = [(name, share) for name in ("small", "medium") for share in (1.0, 0.1, 0.01)]
    rows = [
        [
            s.id,
            f"{s.per_day:g}",
            *(cell(minutes_to_page(s, share, accounts_of_a_region(name))) for name, share in cases),
        ]
        for s in results.slos
        if s.page
    ]
    sizes = {"small": "100,000", "medium": "10 million"}
    head = ["objective", "events an account and day", *(f"{sizes[name]}: {share:.0%} fail" for name, share in cases)]
    return table(head, rows)


def _thresholds(results: Results) -> str:
    rows = [
        [f"[{t.id}](#{t.id.lower()})", t.shown, f"`{t.metric}`", ", ".join(t.by), t.severity, _places(t.promised)]
        for t in results.thresholds
    ]
    return table(["id", "fires when", "metric", "for each", "severity", "promised in"], rows)


def _places(promised: tuple[str, ...]) -> str:
    """Links as they stand in a page of the appendix."""
    return ", ".join(
        f"[{place.rpartition('/')[2].partition('.')[0]}]"
        f"({place.removeprefix('appendix/') if place.startswith('appendix/') else f'../{place}'})"
        for place in promised
    )


def _simulations(results: Results) -> str:
    rows = []
    for name, sim in SIMULATIONS.items():
        for variant, what in sim.VARIANTS.items():
            if variant == "design":
                continue
            always, ever = results.always_broken(name, variant), results.ever_broken(name, variant)
            spare = "an alternative" if variant in ledger.ALTERNATIVES else "the measure can be spared"
            nothing = "" if ever else f"nothing: {spare}"
            broken = "; ".join(sorted(always)) or nothing or "none at every seed"
            rows.append([name, f"`{variant}`", what, broken, "; ".join(sorted(ever - always)) or "-"])
    head = ["simulation", "variant", "what is changed", "claims that fail", "claims that fail at some seeds only"]
    return table(head, rows)


def _claims(results: Results) -> str:
    """The design's claims with what the run found."""
    rows = []
    for name in SIMULATIONS:
        for f in results.verdicts[name, "design"].findings:
            rows.append([name, f.claim, "holds" if f.holds else "**broken**", f.detail])
    return table(["simulation", "claim", "the design", "found"], rows)


def _stages(results: Results) -> str:
    head = ["EUR per account and month", *(s.name for s in STAGES)]
    rows = [
        ["infrastructure", *(f"{s.infrastructure_eur:.2f}" for s in STAGES)],
        ["payments", *(f"{s.payments_eur:.2f}" for s in STAGES)],
        ["support", *(f"{s.support_eur:.2f}" for s in STAGES)],
        ["engineers", *(f"{s.people_eur:.2f}" for s in STAGES)],
        ["**total of these**", *(f"**{s.total_eur:.2f}**" for s in STAGES)],
        ["total per hour watched, cents", *(f"{100 * s.total_per_hour:.2f}" for s in STAGES)],
    ]
    return table(head, rows)


def _approval(results: Results) -> str:
    """What the first release costs, line by line."""
    a = approval()
    parts = (a.until_sale, a.until_review)
    rows = [[name, *(f"{part[name]:,.0f}" for part in parts)] for name in a.until_sale]
    rows.insert(0, ["quotes, before the teams begin", f"{a.quotes:,.0f}", "0"])
    parts = ({"quotes": a.quotes, **a.until_sale}, a.until_review)
    rows.append(["**sum**", *(f"**{sum(part.values()):,.0f}**" for part in parts)])
    return table(
        ["euros", f"until the sale, {FIRST_MONTHS} months", f"then to the review, {REVIEW_MONTHS} months"], rows
    )


def _first_bill(results: Results) -> str:
    """From the model's bill to that of the first release."""
    lines = first_bill(STAGES[0].inputs)
    rows = [[name, f"{euros:,.0f}".replace("-", "\u2212")] for name, euros in lines.items()]
    whole = sum(lines.values())
    rows.append(["**infrastructure of the first release**", f"**{whole:,.0f}**"])
    rows.append(["per account", f"{whole / STAGES[0].inputs.subscribers:.2f}"])
    return table(["euros a month at 100,000 subscribers", "infrastructure"], rows)


def _rent(results: Results) -> str:
    """Our own platform against a rented one, by size."""
    rows: list[tuple[str, Callable[[Rent], float]]] = [
        ("engineers", lambda r: r.people_eur),
        ("infrastructure", lambda r: r.infrastructure_eur),
        ("own, together", lambda r: r.own_eur),
        ("less the engineers who stay", lambda r: r.rent_people_eur),
        ("**renting costs less below**", lambda r: r.limit_eur),
    ]
    sizes = rents()
    head = ["euros per account and month", *(magnitude(r.subscribers) for r in sizes)]
    return table(head, ([what, *(f"{cell(r):.2f}" for r in sizes)] for what, cell in rows))


def _rent_built(results: Results) -> str:
    """The same with what is spent before the sale, by how long is looked ahead."""
    rows: list[tuple[str, Callable[[RentOver], str]]] = [
        ("account-months", lambda r: magnitude(r.account_months)),
        ("own: until the sale", lambda r: magnitude(r.until_sale)),
        ("own: engineers", lambda r: magnitude(r.engineers)),
        ("own: infrastructure", lambda r: magnitude(r.infrastructure)),
        ("rented: until the sale", lambda r: magnitude(r.rent_until_sale)),
        ("rented: engineers", lambda r: magnitude(r.rent_engineers)),
        ("**renting costs less below**, per account and month", lambda r: f"{r.limit_eur:.2f}"),
        (f"rented in month {PHASES[0]}: notice of engineers", lambda r: magnitude(r.notice)),
        (f"**the same in month {PHASES[0]}**", lambda r: f"{r.limit_at_gate_eur:.2f}"),
        ("next stage begun at its number: its engineers", lambda r: magnitude(r.next_stage)),
        ("then renting costs less below", lambda r: f"{r.limit_eur + r.next_stage_eur:.2f}"),
        (f"and in month {PHASES[0]}", lambda r: f"{r.limit_at_gate_eur + r.next_stage_eur:.2f}"),
    ]
    periods = rents_with_building()
    head = ["euros", *(f"{r.months} months of sale" for r in periods)]
    return table(head, ([what, *(cell(r) for r in periods)] for what, cell in rows))


def _work(results: Results) -> str:
    """The first release's person-months, by item and phase, with each team's sum."""
    ends = [sum(PHASES[: n + 1]) for n in range(len(PHASES))]
    names = ("closed test", "paid beta", "sale")
    head = ["team", "work", *(f"to the {name}, month {end}" for name, end in zip(names, ends, strict=True)), "sum"]
    rows = []
    for team, people in TEAMS.items():
        items = [item for item in WORK if item.team == team]
        rows += [[team, i.what, *(str(m) for m in i.months), str(sum(i.months))] for i in items]
        sums = [sum(i.months[n] for i in items) for n in range(len(PHASES))]
        rows.append([f"**{team}**", f"**{people} engineers**", *(f"**{m}**" for m in [*sums, sum(sums)])])
    return table(head, rows)


def _million(results: Results) -> str:
    """Where the stage of 1 million differs from the small scenario."""
    small = SCENARIOS["small"]
    pairs = ((f, getattr(small, f.name), getattr(MILLION, f.name)) for f in fields(Inputs))
    rows = [[f"`{f.name}`", short(a), short(b), f.metadata["unit"]] for f, a, b in pairs if a != b]
    return table(["input", "100,000", "1 million", "unit"], rows)


def _chart(results: Results) -> str:
    return table(["no.", "book", "kind", "holds"], [[str(b.number), b.name, b.kind, b.holds] for b in CHART])


def _fees(results: Results) -> str:
    zones = {z.name: z for i in SCENARIOS.values() for z in i.zones}
    rows = [[z.name, f"{z.card_share:.1%}", f"{z.card_fixed_eur:.2f}"] for z in zones.values()]
    return table(["zone", "share of the payment", "EUR a payment"], rows)


def _postings(results: Results) -> str:
    """What the posting functions do with a price of 12.00, shown as debits and credits."""
    price = 1_200
    facts = {
        "invoice opened": books.invoiced("EUR", price),
        "invoice void, with a credit note": books.voided("EUR", price),
        "payment captured": books.captured("EUR", price, 24),
        "captured, invoice not open": books.unapplied("EUR", price, 24),
        "that payment refunded": books.unapplied_refunded("EUR", price),
        "fees that are invoiced later": books.fees_accrued("EUR", 24),
        "fees taken by the provider": books.fees_invoiced("EUR", 24),
        "period over": books.recognised("EUR", books.Price(price).net),
        "upgrade: half of the period unused": books.credited(
            "EUR", Return(price // 2, price, books.Price(price).net // 2)
        ),
        "upgrade: new period at 20.00, difference captured": [
            *books.invoiced("EUR", 2_000),
            *books.captured("EUR", 1_400, 28),
        ],
        "refunded, nothing recognised": books.refunded("EUR", Return(price, price, books.Price(price).net)),
        "refunded, all recognised": books.refunded("EUR", Return(price, price, 0)),
        "refund failed after it was posted": books.refund_failed("EUR", price),
        "dispute withdrawn": books.dispute_withdrawn("EUR", price),
        "dispute won": books.dispute_won("EUR", price),
        "dispute lost, half recognised": books.dispute_lost("EUR", Return(price, price, books.Price(price).net // 2)),
        "dispute lost, after a full refund": books.dispute_lost("EUR", Return(price, price, 0, price)),
        "refunded, after the whole was lost in a dispute": books.refunded("EUR", Return(price, price, 0, price)),
        "paid out in euros": books.paid_out("EUR", price, price),
        "paid out from dollars": books.paid_out("USD", price, 1_080),
        "payout returned": books.payout_returned("EUR", price, price),
        "payout on the bank's statement": books.received(price),
    }

    def side(lines: list[books.Line], sign: int) -> str:
        many = len({currency for _, currency, _ in lines}) > 1
        shown = [
            f"{book} {abs(cents) / 100:.2f}{' ' + currency if many else ''}"
            for book, currency, cents in lines
            if cents * sign > 0
        ]
        return ", ".join(shown)

    rows = [[what, side(lines, 1), side(lines, -1)] for what, lines in facts.items()]
    return table(["fact, at a price of 12.00", "debit", "credit"], rows)


def _states(results: Results) -> str:
    rows = [
        [kind, what, " or ".join(state or "none" for state in before), "captured" if kind in NEEDS_CAPTURED else "-"]
        for kind, (what, before) in NEXT.items()
    ]
    return table(["fact", "object", "its state before", "its payment must be"], rows)


def _ranks(results: Results) -> str:
    problems = tomllib.loads((results.folder / "problems.toml").read_text())["problem"]
    ranked = sorted(enumerate(problems, 1), key=lambda item: -item[1]["harm"] * item[1]["likelihood"])
    rows = []
    for n, p in ranked:
        product = p["harm"] * p["likelihood"]
        rows.append([f"[P{n}](#p{n})", p["title"], str(p["harm"]), str(p["likelihood"]), str(product)])
    return table(["id", "problem", "harm", "likelihood", "product"], rows)
