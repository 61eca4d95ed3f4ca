"""The plots and diagrams of the paper: file name to SVG text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ..draw import blocks, sequence
from ..draw.charts import Axis, Line, line_plot, stacked, tornado
from ..model.compute import audience, hit_rates
from ..model.inputs import SCENARIOS, TITLES
from ..sim.fanout import Push, World
from .figures import load
from .results import Results
from .tables import BESIDE
from .values import values


def images(results: Results) -> dict[str, str]:
    out = {}
    figures = load(results.folder) | values(results)
    for source in sorted((results.folder / "diagrams").iterdir()):
        out[f"{source.stem}.svg"] = _diagram(source, figures)
    out["plot-day.svg"] = _day()
    out["plot-bill.svg"] = _bill(results)
    for name in results.scenarios:
        out[f"plot-sensitivity-{name}.svg"] = _tornado(results, name)
    out["plot-build-or-buy.svg"] = _build_or_buy(results)
    out["plot-hit-rate.svg"] = _hit_rate()
    out["plot-backlog.svg"], out["plot-home.svg"] = _backlog()
    return out


def _diagram(source: Path, figures: dict[str, str]) -> str:
    """Draws a source with its figures put in."""
    draw = sequence.draw if source.suffix == ".mmd" else blocks.draw
    return draw(re.sub(r"\{=([\w.-]+)\}", lambda m: figures[m[1]], source.read_text()))


def _day() -> str:
    large = SCENARIOS["large"]
    lines = [Line("all zones", [(h, s / 1e6) for h, s in enumerate(audience(large).curve)])]
    for zone in large.zones:
        curve = audience(replace(large, zones=(zone,))).curve
        lines.append(Line(zone.name, [(h, s / 1e6) for h, s in enumerate(curve)]))
    x = Axis("hour, UTC", 0, 23, tuple((h, str(h)) for h in range(0, 24, 3)))
    y = Axis("million streams", 0, 40, tuple((v, str(v)) for v in range(0, 41, 10)))
    return line_plot("Streams over a mean day, 250 million subscribers", x, y, lines)


def _bill(results: Results) -> str:
    bars = []
    for name, r in results.scenarios.items():
        parts = {k.replace("_", " "): v for k, v in vars(r.bill).items() if k not in BESIDE}
        bars.append((TITLES[name], parts))
    return stacked("Where the money goes", "share of the monthly infrastructure bill", bars)


def _tornado(results: Results, name: str) -> str:
    rows = [(s.name, s.low, s.high) for s in results.swings[name][:10]]
    title = f"What the cost depends on: {TITLES[name]}"
    return tornado(title, "EUR per account", results.scenarios[name].per_subscriber, rows)


def _build_or_buy(results: Results) -> str:
    lines = [Line("own edge", [(c.subscribers, c.own) for c in results.curves[1.0]])]
    for price, curve in results.curves.items():
        label = {0.5: "bought, half the price", 1.0: "bought", 2.0: "bought, twice the price"}[price]
        lines.append(Line(label, [(c.subscribers, c.shared) for c in curve], dashed=price != 1.0))
    x = Axis(
        "subscribers",
        1e5,
        10**8.45,
        ((1e5, "100,000"), (1e6, "1 million"), (1e7, "10 million"), (1e8, "100 million")),
        log=True,
    )
    y = Axis(
        "EUR per account and month",
        0.02,
        3,
        ((0.03, "0.03"), (0.1, "0.10"), (0.3, "0.30"), (1, "1.00"), (3, "3.00")),
        log=True,
    )
    return line_plot("Delivery: build or buy", x, y, lines)


def _hit_rate() -> str:
    large = SCENARIOS["large"]
    lines = []
    for exponent in (0.8, 0.9, 1.0, 1.1):
        points = []
        for tb in range(20, 1_001, 20):
            site = replace(large, zipf_exponent=exponent, edge_server_tb=tb / large.edge_site_servers)
            points.append((float(tb), 100 * hit_rates(site, 1.0)[0]))
        lines.append(Line(f"Zipf exponent {exponent}", points))
    x = Axis("storage of a site, TB", 0, 1_000, tuple((v, str(v)) for v in range(0, 1_001, 200)))
    y = Axis("byte hit rate at the edge, percent", 30, 100, tuple((v, str(v)) for v in range(30, 101, 10)))
    return line_plot("What a site's storage buys, 90,000 h of catalogue", x, y, lines, ((200, "as modelled"),))


def _backlog() -> tuple[str, str]:
    traces = {
        v: Push(World(), v, 3).run() for v in ("no-lanes", "no-coalescing", "no-pacing", "no-local-pacing", "design")
    }
    minutes = range(0, World().end, 15)
    start, end = (t / 60 for t in World().outage)
    x = Axis("minutes", 0, 180, tuple((m, str(m)) for m in range(0, 181, 30)))
    marks = ((World().announce_at / 60, "premiere"), (start, "outage"), (end, "back"))
    waiting = [
        Line(v, [(t / 60, tr.backlog[t] / 1e6) for t in minutes]) for v, tr in traces.items() if v != "no-local-pacing"
    ]
    y = Axis("million hints waiting", 0, 25, tuple((m, str(m)) for m in range(0, 26, 5)))
    first = line_plot("Push: backlog through an outage of 45 minutes", x, y, waiting, marks)
    offered = [Line(v, [(t / 60, tr.home[t] / 1e3) for t in minutes]) for v, tr in traces.items() if v != "no-lanes"]
    y = Axis("thousand requests/s", 0, 25, tuple((m, str(m)) for m in range(0, 26, 5)))
    return first, line_plot(f"Home API: what is asked of it (capacity {World().home_s // 1000})", x, y, offered, marks)
