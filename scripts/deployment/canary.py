"""canary -- a new version of public services beside the one that serves, with a share of its requests, until it is judged.

What runs is the new release's own Deployment and Service of the service, called NAME-canary, whose pods have another
app.kubernetes.io/instance: so no Service of the release selects them, while the network policies, which go by name,
hold for them, too. The Gateway's routes divide the requests. The ConfigMap slipway-canary keeps what is tried, so that
what becomes the release at the end is that, whatever the tree has become meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import math
import os
import re
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployment import releases
from deployment.cluster import Cluster, Docs, find, key, name_of, removed
from deployment.images import Images
from deployment.releases import Release
from deployment.shell import Failure, Json, say, undisturbed, wait, warn

INSTANCE, STABLE, CANARY = "app.kubernetes.io/instance", "slipway", "slipway-canary"
RECORD = "slipway-canary"
ROUTES = ("HTTPRoute", "GRPCRoute")
EARLY = 100  # requests after which a canary that fails more often is taken back at once
SIGMAS = 4  # a difference of error ratios by chance that great: one in 30,000
TOLERATED_ERRORS = 0.005
SLOWER, SLOWER_S = 1.5, 0.05  # of p99: so many times, and so many seconds on top (buckets are coarse)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--service", action="append", help="more than once; all public ones whose image is new")
    parser.add_argument("--prometheus", default="", help="URL; its token in PROMETHEUS_TOKEN (that in the namespace)")
    parser.add_argument("--requests", type=int, default=500, help="of each version, before it is judged (500)")
    parser.add_argument("--judge-timeout", type=float, default=900, help="seconds until then (900)")
    parser.add_argument("--settle", type=float, default=15, help="seconds until a new route holds everywhere (15)")


# ---- what is there ----


def must_not_run(cluster: Cluster) -> None:
    if cluster.get("configmap", RECORD):
        raise Failure("a canary is under way: just canary ENV 100 makes it the release, just canary ENV 0 ends it")


def running(cluster: Cluster) -> tuple[Release, list[str]] | None:
    """What is tried, and of which services."""
    record = cluster.get("configmap", RECORD)
    return (releases.parse(record), record["data"]["services"].split()) if record else None


def routed(docs: Docs) -> set[str]:
    return {ref["name"] for doc in docs for rule in rules(doc) for ref in rule.get("backendRefs", [])}


def rules(doc: Json) -> list[Json]:
    return doc["spec"].get("rules", []) if doc["kind"] in ROUTES else []


def choose(serving: Release, images: Images, named: list[str] | None) -> list[str]:
    """Those named; if none is, the public ones whose image is another. A service that only one of the versions has is
    nobody's canary."""
    public = routed(serving.docs) & images.keys()
    if missing := set(named or []) - public:
        raise Failure(f"{', '.join(sorted(missing))}: behind no Gateway, so nothing can divide its requests")
    found = named or sorted(name for name in public if serving.images[name] != images[name])
    if not found:
        raise Failure("no service behind the Gateway has another image than the one that serves")
    return found


# ---- what a canary is made of ----


def relabelled(part: object) -> object:
    """A copy in which the instance is the canary's, in labels and selectors alike."""
    if isinstance(part, dict):
        return {k: CANARY if (k, v) == (INSTANCE, STABLE) else relabelled(v) for k, v in part.items()}
    return [relabelled(each) for each in part] if isinstance(part, list) else part


def belongs(doc: Json, service: str) -> bool:
    """To a service: of its name, or a policy of the load balancer about it."""
    if doc["kind"] in ("Deployment", "Service", "PodDisruptionBudget"):
        return name_of(doc) == service
    return doc["kind"] in ("HealthCheckPolicy", "GCPBackendPolicy") and doc["spec"]["targetRef"]["name"] == service


def beside(new: Docs, stable: Docs, services: list[str], replicas: dict[str, int]) -> Docs:
    """The objects of the canary: of the services, what makes Prometheus find them, and configuration that is new."""
    known = {key(doc) for doc in stable}
    made = [copy.deepcopy(doc) for doc in new if doc["kind"] == "ConfigMap" and key(doc) not in known]
    for doc in new:
        owner = next((name for name in services if belongs(doc, name)), None)
        if owner or (doc["kind"], name_of(doc)) == ("Service", "metrics"):
            made.append(twin(doc, replicas.get(owner or "", 0)))
    return made


def twin(doc: Json, replicas: int) -> Json:
    made = relabelled(copy.deepcopy(doc))
    made["metadata"]["name"] += "-canary"
    made["metadata"].setdefault("labels", {})[INSTANCE] = CANARY
    if doc["kind"] == "Deployment":
        made["spec"]["replicas"] = replicas
    elif "targetRef" in doc["spec"]:
        made["spec"]["targetRef"]["name"] += "-canary"
    elif doc["kind"] == "Service" and made["spec"].get("type") == "LoadBalancer":
        del made["spec"]["type"]
    return made


