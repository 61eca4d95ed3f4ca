"""What Prometheus sees."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request

from check_reach import http
from cluster import wait
from suite import E2E, Skip, check, expect
from system import SERVICES


def ask(address: str, path: str, **parameters: str) -> dict:
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"http://{address}/api/v1/{path}?{query}", timeout=10) as answer:
        return json.load(answer)["data"]


def scraped(e2e: E2E, address: str) -> list[dict]:
    """All targets, if every pod is one and all are up."""
    targets = ask(address, "targets", state="active")["activeTargets"]
    pods = sum(len(e2e.cluster.serving(app)) for app in SERVICES)
    return targets if len(targets) > pods and all(each["health"] == "up" for each in targets) else []


@check("Prometheus: every target is up, and demo's random errors are in a query")
def prometheus(e2e: E2E) -> str:
    found = e2e.cluster.serving("prometheus")
    if not found:
        raise Skip("no Prometheus in this overlay")
    demo = e2e.system.outside("demo")
    with e2e.cluster.forward(found[0].name, 9090) as address:
        targets = wait("every pod is a target that is up", lambda: scraped(e2e, address), 90, 2)

        def errors() -> float:
            for _ in range(20):
                http("GET", f"http://{demo}/demo/random-error")
            query = 'sum(increase(http_server_resp_time_count{path="/demo/random-error",code="500"}[5m]))'
            result = ask(address, "query", query=query)["result"]
            return float(result[0]["value"][1]) if result else 0

        counted = wait("demo's errors are counted", errors, 90, 2)
        alerts = {rule["name"] for group in ask(address, "rules")["groups"] for rule in group["rules"]}
    expect(alerts, "no rules are loaded")
    return f"{len(targets)} targets; {counted:.0f} errors in 5 minutes; {len(alerts)} rules"
