"""Pods and nodes that go, wanted or not, under load."""

from __future__ import annotations

import json
import shlex
import time

from cluster import KUBECTL, Failure, Pod, command, wait
from load_pod import Invalid
from suite import E2E, Skip, check, expect, say

DEAD_NODE_S = 20  # so long may requests fail after a node has died, or
NOTICED_S = 5  # so long after the cluster has noticed: until then it sends every client there
CUT_S = 10  # and so long first attempts after pods were cut off: the kubelet takes 2 s, then all must learn of it


@check("pods are deleted, one after another of each service", by_part=True)
def deletes_pods(e2e: E2E) -> str:
    def delete() -> None:
        first = {app: e2e.cluster.serving(app) for app in e2e.part.services}
        for index in range(max(len(pods) for pods in first.values())):
            victims = [pods[index].name for pods in first.values() if index < len(pods)]
            e2e.cluster.kubectl("delete", "pod", *victims, "--wait=false")
            e2e.cluster.rolled_out(*e2e.part.deployments)

    return e2e.undisturbed("delete", delete)


def evict(e2e: E2E, pod: Pod, deadline: float) -> None:
    """As kubectl drain does it: by the API that heeds disruption budgets."""
    path = f"/api/v1/namespaces/{e2e.cluster.namespace}/pods/{pod.name}/eviction"
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction",
                       "metadata": {"name": pod.name, "namespace": e2e.cluster.namespace}})  # fmt: skip
    while True:
        said = command(KUBECTL, "create", "--raw", path, "-f", "-", stdin=body, check=False)
        if not said.returncode or "NotFound" in said.stderr:
            return
        if "disruption budget" not in said.stderr or time.monotonic() > deadline:
            raise Failure(f"eviction of {pod.name}: {said.stderr}")
        time.sleep(1)


def another_node(e2e: E2E) -> str:
    """A node with pods of ours, but not that of the load."""
    counts = {node: 0 for node in e2e.cluster.nodes() if node != e2e.load.node}
    for pod in e2e.cluster.pods():
        if pod.node in counts:
            counts[pod.node] += 1
    if len(counts) < 2:
        raise Skip("needs three nodes that take pods")
    return max(counts, key=lambda node: counts[node])


@check("a node is drained", by_part=True)
def drains_a_node(e2e: E2E) -> str:
    node = another_node(e2e)
    pods = [pod for pod in e2e.cluster.pods() if pod.node == node]

    def drain() -> None:
        e2e.cluster.kubectl("cordon", node)
        try:
            deadline = time.monotonic() + 240
            for pod in pods:
                evict(e2e, pod, deadline)
            e2e.cluster.rolled_out()
            left = [pod.name for pod in e2e.cluster.pods() if pod.node == node]
            expect(not left, f"still on {node}: {left}")
        finally:
            e2e.cluster.kubectl("uncordon", node)

    return f"{node}, {len(pods)} pods; " + e2e.undisturbed("drain", drain)


@check("a pod of each service is cut off without grace", by_part=True)
def kills_pods(e2e: E2E) -> str:
    with e2e.under_load("kill", retry=5) as run:
        killed = run.now()
        e2e.cluster.kubectl("delete", "pod", *(e2e.cluster.serving(app)[0].name for app in e2e.part.services), "--force",
                            "--grace-period=0")  # fmt: skip
        gone = run.now()
        e2e.cluster.rolled_out(*e2e.part.deployments)
    report = run.stop()
    if not report.valid:
        raise Invalid(f"{report.achieved:.0f} of {report.rate:.0f} requests a second")
    expect(report.failed == 0, f"in spite of retries: {report}\n{report.failures_text()}")
    if report.retried:
        expect(killed - 1 <= report.first_failure and report.last_failure <= gone + CUT_S,
               f"killed from {killed:.1f} to {gone:.1f} s, attempts failed from {report.first_failure:.1f} to {report.last_failure:.1f} s\n"
               f"{report.failures_text()}")  # fmt: skip
    e2e.load.nothing_lost(run.journal)
    span = (
        f", {report.first_failure - killed:.1f} to {report.last_failure - killed:.1f} s after" if report.retried else ""
    )
    return f"{report.retried} requests needed another attempt{span}; {report}"


def give_back(e2e: E2E, node: str) -> None:
    """The node's power; until all is as before."""
    if e2e.start_node:
        command(*shlex.split(e2e.start_node), node, timeout=180, niceness=0)  # what it starts inherits that
        wait(f"{node} is back", lambda: node in e2e.cluster.nodes(), 120)
        e2e.cluster.rolled_out()


def node_to_kill(e2e: E2E) -> str:
    """One that may die: after drains two members of etcd can be on one node, and without them there is no majority."""
    if not e2e.kill_node:
        raise Skip("no command that does it: --kill-node or $SLIPWAY_KILL_NODE")
    members = [pod.node for pod in e2e.cluster.pods("etcd")]
    if len(set(members)) < len(members):
        e2e.system.restart("statefulset/etcd")  # their topology constraint spreads them as they come back
    return another_node(e2e)


@check("a node loses its power", by_part=True)
def kills_a_node(e2e: E2E) -> str:
    node = node_to_kill(e2e)
    pods = [pod for pod in e2e.cluster.pods() if pod.node == node]
    try:
        with e2e.under_load("node") as run:
            killed = run.now()
            command(*shlex.split(e2e.kill_node), node)
            dead = run.now()
            wait("the cluster notices", lambda: node not in e2e.cluster.nodes(), 90)
            noticed = run.now()
            run.hold(max(dead + DEAD_NODE_S, noticed + NOTICED_S) + 10 - noticed)
        report = run.stop()
        e2e.load.nothing_lost(run.journal)
    finally:
        give_back(e2e, node)
    e2e.load.nothing_lost(run.journal)
    if not report.valid:
        raise Invalid(f"{report.achieved:.0f} of {report.rate:.0f} requests a second")
    say(
        f"{node} with {len(pods)} pods, {', '.join(sorted({pod.app for pod in pods}))}; dead after {dead - killed:.1f} s, noticed {noticed - dead:.1f} s later"
    )
    if report.failed:
        expect(killed - 5 <= report.first_failure and report.last_failure <= max(dead + DEAD_NODE_S, noticed + NOTICED_S),
               f"dead at {dead:.1f} s, noticed at {noticed:.1f} s, requests failed from {report.first_failure:.1f} to {report.last_failure:.1f} s\n"
               f"{report.failures_text()}")  # fmt: skip
    return f"noticed after {noticed - dead:.1f} s; failures up to {max(report.last_failure - dead, 0):.1f} s after; 0 lost; {report}"
