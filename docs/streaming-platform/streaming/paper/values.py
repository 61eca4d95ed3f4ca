"""The single figures that the text quotes, by name, formatted as they stand in the text."""

from __future__ import annotations

import math
from dataclasses import replace

from ..model.calibration import dense_events, hours_from_report, more_cache, with_known_misses
from ..model.compute import DAYS, payment_eur, run
from ..model.inputs import SCENARIOS, WITHOUT_ASIAN_PAIR, WORLD, Inputs, numeric_fields
from ..model.plan import (
    BUILD_INFRA,
    CARRIED,
    DISPUTES_LOST,
    FIRST_MONTHS,
    GROWN_MONTHS,
    HIRING_MONTHS,
    LEAD_MONTHS,
    MORE_WORK,
    NOTICE_MONTHS,
    ON_CALL_EUR,
    ON_CALL_PEOPLE,
    OTHERS,
    PERSON_LIMIT,
    PHASES,
    QUOTE_PEOPLE,
    QUOTE_WEEKS,
    RENT_HORIZONS,
    RENT_MONTHS,
    RENT_PEOPLE,
    RESERVE,
    REVIEW_FLOOR,
    REVIEW_MONTHS,
    REVIEW_SUBSCRIBERS,
    SECURITY_EUR,
    STAGES,
    STANDBY_USD_GB,
    TAX,
    TEAMS,
    TELEMETRY_EUR_GB,
    TEST_HOMES,
    TRIGGERS,
    VAULT_EUR,
    VENDOR_FACTOR,
    WORK,
    approval,
    cash,
    closed_test_infrastructure,
    dispute_eur,
    forecast,
    hiring_eur,
    hiring_months,
    margin,
    margin_from,
    net_price,
    not_scaled,
    notice_eur,
    rents,
    rents_with_building,
    trigger_month,
    while_building,
)
from ..model.sensitivity import DRAWS, break_even, break_even_range, percentile
from ..sim import experiments, fanout, ledger
from . import slo
from .results import CURVE_POINTS, SIMULATIONS, Results


