"""judge.py grafana|google -- whether the dashboard on standard input is one by its schema; run with the packages of
requirements.txt. Prints what is wrong; the status is 1 then."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any


def lost(given: Any, kept: Any, where: str = "") -> Iterator[str]:
    """What the schema did not keep: it does not know it, or it is of another type."""
    if isinstance(given, dict):
        for name, value in given.items():
            if not isinstance(kept, dict) or name not in kept:
                yield f"{where}/{name} is unknown"
            else:
                yield from lost(value, kept[name], f"{where}/{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for at, (value, other) in enumerate(zip(given, kept)):
            yield from lost(value, other, f"{where}/{at}")
    elif type(given) is not type(kept) or given != kept:
        yield f"{where}: {given!r} is kept as {kept!r}"


def grafana(given: Any) -> Iterator[str]:
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    yield from lost(given, json.loads(JSONEncoder().encode(Dashboard.from_json(given))))
    for panel in given["panels"]:
        place = panel["gridPos"]
        if any(not isinstance(place[name], int) for name in ("x", "y", "w", "h")):
            yield f"{panel['title']}: {place}"


def google(given: Any) -> Iterator[str]:
    from google.cloud.monitoring_dashboard_v1 import Dashboard
    from google.protobuf import json_format

    try:
        json_format.ParseDict(given, Dashboard.pb()())
    except json_format.ParseError as error:
        yield str(error)


if __name__ == "__main__":
    problems = list({"grafana": grafana, "google": google}[sys.argv[1]](json.load(sys.stdin)))
    print(*problems, sep="\n")
    sys.exit(1 if problems else 0)
