"""dashboards -- Grafana's and Google Cloud's dashboards, from the panels in k8s/components/monitoring/dashboards.toml, as text for
scripts/generate."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from services import Declaration, Invalid, services

SOURCE = "k8s/components/monitoring/dashboards.toml"
RULES = "k8s/components/monitoring/rules.yml"
GRAFANA, GOOGLE = "k8s/components/monitoring/dashboards", "infra/dashboards"
WIDTH, HEIGHT = 12, 8  # of a panel; a dashboard is two panels wide
GOOGLE_SCALE = 2  # Google Cloud's grid has 48 columns, Grafana's 24
GOOGLE_WINDOW = "5m"  # ten of its scrapes
UNITS = {"reqps": "1/s", "s": "s", "bytes": "By", "percentunit": "10^2.%", "none": "1"}  # of Grafana: of Google Cloud

Json = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    about: str
    queries: dict[str, str]  # legend: PromQL, with WINDOW and the names of recorded series


@dataclass(frozen=True)
class Row:
    title: str
    panels: list[Panel]


@dataclass(frozen=True)
class Dashboard:
    name: str
    title: str
    rows: list[Row]


# ---- the panels ----


def wrong(where: str, what: str) -> Invalid:
    return Invalid(f"{SOURCE}: {where}: {what}")


def keys(where: str, table: Json, *wanted: str) -> list[Any]:
    """Their values; there must be these and no others."""
    if set(table) != set(wanted):
        raise wrong(where, f"has {', '.join(sorted(table))}, not {', '.join(sorted(wanted))}")
    return [table[key] for key in wanted]


def panel(where: str, table: Json, names: list[str]) -> Panel:
    title, unit, about, queries = keys(where, table, "title", "unit", "about", "queries")
    if unit not in UNITS:
        raise wrong(f"{where}: {title}", f"unit is none of {', '.join(UNITS)}")
    selected = "|".join(names)
    joined = f'* on (instance) group_left (service) build_info{{service=~"{selected}"}}'
    made = {
        legend: " ".join(re.sub(r"\bOF\b", joined, query).replace("SERVICES", selected).split())
        for legend, query in queries.items()
    }
    return Panel(title, unit, about, made)


def row(where: str, table: Json, sets: Json, every: list[str]) -> Row:
    title, chosen, names = keys(where, table, "title", "set", "services")
    if chosen not in sets:
        raise wrong(where, f"there is no set {chosen}")
    names = every if names == "all" else names
    if unknown := [name for name in names if name not in every]:
        raise wrong(where, f"{unknown[0]} is no service")
    return Row(title, [panel(f"sets.{chosen}", each, names) for each in sets[chosen]])


def dashboards(root: Path, every: dict[str, Declaration]) -> list[Dashboard]:
    try:
        source = tomllib.loads((root / SOURCE).read_text())
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{SOURCE}: {error}") from None
    made, sets = keys("the file", source, "dashboards", "sets")
    names = [one.name for one in services(every)]
    found = []
    for name, table in made.items():
        title, rows = keys(f"dashboards.{name}", table, "title", "rows")
        found.append(Dashboard(name, title, [row(f"dashboards.{name}", each, sets, names) for each in rows]))
    if unused := sets.keys() - {each["set"] for table in made.values() for each in table["rows"]}:
        raise wrong(f"sets.{min(unused)}", "no dashboard has it")
    return found


# ---- where panels are ----


def placed(one: Dashboard) -> Iterator[tuple[int, int, Row | Panel]]:
    """x, y and what is there, in Grafana's grid."""
    y = 0
    for part in one.rows:
        yield 0, y, part
        y += 1
        for at, each in enumerate(part.panels):
            yield at % 2 * WIDTH, y + at // 2 * HEIGHT, each
        y += (len(part.panels) + 1) // 2 * HEIGHT


# ---- Grafana ----