def short(value: float) -> str:
    """Three significant digits at most, with thousands separated; numbers below 100 keep what they need."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    rounded = round(value, 2 - math.floor(math.log10(abs(value))))
    text = f"{rounded:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def magnitude(value: float) -> str:
    """Short, in words from a million on."""
    for limit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= limit:
            return f"{short(value / limit)} {name}"
    return short(value)


LEASE_S = 200  # how long a stream slot lives without a heartbeat


def heartbeats_to_lose(lease_s: float, heartbeat_s: float) -> int:
    """How many heartbeats in a row may be lost: the one after them must arrive before the lease ends."""
    return max(0, math.ceil(lease_s / heartbeat_s) - 2)


def values(results: Results) -> dict[str, str]:
    out: dict[str, str] = {}
    for name, r in results.scenarios.items():
        out |= {
            f"{name}.eur": f"{r.per_subscriber:.3f}",
            f"{name}.payments_eur": f"{r.bill.payments / r.inputs.subscribers:.2f}",
            f"{name}.support_eur": f"{r.bill.support / r.inputs.subscribers:.2f}",
            f"{name}.licences_s": magnitude(r.control.licences_s),
            f"{name}.provisioned": f"{r.audience.provisioned:.1f}",
            f"{name}.misses": f"{with_known_misses(r.inputs):.3f}",
            f"{name}.detect": _detectable(r.inputs),
            f"{name}.detect_friends": _detectable(r.inputs, experiments.DESIGN_EFFECT),
            f"{name}.erasures_day": f"{r.inputs.subscribers * r.inputs.privacy_per_year / 365:.0f}",
            f"{name}.licence_share": f"{r.bill.licences / r.bill.infrastructure:.0%}",
            f"{name}.shards": short(r.plant.shards),
            f"{name}.delivery_share": f"{r.bill.delivery / r.bill.infrastructure:.0%}",
            f"{name}.peak_tbps": short(r.delivery.peak_tbps),
            f"{name}.edge_hit": f"{r.delivery.edge_hit:.0%}",
            f"{name}.edge_servers": short(r.delivery.edge_servers),
            f"{name}.fill_servers": short(r.delivery.fill_servers),
            f"{name}.servers_for_throughput": short(r.delivery.servers_for_throughput),
            f"{name}.peak_streams": magnitude(r.audience.peak_streams),
            f"{name}.requests_s": magnitude(r.control.requests_s),
            f"{name}.heartbeats_s": short(r.control.heartbeats_s),
            f"{name}.refreshes_s": short(r.control.refreshes_s),
            f"{name}.polls_s": short(r.control.polls_s),
            f"{name}.library_writes_s": short(r.control.library_writes_s),
            f"{name}.events_s": magnitude(r.control.events_s),
            f"{name}.invoices_s": short(r.control.invoices_s),
            f"{name}.pushes_s": short(r.control.pushes_s),
            f"{name}.connections": magnitude(r.control.connections),
            f"{name}.machines": short(r.plant.cloud_machines),
            f"{name}.origin_gbps": short(r.delivery.origin_peak_gbps),
            f"{name}.p10": f"{percentile(results.spreads[name], 0.1):.3f}",
            f"{name}.p90": f"{percentile(results.spreads[name], 0.9):.3f}",
        }
    return out | _special(results) | _simulated(results) | _constants(results)


def _constants(results: Results) -> dict[str, str]:
    """Figures that stand in the code of the rules and simulations."""
    world = fanout.World()
    return {
        **_one_percent(results),
        **{t.figure: slo.span(t.limit) for t in results.thresholds if t.figure},
        "cdn-ratio": f"{slo.CUTS['cdn'].ratio:.0%}",
        "slice-ratio": f"{slo.CUTS['slice'].ratio:.0%}",
        "thresholds": str(len(results.thresholds)),
        "usual": short(slo.USUAL),
        "slice-many": f"{slo.SLICE_MANY} failures",
        "heard": f"{slo.HEARD} events",
        "heard-slice": f"{slo.HEARD_SLICE}",
        "silent-irregular": {0.1: "a tenth"}[slo.IRREGULAR],
        "invoice-peak": short(SCENARIOS["small"].invoice_peak),
        "volume-free": f"{slo.FULL:.0%}",
        "volume-empty": f"{slo.EMPTY:.0%}",
        "share-floor": f"{slo.SHARE_FLOOR:.0%}",
        "least-attempts": str(next(t.least for t in results.thresholds if t.id == "T-captured")),
        "slice-bad": f"{slo.SLICE_BAD} failures",
        "nodata": f"{slo.NO_DATA_MIN} min",
        "least-bad": f"{slo.LEAST_BAD} bad events",
        "slo-window": f"{slo.WINDOW_DAYS} days",
        "sim-personal": f"{short(world.personal_s)} a second",
        "sim-outage": f"{world.outage[0] // 60} to {world.outage[1] // 60}",
        "push-drill": f"{(world.outage[1] - world.outage[0]) // 60} minutes",
        "buckets": short(experiments.BUCKETS),
        "srm-level": f"{experiments.SRM_LEVEL:g}",
        "dunning-tries": f"{ledger.ATTEMPTS} attempts",
        "draws": f"{DRAWS} draws",
    }


HOMES = {"small": 1, "medium": 4}  # regions that are home to accounts; the first release has a standby besides


def accounts_of_a_region(scenario: str) -> float:
    return SCENARIOS[scenario].subscribers / HOMES[scenario]


def _one_percent(results: Results) -> dict[str, str]:
    """How long one percent of failing requests takes to page at 10 million, from the quickest to the slowest that does."""
    region = accounts_of_a_region("medium")
    times = {s.id: slo.minutes_to_page(s, 0.01, region) for s in results.slos if s.page}
    found = sorted(t for t in times.values() if t is not None)
    start = next(s for s in results.slos if s.id == "S-start")
    total = slo.minutes_to_page(start, 1.0, region) or math.inf
    return {
        "slow_page": f"{found[0]:.0f} minutes to {found[-1] / 60:.1f} hours",
        "never_pages": _list([name for name, t in times.items() if t is None]),
        "page_total": f"{total:.1f} minutes",
        "page_lost": f"{slo.minutes_to_page_lost(results.thresholds, 'T-play'):.1f} minutes",
        "page-delay": f"{slo.SCRAPE_S + slo.EVALUATION_S + slo.SEND_S} s",
    }


def _error(share: float, trials: int) -> str:
    """The standard error of a share, in percentage points."""
    return f"{100 * math.sqrt(share * (1 - share) / trials):.2f}"


def _list(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _special(results: Results) -> dict[str, str]:
    medium = SCENARIOS["medium"]

    def own_edge(paid: float) -> float:
        """Delivery of the medium size built instead of bought, with its team, if this share of traffic is paid for."""
        return run(replace(medium, own_edge=True, edge_sites=200.0, transit_share=paid)).bill.delivery

    large = results.scenarios["large"]
    night = 0.05 * large.inputs.edge_site_servers * large.inputs.edge_server_tb * 1e12  # bytes filled a site
    dense = dense_events()
    region = sum(z.share for z in WORLD if z.pair == "west") / 2  # the largest region's share of the accounts
    apart = run(replace(large.inputs, zones=WITHOUT_ASIAN_PAIR)).per_subscriber
    teams = break_even_range(medium, CURVE_POINTS)
    i = medium
    approved, first = approval(), STAGES[0]
    dear = next(f.metadata["range"][1] for f in numeric_fields() if f.name == "cdn_usd_per_gb")
    dear_cdn = first.at(cdn_usd_per_gb=dear * first.inputs.cdn_usd_per_gb)
    served = large.audience.peak_streams / large.inputs.edge_sites
    return {
        "bitrate": f"{results.scenarios['medium'].media.delivered_mbps:.2f}",
        "gb_per_hour": f"{results.scenarios['medium'].media.gb_per_hour_stored:.1f}",
        "gb_watched": f"{results.scenarios['medium'].media.delivered_mbps * 0.45:.1f}",
        "core_hours": short(results.scenarios["medium"].media.core_hours_per_hour),
        "report_hours": f"{hours_from_report():.2f}",
        "break_even": magnitude(break_even(results.curves[1.0])),
        "break_even_small_team": magnitude(teams[0]),
        "break_even_large_team": magnitude(teams[2]),
        "edge_team": short(i.edge_team_people),
        "edge_team_low": short(i.edge_team_people * 0.5),
        "edge_team_high": short(i.edge_team_people * 2),
        "asia": f"{large.per_subscriber / apart - 1:.1%}",
        "event-log-life": f"{i.log_days:.0f} days",
        "heartbeat": f"{i.heartbeat_s:.0f} s",
        "token": f"{i.token_min:.0f} minutes",
        "lease": f"{LEASE_S} s",
        "lease_losses": ("no", "one", "two", "three")[heartbeats_to_lose(LEASE_S, i.heartbeat_s)],
        "shard_accounts": magnitude(i.shard_accounts),
        "first_people": short(STAGES[0].people),
        "first_months": short(FIRST_MONTHS),
        "first_eur": magnitude(sum(approved.until_sale.values())),
        "first_review_eur": magnitude(sum(approved.until_review.values())),
        "approval_eur": magnitude(approved.total),
        "delay_eur": magnitude(approved.month_of_delay),
        "month-test": short(PHASES[0]),
        "month-beta": short(PHASES[0] + PHASES[1]),
        "team-viewing": short(TEAMS["viewing"]),
        "team-money": short(TEAMS["money"]),
        "vendor_factor": short(VENDOR_FACTOR),
        "gate_eur": magnitude(approved.until_gate),
        "more_work": f"{MORE_WORK:.0%}",
        "more_work_months": short(MORE_WORK * FIRST_MONTHS),
        "more_work_eur": magnitude(approved.more_work),
        "work_sum": short(sum(sum(item.months) for item in WORK)),
        "stage_teams": _list([f"{s.people} in {s.teams} teams" for s in STAGES[1:]]),
        "published_people": f"{results.checks[9].published:.2f}",
        "large_total_eur": f"{STAGES[3].total_eur:.2f}",
        "large_people_eur": f"{STAGES[3].people_eur:.2f}",
        "with_published_people": f"{STAGES[3].total_eur - STAGES[3].people_eur + results.checks[9].published:.2f}",
        "first_others": short(OTHERS),
        "rent_people": short(RENT_PEOPLE),
        **_renting(),
        **_gates(),
        **_income(),
        "first-subscribers": short(STAGES[0].inputs.subscribers),
        "months-first": {24: "two years"}[GROWN_MONTHS],
        "million_at_first": f"{STAGES[1].people * i.person_eur / STAGES[0].inputs.subscribers:.2f}",
        "start_budget": f"{next(s for s in results.slos if s.id == 'S-start').budget_minutes:.1f}",
        "cdn_high_eur": f"{dear_cdn.infrastructure_eur:.2f}",
        "cdn_high_factor": f"{dear:g}",
        "shop_extra": f"{payment_eur(first.inputs) - first.payments_eur:.2f}",
        "others_eur": f"{OTHERS * i.person_eur / STAGES[0].inputs.subscribers:.2f}",
        "review_months": short(REVIEW_MONTHS),
        "review_subscribers": short(REVIEW_SUBSCRIBERS),
        "build_infra": f"{BUILD_INFRA:.0%}",
        "price": f"{STAGES[0].inputs.price_eur:g}",
        "trigger_million": short(TRIGGERS[0]),
        "trigger_ten": short(TRIGGERS[1]),
        "building_million": f"{while_building(1):.2f}",
        "building_ten": f"{while_building(2):.2f}",
        "first.p90": f"{percentile(results.first_spread, 0.9):.2f}",
        "first.median": f"{percentile(results.first_spread, 0.5):.2f}",
        "first_infra_eur": f"{first.infrastructure_eur:.2f}",
        "first_fixed_eur": f"{(SECURITY_EUR + ON_CALL_PEOPLE * ON_CALL_EUR * 52 / 12) / first.inputs.subscribers:.2f}",
        "on_call_eur": short(ON_CALL_EUR),
        "security_eur": short(12 * SECURITY_EUR),
        "telemetry_eur": f"{TELEMETRY_EUR_GB:g}",
        "standby_usd": f"{STANDBY_USD_GB:g}",
        "on_call_people": {2: "two people"}[ON_CALL_PEOPLE],
        "standby_day": magnitude(first.result.delivery.egress_pb * 1e6 * STANDBY_USD_GB * i.usd_eur / DAYS),
        "disputes_lost": {0.002: "two"}[DISPUTES_LOST],
        "disputes_eur": f"{dispute_eur(first.inputs):.2f}",
        "vault_eur": short(VAULT_EUR),
        "first_run_eur": magnitude(first.people * i.person_eur + first.infrastructure),
        "first_people_eur": f"{STAGES[0].people_eur:.2f}",
        "first_total_eur": f"{STAGES[0].total_eur:.2f}",
        "million_beside": f"{not_scaled(STAGES[1].inputs) / STAGES[1].inputs.subscribers:.2f}",
        "million_people": short(STAGES[1].people),
        "medium_people": short(STAGES[2].people),
        "medium_teams": short(STAGES[2].teams),
        "ceiling": f"{results.ceiling.published:.2f}",
        "ceiling_model": f"{results.ceiling.modelled:.2f}",
        "ceiling_share": f"{results.ceiling.ratio:.0%}",
        "break_even_half": magnitude(break_even(results.curves[0.5])),
        "break_even_double": magnitude(break_even(results.curves[2.0])),
        "medium.own_delivery": magnitude(own_edge(medium.transit_share)),
        "own_half": magnitude(own_edge(0.5)),
        "own_all": magnitude(own_edge(1.0)),
        "medium.delivery": magnitude(results.scenarios["medium"].bill.delivery),
        "dense.before": f"{dense[0]:.3f}",
        "dense.after": f"{dense[1]:.3f}",
        "cache.after": f"{more_cache():.3f}",
        "large.site_streams": short(served),
        "large.zones_over_global": f"{large.delivery.edge_tbps / large.delivery.peak_tbps:.1f}",
        "large.cache_tb": short(large.plant.cache_tb),
        "inputs": str(len(numeric_fields())),
        "assumptions": str(sum(f.metadata["basis"] == "assumption" for f in numeric_fields())),
        "events_miss": f"{1 / results.checks[3].ratio:.0f}",
        "cache_miss": f"{1 / results.checks[4].ratio:.0f}",
        "push_miss": f"{1 / results.checks[5].ratio:.0f}",
        "live_ratio": f"{1 / results.checks[8].ratio:.1f}",
        "fill_at_60": short(large.delivery.fill_servers * 0.4 / (1 - large.delivery.edge_hit)),
        "large.rerank_hours": f"{24 * large.inputs.batch_utilisation:.1f}",
        "large.region_profiles": magnitude(large.control.profiles * region),
        "large.key_gb": short((large.control.profiles + large.inputs.subscribers) * 100 / 1e9),
        "medium.list_eur": f"{run(replace(medium, cdn_usd_per_gb=0.02)).per_subscriber:.2f}",
        "fill_gbps": f"{night * 8 / (6 * 3600) / 1e9:.1f}",
        "fill_share": f"{night * large.inputs.edge_sites * 30.4 / (large.delivery.egress_pb * 1e15):.0%}",
        "snapshot_tbps": f"{large.plant.service_machines * 3e9 * 8 / 60 / 1e12:.1f}",
        "poll": f"{i.poll_s / 60:.0f} minutes",
        "cluster_effect": f"{experiments.DESIGN_EFFECT:.1f}",
        "lost_key_s": short(large.control.connections / 600),
        "site_gbps": short(_site_gbps(medium)),
    }


def _renting() -> dict[str, str]:
    """The fees below which renting costs less: by running costs, and over the first years of sale with building."""
    dear = next(f.metadata["range"][1] for f in numeric_fields() if f.name == "cdn_usd_per_gb")
    grown, half = (rents_with_building(share)[RENT_HORIZONS.index(GROWN_MONTHS)] for share in (1.0, 0.5))
    return {
        "rent_months": short(RENT_MONTHS),
        "rent_limit": f"{rents()[1].limit_eur:.2f}",
        "rent_limit_built": f"{grown.limit_eur:.2f}",
        "rent_limit_cdn": f"{rents_with_building(cdn=dear)[RENT_HORIZONS.index(GROWN_MONTHS)].limit_eur:.2f}",
        "rent_limit_half": f"{half.limit_eur:.2f}",
        "rent_limit_gate": f"{grown.limit_at_gate_eur:.2f}",
        "rent_next_stage": f"{grown.next_stage_eur:.2f}",
        "rent_limit_next": f"{grown.limit_eur + grown.next_stage_eur:.2f}",
        "rent_limit_gate_next": f"{grown.limit_at_gate_eur + grown.next_stage_eur:.2f}",
        "rent_notice_people": short(STAGES[0].people - RENT_PEOPLE),
        "rent_notice_eur": magnitude(grown.notice),
        "rent_limit_late": f"{grown.limit_at_gate_eur + approval().more_work / grown.account_months:.2f}",
        "trigger_month": short(trigger_month()),
        "trigger_carried": short(CARRIED),
        "trigger_lead": f"{LEAD_MONTHS} months",
        "trigger_forecast": short(forecast()),
    }


def _gates() -> dict[str, str]:
    """What is spent at each gate, and what the work must have reached at the first."""
    a = approval()
    salary = next(f.metadata["range"] for f in numeric_fields() if f.name == "person_eur")
    dear = approval(salary[1])
    planned = sum(item.months[0] for item in WORK if item.what != RESERVE)
    review = STAGES[0].at(subscribers=float(REVIEW_SUBSCRIBERS))
    floor = STAGES[0].at(subscribers=float(REVIEW_FLOOR))
    cdn = next(f.metadata["range"][1] for f in numeric_fields() if f.name == "cdn_usd_per_gb")
    dearer = floor.at(cdn_usd_per_gb=cdn * floor.inputs.cdn_usd_per_gb)
    return {
        "quote_people": {2: "two"}[QUOTE_PEOPLE],
        "quote_weeks": {6: "six weeks"}[QUOTE_WEEKS],
        "quotes_eur": magnitude(a.quotes),
        "hiring_span": {4: "four months"}[HIRING_MONTHS],
        "hiring_months": f"{hiring_months():g} months",
        "hiring_lost": short(STAGES[0].people * hiring_months()),
        "hiring_reserve": short(sum(sum(item.months) for item in WORK if item.what == RESERVE)),
        "hiring_eur": magnitude(hiring_eur()),
        "beta_eur": magnitude(a.until_beta),
        "person_eur": short(STAGES[0].inputs.person_eur),
        "person_high": short(salary[1] * STAGES[0].inputs.person_eur),
        "approval_high_eur": magnitude(dear.total),
        "person_limit": short(PERSON_LIMIT * STAGES[0].inputs.person_eur),
        "approval_limit_eur": magnitude(approval(PERSON_LIMIT).total),
        "approval_limit_cdn_eur": magnitude(approval(PERSON_LIMIT, cdn).total),
        "reserve_left": f"{1 - a.month_of_delay / a.more_work:.0%}",
        "notice_eur": short(notice_eur()),
        "notice_months": {3: "three months"}[NOTICE_MONTHS],
        "test_homes": f"{TEST_HOMES} homes",
        "test_infra_eur": magnitude(closed_test_infrastructure()),
        "gate_work": short(planned),
        "gate_share": f"{1 / (1 + MORE_WORK):.0%}",
        "review_infra_eur": f"{review.infrastructure_eur:.2f}",
        "review_infra_high": f"{review.at(cdn_usd_per_gb=cdn * review.inputs.cdn_usd_per_gb).infrastructure_eur:.2f}",
        "review-floor": short(REVIEW_FLOOR),
        "review_infra_floor": f"{floor.infrastructure_eur:.2f}",
        "review_infra_floor_high": f"{dearer.infrastructure_eur:.2f}",
    }


def _income() -> dict[str, str]:
    """What the price leaves, at the review and at the first stage, and when what was spent is back."""
    plan, half = cash(), cash(0.5)
    return {
        "tax": f"{TAX:.0%}",
        "net_price": f"{net_price():.2f}",
        "margin_first": f"{margin(STAGES[0].inputs.subscribers):.2f}",
        "margin_review": f"{margin(REVIEW_SUBSCRIBERS):.2f}".replace("-", "\u2212"),
        "margin_from": short(margin_from()),
        "cash_low": f"{plan.low / 1e6:.2f}".replace("-", "\u2212"),
        "cash_low_month": str(plan.low_month),
        "cash_zero_month": str(plan.zero_month),
        "cash_grown": f"{plan.grown / 1e6:.2f}",
        "cash_half_low": f"{half.low / 1e6:.2f}".replace("-", "\u2212"),
        "cash_half_zero": str(half.zero_month),
    }


def _detectable(inputs: Inputs, effect: float = 1.0) -> str:
    """The smallest change of hours that a test of all accounts finds, with two digits."""
    share = 100 * experiments.detectable(inputs.subscribers / effect)
    return f"{share:.{1 - math.floor(math.log10(share))}f}%"


def _site_gbps(inputs: Inputs) -> float:
    """Traffic of a site of 50,000 subscribers at its zone's busiest hour."""
    r = run(replace(inputs, subscribers=50_000.0))
    return r.delivery.edge_tbps * 1000