def divided(stable: Docs, services: list[str], percent: int) -> Docs:
    """The routes, giving the canaries so much of their services' requests."""
    routes = [copy.deepcopy(doc) for doc in stable if any(
        ref["name"] in services for rule in rules(doc) for ref in rule.get("backendRefs", []))]  # fmt: skip
    for rule in (rule for route in routes for rule in rules(route)):
        refs = rule.get("backendRefs", [])
        for ref in [each for each in refs if each["name"] in services]:
            refs.append(ref | {"name": f"{ref['name']}-canary", "weight": percent})
            ref["weight"] = 100 - percent
    return routes


# ---- the judgement ----


@dataclass(frozen=True)
class Sample:
    requests: float
    failed: float
    p99: float

    @property
    def ratio(self) -> float:
        return self.failed / self.requests if self.requests else 0

    def __str__(self) -> str:
        return f"{self.requests:.0f} requests, {self.ratio:.2%} failed, p99 {self.p99 * 1000:.0f} ms"


def worse(stable: Sample, canary: Sample, enough: bool) -> str:
    """Why the canary is; "" if it is not. Failures: more than chance makes of one common ratio. A p99 says something only
    when there are enough requests."""
    both = (stable.failed + canary.failed) / (stable.requests + canary.requests)
    spread = math.sqrt(both * (1 - both) * (1 / stable.requests + 1 / canary.requests))
    if canary.ratio - stable.ratio > TOLERATED_ERRORS + SIGMAS * spread:
        return "it fails more often"
    if enough and canary.p99 > SLOWER * stable.p99 + SLOWER_S:
        return "it is slower"
    return ""


NO_PROBE = 'grpc_service!="grpc.health.v1.Health"'
GRPC_FAILED = f'{NO_PROBE},grpc_code=~"UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|DATA_LOSS"'
SERIES = {  # requests, failed ones, durations
    "http": (
        ("http_requests_total", ""),
        ("http_requests_total", 'status=~"5.."'),
        ("http_request_duration_seconds_bucket", ""),
    ),
    "grpc": (
        ("grpc_server_handled_total", NO_PROBE),
        ("grpc_server_handled_total", GRPC_FAILED),
        ("grpc_server_handling_seconds_bucket", f'{NO_PROBE},grpc_type="unary"'),
    ),
}


def since(seconds: int, series: str) -> str:
    """PromQL: what has been added to series. Not by increase(), for which a counter that appears with its first failure
    has none."""
    return f"({series} - ({series} offset {seconds}s or {series} * 0))"


def queries(protocol: str, instances: str, seconds: int) -> list[str]:
    """Of requests, failed ones, and p99."""
    requests, failed, durations = (
        since(seconds, f"{name}{{{instances}{more and ','}{more}}}") for name, more in SERIES[protocol]
    )
    return [f"sum({requests})", f"sum({failed})", f"histogram_quantile(0.99, sum by (le) ({durations}))"]


@dataclass(frozen=True)
class Judge:
    prometheus: str  # URL; "": the one in the namespace
    requests: int
    timeout: float

    @contextlib.contextmanager
    def address(self, cluster: Cluster) -> Iterator[str]:
        if self.prometheus:
            yield self.prometheus
            return
        forward = cluster.command("port-forward", "service/prometheus", ":9090")
        with tempfile.NamedTemporaryFile("w+") as said, subprocess.Popen(forward, stdout=said, stderr=said) as process:
            try:
                told = re.compile(r"127\.0\.0\.1:\d+")
                found = wait("a way to Prometheus, to judge by (or --prometheus URL)",
                             lambda: told.search(Path(said.name).read_text()), 30)  # fmt: skip
                yield f"http://{found[0]}"
            finally:
                process.terminate()

    def compare(self, cluster: Cluster, services: dict[str, str], began: float) -> None:
        """Returns when each service's canary has been found as good; services: their protocols. What happened before
        began is not counted."""
        still_open = dict(services)
        with self.address(cluster) as url:
            while still_open:
                time.sleep(5)
                seconds = time.monotonic() - began
                for service, protocol in list(still_open.items()):
                    stable, canary = (
                        sample(url, cluster, service, protocol, instance, seconds) for instance in (STABLE, CANARY)
                    )
                    least = min(stable.requests, canary.requests)
                    enough = least >= self.requests
                    if least >= min(EARLY, self.requests) and (why := worse(stable, canary, enough)):
                        raise Failure(f"the canary of {service} is worse, {why}: {canary}; stable: {stable}")
                    if enough:
                        say(f"{service}: as good. canary: {canary}; stable: {stable}")
                        del still_open[service]
                if seconds > self.timeout:
                    names = ", ".join(still_open)
                    raise Failure(f"{names}: not {self.requests} requests of each version within {self.timeout:.0f} s")