def grafana_panel(number: int, x: int, y: int, what: Row | Panel) -> Json:
    if isinstance(what, Row):
        place = {"x": 0, "y": y, "w": 2 * WIDTH, "h": 1}
        return {"id": number, "type": "row", "title": what.title, "collapsed": False, "gridPos": place, "panels": []}
    return {
        "id": number,
        "type": "timeseries",
        "title": what.title,
        "description": what.about,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": what.unit}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": query.replace("WINDOW", "$__rate_interval"), "legendFormat": legend}
            for at, (legend, query) in enumerate(what.queries.items())
        ],
    }  # fmt: skip


def grafana(one: Dashboard) -> Json:
    return {
        "uid": f"slipway-{one.name}",
        "title": one.title,
        "tags": ["slipway"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [
            {"type": "dashboards", "title": "Slipway", "tags": ["slipway"], "asDropdown": True, "keepTime": True}
        ],
        "templating": {
            "list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}],
        },
        "panels": [grafana_panel(number, *each) for number, each in enumerate(placed(one), 1)],
    }


# ---- Google Cloud ----


def records(root: Path) -> dict[str, str]:
    """Recorded series and their expressions: nobody evaluates the rules on Google Cloud."""
    found = re.findall(
        r"^( *)- record: (\S+)\n\1  expr: \|\n((?:\1    .*\n)+)", (root / RULES).read_text(), re.MULTILINE
    )
    return {name: " ".join(dedent(text).split()) for _, name, text in found}


def evaluated(query: str, recorded: dict[str, str]) -> str:
    """A query with the expressions of recorded series in their place."""

    def expression(match: re.Match[str]) -> str:
        if match[1] not in recorded:
            raise wrong(query, f"{match[1]} is no rule of {RULES}")
        return f"(({recorded[match[1]]}) and on (service) build_info{{{match[2]}}})"

    return re.sub(r"\b(service:[a-z0-9_:]+)\{([^}]*)\}", expression, query)


def google_widget(what: Row | Panel, recorded: dict[str, str]) -> Json:
    if isinstance(what, Row):
        return {"title": what.title, "sectionHeader": {"dividerBelow": True}}
    sets = [
        {
            "timeSeriesQuery": {
                "prometheusQuery": evaluated(query, recorded).replace("WINDOW", GOOGLE_WINDOW),
                "unitOverride": UNITS[what.unit],
            },
            "plotType": "LINE",
            "legendTemplate": re.sub(r"\{\{(\w+)\}\}", r"${\1}", legend),
        }
        for legend, query in what.queries.items()
    ]
    return {"title": what.title, "xyChart": {"dataSets": sets, "yAxis": {"scale": "LINEAR"}}}


def google(one: Dashboard, recorded: dict[str, str]) -> Json:
    tiles = [
        {
            "xPos": x * GOOGLE_SCALE,
            "yPos": y * GOOGLE_SCALE,
            "width": (2 * WIDTH if isinstance(what, Row) else WIDTH) * GOOGLE_SCALE,
            "height": (1 if isinstance(what, Row) else HEIGHT) * GOOGLE_SCALE,
            "widget": google_widget(what, recorded),
        }
        for x, y, what in placed(one)
    ]
    columns = 2 * WIDTH * GOOGLE_SCALE
    return {"displayName": f"Slipway: {one.title}", "mosaicLayout": {"columns": columns, "tiles": tiles}}


# ---- all of it ----


def files(root: Path, every: dict[str, Declaration]) -> dict[str, str]:
    """Each dashboard's file with its text."""
    recorded = records(root)
    made: dict[str, Callable[[Dashboard], Json]] = {GRAFANA: grafana, GOOGLE: lambda one: google(one, recorded)}
    return {
        f"{folder}/{one.name}.json": json.dumps(make(one), indent=2, ensure_ascii=False) + "\n"
        for one in dashboards(root, every)
        for folder, make in made.items()
    }
