"""Scaling, by hand and by itself."""

from __future__ import annotations

import json
import time

from cluster import wait
from load_pod import expect_clean
from suite import E2E, check, expect, say

SCALED = ["countries", "feature-store", "notes", "route-guide", "users"]
FOLLOWED_S = 30  # after so long every new pod has its share
EVEN = 0.10
BALANCED = ["users", "feature-store"]  # by their clients; a connection to route-guide's one address stays with its pod
SERVED = {  # what counts requests
    "users": ("http_requests_total", 'path="/users/{user_id}"'),
    "feature-store": ("grpc_server_handled_total", 'grpc_service="routeguide.RouteGuide"'),
    "route-guide": ("grpc_server_handled_total", 'grpc_service="routeguide.RouteGuide"'),
}


def served(e2e: E2E, app: str) -> dict[str, float]:
    return {pod.name: e2e.cluster.counted(pod.name, *SERVED[app]) for pod in e2e.cluster.serving(app)}


def difference(before: dict[str, float], after: dict[str, float]) -> list[float]:
    return [count - before.get(name, 0) for name, count in after.items()]


@check("scaling 2 to 5 and back", by_part=True)
def scales(e2e: E2E) -> str:
    apps = e2e.concerned(SCALED)

    def scale() -> None:
        for count in (5, 2):
            e2e.system.scale(dict.fromkeys(apps, count))
            e2e.cluster.rolled_out(*e2e.part.deployments)

    try:
        return e2e.undisturbed("scale", scale)
    finally:
        e2e.system.scale({app: 3 if app == "countries" else 2 for app in apps})


@check("all of five pods serve over connections from before, and evenly", by_part=True)
def spreads(e2e: E2E) -> str:
    apps = e2e.concerned(SERVED)
    try:
        with e2e.under_load("spread") as run:
            e2e.system.scale(dict.fromkeys(apps, 5))
            e2e.cluster.rolled_out(*e2e.part.deployments)
            run.hold(FOLLOWED_S)
            first = {app: served(e2e, app) for app in apps}
            run.hold(FOLLOWED_S)
            second = {app: difference(first[app], served(e2e, app)) for app in apps}
        expect_clean(run.stop())
        for app, counts in first.items():
            expect(len(counts) == 5 and all(counts.values()), f"{app}, {FOLLOWED_S} s after scaling: {counts}")
        worst = {app: max(abs(count * 5 / sum(counts) - 1) for count in counts) for app, counts in second.items()}
        for app, counts in second.items():
            say(f"{app}: {', '.join(f'{count:.0f}' for count in counts)} requests, off by {worst[app]:.1%} at most")
        balanced = [app for app in BALANCED if app in apps]
        for app in balanced:
            expect(worst[app] <= EVEN, f"{app}: {second[app]}")
        return ", ".join(f"{app} within {worst[app]:.1%} of even" for app in balanced)
    finally:
        e2e.system.scale(dict.fromkeys(apps, 2))


@check("demo scales itself out under load, and back")
def scales_itself(e2e: E2E) -> str:
    # The file says to wait five minutes and take a pod a minute; here there is less time.
    quick = {
        "scaleDown": {"stabilizationWindowSeconds": 20, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}
    }
    e2e.cluster.kubectl("patch", "hpa", "demo", "--type=merge", "-p", json.dumps({"spec": {"behavior": quick}}))
    least = e2e.cluster.get("hpa/demo")["spec"]["minReplicas"]
    line: list[tuple[float, int]] = []

    def look() -> int:
        count = len(e2e.cluster.serving("demo"))
        if not line or line[-1][1] != count:
            line.append((time.monotonic() - began, count))
        return count

    began = time.monotonic()
    with e2e.under_load("hpa-small", only="demo", rate=100) as small:
        with e2e.under_load("hpa-large", only="demo", rate=2000) as large:
            wait("demo has scaled out", lambda: look() > least, 150, 1)
        expect_clean(large.stop())
        line.append((time.monotonic() - began, look()))
        wait("demo has scaled back", lambda: look() == least, 240, 1)
    expect_clean(small.stop())
    say("pods: " + ", ".join(f"{count} at {at:.0f} s" for at, count in line))
    return f"{least} -> {max(count for _, count in line)} -> {least} pods; {large.report}"