def sample(url: str, cluster: Cluster, service: str, protocol: str, instance: str, seconds: float) -> Sample:
    """Of the pods that are there now. An instance is called by its DNS name, which begins with its address, or (Google's)
    by its pod's name."""
    pods = cluster.items("pods", f"app.kubernetes.io/name={service},{INSTANCE}={instance}")
    if instance == CANARY and (crashed := [name_of(pod) for pod in pods if restarts(pod)]):
        raise Failure(f"the canary of {service} crashes: {', '.join(crashed)}")
    known = [text for pod in pods for text in (name_of(pod), pod["status"].get("podIP", "").replace(".", "-")) if text]
    return Sample(*(ask(url, query) for query in queries(protocol, matching(known), math.ceil(seconds))))


def matching(instances: list[str]) -> str:
    return f'instance=~"({"|".join(instances)})[.:].*"'


def restarts(pod: Json) -> int:
    return sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))


def ask(url: str, query: str) -> float:
    token = os.environ.get("PROMETHEUS_TOKEN", "")
    request = urllib.request.Request(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}",
                                     headers={"Authorization": f"Bearer {token}"} if token else {})  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            result = json.load(answer)["data"]["result"]
    except OSError as error:
        raise Failure(f"Prometheus at {url}: {error}") from error
    value = float(result[0]["value"][1]) if result else 0.0
    return 0.0 if math.isnan(value) else value


# ---- the trial ----


@dataclass
class Trial:
    cluster: Cluster
    serving: Release
    tried: Release
    services: list[str]
    judge: Judge
    settle: float
    timeout: float

    def run(self, percent: int) -> None:
        """Gives the canary its share and has it judged; taken back if it is worse, does not start, or on Ctrl-C."""
        if not self.cluster.get("configmap", RECORD):
            self.record()
        try:
            self.start(percent)
            began = time.monotonic()
            self.route(percent)
            say(f"{', '.join(self.services)}: {percent} % of the requests go to the canary")
            self.judge.compare(self.cluster, {service: self.protocol(service) for service in self.services}, began)
        except (Exception, KeyboardInterrupt) as failure:
            warn(f"canary: {failure or 'interrupted'}")
            with undisturbed():
                self.end()
            raise Failure("the canary was taken back; the release before serves alone") from failure

    def record(self) -> None:
        """Fails if somebody was faster."""
        made = releases.config_map(self.tried, RECORD, {INSTANCE: CANARY})
        made["data"]["services"] = " ".join(self.services)
        self.cluster.kubectl("create", "--filename", "-", stdin=json.dumps(made))

    def start(self, percent: int) -> None:
        counts = {service: self.replicas(service, percent) for service in self.services}
        docs = beside(self.tried.docs, self.serving.docs, self.services, counts)
        old = self.cluster.pod_ids()
        self.cluster.apply(docs)
        self.cluster.wait_ready(docs, self.timeout, old)
        if not self.is_routed():
            self.route(0)  # a load balancer first learns of the new backend, then sends it something

    def is_routed(self) -> bool:
        """Whether the routes know the canary already."""
        live = filter(None, (self.cluster.get(*key(doc)) for doc in self.routes()))
        return {f"{service}-canary" for service in self.services} <= routed(list(live))

    def replicas(self, service: str, percent: int) -> int:
        live = self.cluster.get("deployment", service) or {}
        return max(1, math.ceil(live["spec"]["replicas"] * percent / 100))

    def protocol(self, service: str) -> str:
        doc = find(self.tried.docs, "Deployment", service) or {}
        ports = {port["name"] for port in doc["spec"]["template"]["spec"]["containers"][0]["ports"]}
        return "grpc" if "grpc" in ports else "http"

    def route(self, percent: int) -> None:
        routes = divided(self.serving.docs, self.services, percent)
        self.cluster.apply(routes)
        self.accepted(routes)

    def accepted(self, routes: Docs) -> None:
        """Until the Gateway has taken the routes as they are now, and some time more for what is behind it."""

        def taken(route: Json) -> bool:
            live = self.cluster.get(*key(route)) or {}
            parents = live.get("status", {}).get("parents", [])
            fresh = {each["type"] for parent in parents for each in parent["conditions"]
                     if each["status"] == "True" and each.get("observedGeneration", 0) >= live["metadata"]["generation"]}  # fmt: skip
            return {"Accepted", "ResolvedRefs"} <= fresh

        wait("the Gateway takes the routes", lambda: all(map(taken, routes)), 120)
        time.sleep(self.settle)

    def routes(self) -> Docs:
        """Those that are divided, as they are without a canary."""
        names = {key(doc) for doc in divided(self.serving.docs, self.services, 0)}
        return [doc for doc in self.serving.docs if key(doc) in names]

    def end(self) -> None:
        """All requests to the release that serves; then the canary's pods may go."""
        self.cluster.apply(self.routes())
        self.leave(self.serving.docs)

    def leave(self, kept: Docs) -> None:
        """When no route leads to the canary any more: takes all of it away that is not among what is kept."""
        self.accepted(self.routes())
        self.cluster.delete(removed(beside(self.tried.docs, self.serving.docs, self.services, {}), kept))
        self.cluster.kubectl("delete", "configmap", RECORD, "--ignore-not-found")
