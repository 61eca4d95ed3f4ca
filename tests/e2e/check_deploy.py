"""Deploying: from nothing, twice, interrupted, and held to what the cluster asks for."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from cluster import KUBECTL, ROOT, Cluster, command, wait
from suite import E2E, check, expect
from system import QUIET, System

OVERLAYS = sorted(path.parent.name for path in ROOT.glob("k8s/overlays/*/kustomization.yaml"))


@check("an empty namespace, skaffold run: all is ready")
def deploys(e2e: E2E) -> str:
    seconds = e2e.system.deploy()
    restarts = sum(pod.restarts for pod in e2e.cluster.pods())
    expect(restarts == 0, f"{restarts} restarts of containers until then")
    e2e.load.start(e2e.image)
    return f"{seconds:.0f} s, images included; {len(e2e.cluster.pods()) - 1} pods"


@check("skaffold run once more changes nothing")
def deploys_twice(e2e: E2E) -> str:
    before = e2e.system.state()
    seconds = e2e.system.deploy()
    after = e2e.system.state()
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    expect(not changed, f"changed: {', '.join(changed)}")
    return f"{len(before)} objects and pods as before, {seconds:.0f} s"


@check("skaffold run interrupted and run again, skaffold delete twice")
def interrupted(e2e: E2E) -> str:
    other = Cluster(f"{e2e.cluster.namespace}-b")
    system = System(other, e2e.system.registry)
    other.create()
    try:
        with subprocess.Popen(system.skaffold_command("run"), cwd=ROOT, env={**os.environ, **QUIET},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # fmt: skip
            wait("the first pods are there", lambda: other.pods() or process.poll() is not None, 300)
            process.send_signal(signal.SIGINT)
            process.wait(120)
        seconds = system.deploy()
        system.skaffold("delete")
        wait("no pod is left", lambda: not other.pods(), 120)
        system.skaffold("delete")
        left = other.kubectl("get", "deployments,statefulsets,services,pods", "-o", "name").split()
        expect(not left, f"left after skaffold delete: {left}")
    finally:
        other.delete()
    return f"resumed in {seconds:.0f} s; nothing left"


@check("every overlay fits Pod Security 'restricted' and the API server: no warning")
def restricted(e2e: E2E) -> str:
    known = set(command(KUBECTL, "api-resources", "--no-headers", "-o", "wide").stdout.split())
    objects, unknown = 0, set()
    for overlay in OVERLAYS:
        built = command("kustomize", "build", f"k8s/overlays/{overlay}").stdout
        kept = []
        for each in built.split("\n---\n"):
            kind = next(line.removeprefix("kind: ") for line in each.splitlines() if line.startswith("kind: "))
            if kind not in known:
                unknown.add(kind)
            elif kind != "Namespace":
                kept.append("\n".join(line for line in each.splitlines() if not line.startswith("  namespace: ")))
        said = command(KUBECTL, "-n", e2e.cluster.namespace, "apply", "--dry-run=server", "-f", "-",
                       stdin="\n---\n".join(kept), timeout=180)  # fmt: skip
        warnings = [line for line in said.stderr.splitlines() if "arning" in line and "last-applied" not in line]
        expect(not warnings, f"{overlay}: {warnings}")
        objects += len(said.stdout.splitlines())
    beside = f"; this cluster knows no {', '.join(sorted(unknown))}" if unknown else ""
    return f"{len(OVERLAYS)} overlays, {objects} objects{beside}"


@check("a new pod takes its time once only: ready after deletion")
def starts(e2e: E2E) -> str:
    times = []
    for app in ("demo", "notes", "route-guide"):
        pod = e2e.cluster.serving(app)[0]
        before = {each.uid for each in e2e.cluster.pods(app)}
        began = time.monotonic()
        e2e.cluster.kubectl("delete", "pod", pod.name, "--wait=false")
        wait(f"a new pod of {app} is ready",
             lambda app=app, before=before: any(each.uid not in before for each in e2e.cluster.serving(app)), 60)  # fmt: skip
        times.append(f"{app} {time.monotonic() - began:.1f} s")
    e2e.cluster.rolled_out()
    return ", ".join(times)
