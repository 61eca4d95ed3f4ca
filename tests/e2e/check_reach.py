"""Who reaches whom: clients inside and outside, through the Gateway, and nobody else."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import KUBECTL, NAME, ROOT, command, wait
from load_pod import pod_of
from suite import E2E, Skip, check, expect
from system import EVERY, PUBLIC, SERVICES

JSON = {"Content-Type": "application/json"}
HIDDEN = ["/metrics", "/healthz", "/readyz"]
EXERCISED = ("countries", "demo", "notes", "route-guide")  # whose every route is called
PROBED = [*SERVICES, "etcd", "prometheus"]
# Who calls whom, on which ports by name. Whatever is not here must not connect.
EDGES = {
    *((one.name, callee, EVERY[callee].called_port) for one in EVERY.values() for callee in one.calls),
    *((app, "etcd", "client") for app in SERVICES if "etcd" in EVERY[app].store),
    ("etcd", "etcd", "client"),
    ("etcd", "etcd", "peer"),
    *(("prometheus", app, "http-metrics") for app in [*SERVICES, "etcd"]),
}
ASK_DNS = {"prometheus", "etcd"} | {one.name for one in EVERY.values() if one.calls or "etcd" in one.store}
DNS = "10.96.0.10:53"


def http(method: str, url: str, body: dict[str, Any] | None = None,
         headers: dict[str, str] | None = None) -> tuple[int, str]:  # fmt: skip
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, headers or JSON, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def every_route(at: dict[str, str]) -> int:
    """Calls every route of the services at these addresses; returns how many calls that were."""
    calls = itertools.count()

    def call(app: str, method: str, path: str, wanted: int, having: str = "", **more: Any) -> str:
        status, text = http(method, f"http://{at[app]}{path}", **more)
        expect(
            status == wanted and having in text,
            f"{method} {app}{path}: {status} {text[:200]!r}, not {wanted} {having!r}",
        )
        next(calls)
        return text

    call("demo", "GET", "/demo/hello?delay=10", 200, "hello, world!\n")
    said = {http("GET", f"http://{at['demo']}/demo/random-error") for _ in range(60)}
    expect(said == {(200, "Everything is still OK\n"), (500, "ERROR: Something, somewhere, went wrong!\n")}, str(said))
    call("countries", "GET", "/countries?user_id=1234", 200, '"user_id":"1234"')
    call("countries", "GET", "/countries?user_id=no%20one", 400, "about:blank")
    note = json.loads(
        call("notes", "POST", "/v1/notes", 201, "Milk", body={"title": "Milk", "body": "2 l", "tags": ["e2e"]})
    )
    path = f"/v1/notes/{note['id']}"
    call("notes", "GET", path, 200, "Milk")
    call("notes", "PUT", path, 200, "Tea", body={"title": "Tea", "body": "", "tags": []})
    call("notes", "PATCH", path, 200, "Coffee", body={"title": "Coffee"},
         headers={"Content-Type": "application/merge-patch+json"})  # fmt: skip
    call("notes", "GET", "/v1/notes?limit=1", 200, "Coffee")
    call("notes", "DELETE", path, 204)
    call("notes", "GET", path, 404)
    call("notes", "GET", "/openapi.json", 200, "/v1/notes")
    for app, hidden in itertools.product(("countries", "demo", "notes"), HIDDEN):
        call(app, "GET", hidden, 404)
    return next(calls)


def route_client() -> str:
    """The program of this tree, built if it is not there."""
    build = Path(os.environ.get("SLIPWAY_BUILD", ROOT / "build"))
    if not (build / "route-client").exists():
        command("scripts/configure", str(build), timeout=300)
        command("ninja", "-C", str(build), "--quiet", "route-client", timeout=900)
    return str(build / "route-client")


@check("route-client inside (skaffold verify) and outside, and every route from outside")
def clients(e2e: E2E) -> str:
    built = e2e.folder / "artifacts.json"
    e2e.system.skaffold("build", "--file-output", str(built))
    said = e2e.system.skaffold("verify", "--build-artifacts", str(built))
    expect("all answers are right" in said, f"skaffold verify: {said[-1000:]}")
    outside = {app: e2e.system.outside(app) for app in EXERCISED}
    said = command(route_client(), "--server", outside["route-guide"]).stdout
    expect("all answers are right" in said, said)
    return f"{every_route(outside)} calls of HTTP routes"


@dataclass(frozen=True)
class Gateway:
    """A Gateway with the routes of the public services: its class, and where it takes HTTP and gRPC."""

    kind: str
    http: str
    grpc: str


@contextlib.contextmanager
def gateway_of(e2e: E2E) -> Iterator[Gateway]:
    wanted = os.environ.get("SLIPWAY_GATEWAY_CLASS", "")
    classes = command(KUBECTL, "get", "gatewayclasses", "-o", "name", check=False).stdout.split()
    names = [each.split("/")[1] for each in classes if wanted in each]
    if not names:
        raise Skip("this cluster has no GatewayClass")
    built = command("kustomize", "build", "tests/e2e/gateway").stdout.replace(
        "gatewayClassName: any", f"gatewayClassName: {names[0]}"
    )
    e2e.cluster.kubectl("apply", "-f", "-", stdin=built)
    try:
        found = wait("the Gateway has an address", lambda: addresses(e2e), 60)
        through = Gateway(names[0], f"{found}:80", f"{found}:8888")
        wait(
            "it routes",
            lambda: serves(f"http://{through.http}/demo/hello") and serves(f"http://{through.http}/v1/notes"),
            60,
            1,
        )
        yield through
    finally:
        e2e.cluster.kubectl("delete", "-f", "-", "--ignore-not-found", stdin=built)


@check("through the Gateway: HTTP and gRPC")
def gateway(e2e: E2E) -> str:
    with gateway_of(e2e) as through:
        calls = every_route(dict.fromkeys(EXERCISED, through.http))
        said = command(route_client(), "--server", through.grpc).stdout
        expect("all answers are right" in said, said)
        status, _ = http("GET", f"http://{through.http}/users/1234")
        expect(status == 404, f"users are reached from outside: {status}")
    return f"class {through.kind}, {calls} calls of HTTP routes, the five of gRPC"


@check("through the Gateway: rolling update of every service", by_part=True)
def rolls_through_the_gateway(e2e: E2E) -> str:
    def roll() -> None:
        for _ in range(e2e.rounds):
            e2e.system.restart(*e2e.part.deployments)

    with gateway_of(e2e) as through:
        at = {
            "demo": through.http,
            "countries": through.http,
            "notes": through.http,
            "guide": through.grpc,
            "store": "",
        }
        return e2e.undisturbed("gateway", roll, **at)


def addresses(e2e: E2E) -> str:
    given = e2e.cluster.get("gateway/public").get("status", {}).get("addresses", [])
    return given[0]["value"] if given else ""


def serves(url: str) -> bool:
    try:
        return http("GET", url)[0] == 200
    except OSError:
        return False


def targets(e2e: E2E) -> dict[str, tuple[str, str]]:
    """Every container port of a pod of each workload: address -> (app, port's name)."""
    found = {}
    for app in PROBED:
        listed = e2e.cluster.get("pods", "-l", f"{NAME}={app}")["items"]
        for pod in listed[:1]:
            for container in pod["spec"]["containers"]:
                for port in container.get("ports", []):
                    found[f"{pod['status']['podIP']}:{port['containerPort']}"] = (app, port.get("name", ""))
    return found


@check("network policies: every pair of workloads, and from outside: what is declared connects, nothing else")
def policies(e2e: E2E) -> str:
    sources, those = [*PROBED, "route-client", "stranger"], targets(e2e)
    pods = {app: pod_of(f"probe-{app}", {NAME: app}, e2e.image, ["hold"]) for app in sources}
    e2e.cluster.apply(*pods.values())
    wrong, open_edges = [], 0
    try:
        e2e.cluster.kubectl("wait", "--for=condition=Ready", "--timeout=90s", *(f"pod/probe-{app}" for app in sources))
        for app in sources:
            said = json.loads(e2e.cluster.kubectl("exec", f"probe-{app}", "--", "/load", "probe", *those, DNS))
            for at, (target, port) in those.items():
                declared = (app, target, port) in EDGES
                open_edges += declared
                if said[at] != ("open" if declared else "closed"):
                    wrong.append(f"{app} to {target} {port}: {said[at]}")
            if (said[DNS] == "open") != (app in ASK_DNS):
                wrong.append(f"{app} to DNS: {said[DNS]}")
    finally:
        e2e.cluster.kubectl(
            "delete", "pod", "--ignore-not-found", "--grace-period=1", *(f"probe-{app}" for app in sources)
        )
    for app in SERVICES:
        kind = e2e.cluster.get(f"service/{app}")["spec"]["type"]
        if (kind != "ClusterIP") != (app in PUBLIC):
            wrong.append(f"service {app} is of type {kind}")
    load = e2e.system.outside("demo").split(":")[0]
    said = json.loads(command(str(e2e.folder / "load"), "probe", f"{load}:9090", e2e.system.outside("demo")).stdout)
    if (
        said != {f"{load}:9090": said[f"{load}:9090"], e2e.system.outside("demo"): "open"}
        or said[f"{load}:9090"] == "open"
    ):
        wrong.append(f"from outside: {said}")
    expect(not wrong, "\n".join(wrong))
    return f"{len(sources) * len(those)} pairs, {open_edges} of them declared"
