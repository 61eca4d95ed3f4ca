"""The single figures that the text quotes, by name, formatted as they stand in the text."""

from __future__ import annotations

import math
from dataclasses import replace

from ..model.calibration import dense_events, hours_from_report
from ..model.compute import run
from ..model.inputs import SCENARIOS, WORLD, Inputs, numeric_fields
from ..model.sensitivity import EDGE_TEAM_EUR, break_even, percentile
from .results import Results


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


def values(results: Results) -> dict[str, str]:
    out: dict[str, str] = {}
    for name, r in results.scenarios.items():
        out |= {
            f"{name}.eur": f"{r.per_subscriber:.3f}",
            f"{name}.payments_eur": f"{r.bill.payments / r.inputs.subscribers:.2f}",
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
            f"{name}.events_s": magnitude(r.control.events_s),
            f"{name}.writes_s": short(r.control.writes_s),
            f"{name}.invoices_s": short(r.control.invoices_s),
            f"{name}.pushes_s": short(r.control.pushes_s),
            f"{name}.connections": magnitude(r.control.connections),
            f"{name}.machines": short(r.plant.cloud_machines),
            f"{name}.origin_gbps": short(r.delivery.origin_peak_gbps),
            f"{name}.top3": ", ".join(f"`{s.name}`" for s in results.swings[name][:3]),
            f"{name}.p10": f"{percentile(results.spreads[name], 0.1):.3f}",
            f"{name}.p90": f"{percentile(results.spreads[name], 0.9):.3f}",
        }
    return out | _special(results) | _simulated(results)


def _special(results: Results) -> dict[str, str]:
    medium = SCENARIOS["medium"]

    def own_edge(paid: float) -> float:
        """Delivery of the medium size built instead of bought, with its team, if this share of traffic is paid for."""
        built = run(replace(medium, own_edge=True, edge_sites=200.0, transit_share=paid))
        return built.bill.delivery + EDGE_TEAM_EUR

    large = results.scenarios["large"]
    night = 0.05 * large.inputs.edge_site_servers * large.inputs.edge_server_tb * 1e12  # bytes filled a site
    dense = dense_events()
    region = sum(z.share for z in WORLD if z.pair == "west") / 2  # the largest region's share of the accounts
    served = large.audience.peak_streams / large.inputs.edge_sites
    return {
        "bitrate": f"{results.scenarios['medium'].media.delivered_mbps:.2f}",
        "gb_per_hour": f"{results.scenarios['medium'].media.gb_per_hour_stored:.1f}",
        "gb_watched": f"{results.scenarios['medium'].media.delivered_mbps * 0.45:.1f}",
        "core_hours": short(results.scenarios["medium"].media.core_hours_per_hour),
        "report_hours": f"{hours_from_report():.2f}",
        "break_even": magnitude(break_even(results.curves[1.0])),
        "break_even_half": magnitude(break_even(results.curves[0.5])),
        "break_even_double": magnitude(break_even(results.curves[2.0])),
        "medium.own_delivery": magnitude(own_edge(medium.transit_share)),
        "own_half": magnitude(own_edge(0.5)),
        "own_all": magnitude(own_edge(1.0)),
        "medium.delivery": magnitude(results.scenarios["medium"].bill.delivery),
        "dense.before": f"{dense[0]:.3f}",
        "dense.after": f"{dense[1]:.3f}",
        "large.site_streams": short(served),
        "large.zones_over_global": f"{large.delivery.edge_tbps / large.delivery.peak_tbps:.1f}",
        "large.provisioned": f"{large.audience.provisioned:.1f}",
        "large.cache_tb": short(large.plant.cache_tb),
        "inputs": str(len(numeric_fields())),
        "assumptions": str(sum(f.metadata["basis"] == "assumption" for f in numeric_fields())),
        "events_miss": f"{1 / results.checks[3].ratio:.0f}",
        "cache_miss": f"{1 / results.checks[4].ratio:.0f}",
        "push_miss": f"{1 / results.checks[5].ratio:.0f}",
        "live_ratio": f"{1 / results.checks[8].ratio:.1f}",
        "fill_at_60": short(large.delivery.fill_servers * 0.4 / (1 - large.delivery.edge_hit)),
        "technology_eur": f"{results.checks[-1].published:.2f}",
        "large.rerank_hours": f"{24 * large.inputs.batch_utilisation * region / (1 - region):.1f}",
        "large.region_profiles": magnitude(large.control.profiles * region),
        "large.key_gb": short(large.control.profiles * 100 / 1e9),
        "medium.list_eur": f"{run(replace(medium, cdn_usd_per_gb=0.02)).per_subscriber:.2f}",
        "fill_gbps": f"{night * 8 / (6 * 3600) / 1e9:.1f}",
        "fill_share": f"{night * large.inputs.edge_sites * 30.4 / (large.delivery.egress_pb * 1e15):.0%}",
        "snapshot_tbps": f"{large.plant.service_machines * 3e9 * 8 / 60 / 1e12:.1f}",
        "lost_key_s": short(large.audience.peak_streams / 600),
        "site_gbps": short(_site_gbps(medium)),
    }


def _site_gbps(inputs: Inputs) -> float:
    """Traffic of a site of 50,000 subscribers at its zone's busiest hour."""
    r = run(replace(inputs, subscribers=50_000.0))
    return r.delivery.edge_tbps * 1000


def _simulated(results: Results) -> dict[str, str]:
    ledger = results.verdicts["ledger", "design"].figures
    tests = results.verdicts["experiments", "design"].figures
    push = results.verdicts["fanout", "design"].figures
    fifo = results.verdicts["fanout", "fifo"].figures
    return {
        "sim.events": short(ledger["events"]),
        "sim.deliveries": short(ledger["deliveries"]),
        "sim.kills": short(ledger["kills"]),
        "sim.two_percent": short(tests["accounts_to_see_two_percent"]),
        "sim.peeking": f"{tests['peeking_alarm_share']:.1%}",
        "sim.looks": short(tests["looks"]),
        "sim.alarms": f"{tests['aa_alarm_share']:.1%}",
        "sim.catch_up": f"{push['catch_up']:.0f}",
        "sim.no_coalescing": f"{results.verdicts['fanout', 'no-coalescing'].figures['catch_up']:.0f}",
        "sim.no_pull_p99": short(results.verdicts["fanout", "no-pull"].figures["bulk_p99"]),
        "sim.fifo_p99": short(fifo["friend_p99"]),
        "sim.home_peak": short(push["home_peak"]),
        "sim.no_pacing_peak": short(results.verdicts["fanout", "no-pacing"].figures["home_peak"]),
        "sim.backlog": magnitude(push["backlog_peak"]),
        "sim.fifo_backlog": magnitude(fifo["backlog_peak"]),
    }