def _simulated(results: Results) -> dict[str, str]:
    books = results.verdicts["ledger", "design"].figures
    tests = results.verdicts["experiments", "design"].figures
    apart = results.verdicts["experiments", "by-account"].figures
    push = results.verdicts["fanout", "design"].figures
    variant = {v: results.verdicts["fanout", v].figures for v in fanout.VARIANTS}
    booked = {v: results.verdicts["ledger", v].figures for v in SIMULATIONS["ledger"].VARIANTS}
    world = fanout.World()
    return {
        "sim.invoices": short(books["invoices"]),
        "sim.events": short(books["events"]),
        "sim.deliveries": short(books["deliveries"]),
        "sim.postings": short(books["postings"]),
        "sim.seeds": str(len(ledger.SEEDS)),
        "sim.refuse_broken": str(sum(not v.holds for v in results.seeds["ledger", "refuse-early"])),
        "sim.turns": short(books["turns"]),
        "sim.kills": short(books["kills"]),
        "sim.lost": short(books["lost"]),
        "sim.found": short(books["found"]),
        "sim.twice_no_key": short(booked["no-key"]["twice"]),
        "sim.twice_timeout": short(booked["timeout-is-failure"]["twice"]),
        "sim.dual_missing": short(booked["dual-write"]["missing"]),
        "sim.trusting_extra": short(booked["trusting-accounting"]["extra"]),
        "sim.two_percent": short(tests["accounts_to_see_two_percent"]),
        "sim.peeking": f"{tests['peeking_alarm_share']:.1%}",
        "sim.looks": short(tests["looks"]),
        "sim.peeking_trials": short(experiments.PEEKING_TRIALS),
        "sim.peeking_error": _error(tests["peeking_alarm_share"], experiments.PEEKING_TRIALS),
        "sim.srm_trials": short(experiments.SRM_TRIALS),
        "sim.alarms_error": _error(tests["aa_alarm_share"], experiments.SRM_TRIALS),
        "sim.alarms": f"{tests['aa_alarm_share']:.1%}",
        "sim.spill": f"{tests['spill_estimate']:.2f}",
        "sim.spill_apart": f"{apart['spill_estimate']:.2f}",
        "sim.spill_true": f"{tests['spill_true']:.2f}",
        "sim.followers": magnitude(world.followers),
        "sim.connected": magnitude(world.connected),
        "sim.gateways": short(world.gateways),
        "sim.dispatcher": f"{short(world.dispatcher_s)} a second",
        "sim.in_time": f"{push['in_time']:.0%}",
        "sim.followers_p99": f"{push['followers_p99']:.0f}",
        "sim.catch_up": f"{push['catch_up']:.1f}",
        "sim.no_lanes": f"{variant['no-lanes']['friends_catch_up']:.0f}",
        "sim.no_broadcast_in_time": f"{variant['no-broadcast']['in_time']:.0%}",
        "sim.larger_in_time": f"{variant['larger-dispatcher']['in_time']:.0%}",
        "sim.open_share": f"{world.open_share:.0%}",
        "sim.open_limit": f"{math.floor(100 * world.largest_open_share)}%",
        "sim.home_needed": f"{world.open_share / world.largest_open_share:.0%}",
        "sim.no_card_in_time": f"{variant['no-card']['in_time']:.0%}",
        "sim.no_replay_missed": short(variant["no-replay"]["missed"]),
        "sim.no_coalescing": f"{variant['no-coalescing']['catch_up']:.0f}",
        "sim.home_peak": short(push["home_peak"]),
        "sim.home_capacity": short(world.home_s),
        "sim.no_pacing_peak": short(variant["no-pacing"]["home_peak"]),
        "sim.no_local_pacing_peak": short(variant["no-local-pacing"]["home_peak"]),
        "sim.backlog": magnitude(push["backlog_peak"]),
        "sim.no_coalescing_backlog": magnitude(variant["no-coalescing"]["backlog_peak"]),
    }
