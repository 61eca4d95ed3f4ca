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


CALLERS = {  # of feature-store, by what only they call there
    "route-guide (this library's client)": 'grpc_method="SaveFeature"',
    "the load generator (grpc-go)": 'grpc_method="RouteChat"',
}


def counted(e2e: E2E, app: str, *series: str) -> dict[str, float]:
    return {pod.name: e2e.cluster.counted(pod.name, *series) for pod in e2e.cluster.serving(app)}


def served(e2e: E2E, app: str) -> dict[str, float]:
    return counted(e2e, app, *SERVED[app])


def served_callers(e2e: E2E) -> dict[str, dict[str, float]]:
    name = SERVED["feature-store"][0]
    return {caller: counted(e2e, "feature-store", name, method) for caller, method in CALLERS.items()}


def uneven(counts: list[float]) -> float:
    """By how much of an equal share the pod that is farthest from it is off; 1 where nothing was counted."""
    return max(abs(count * len(counts) / sum(counts) - 1) for count in counts) if any(counts) else 1


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
        worst = {app: uneven(counts) for app, counts in second.items()}
        for app, counts in second.items():
            say(f"{app}: {', '.join(f'{count:.0f}' for count in counts)} requests, off by {worst[app]:.1%} at most")
        balanced = [app for app in BALANCED if app in apps]
        for app in balanced:
            expect(worst[app] <= EVEN, f"{app}: {second[app]}")
        return ", ".join(f"{app} within {worst[app]:.1%} of even" for app in balanced)
    finally:
        e2e.system.scale(dict.fromkeys(apps, 2))


@check("feature-store's new pods get their share from this library's client and from grpc-go's round_robin")
def spreads_clients(e2e: E2E) -> str:
    try:
        with e2e.under_load("clients", only="guide-get,store-chat") as run:
            e2e.system.scale({"feature-store": 5})
            e2e.cluster.rolled_out("deployment/feature-store")
            run.hold(FOLLOWED_S)
            first = served_callers(e2e)
            run.hold(FOLLOWED_S)
            second = {caller: difference(first[caller], counts) for caller, counts in served_callers(e2e).items()}
        expect_clean(run.stop())
        for caller, counts in second.items():
            say(f"{caller}: {', '.join(f'{count:.0f}' for count in counts)} calls, off by {uneven(counts):.1%} at most")
            expect(len(counts) == 5 and uneven(counts) <= EVEN, f"{caller}: {counts}")
        return ", ".join(f"{caller} within {uneven(counts):.1%} of even" for caller, counts in second.items())
    finally:
        e2e.system.scale({"feature-store": 2})


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
