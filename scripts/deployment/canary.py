"""canary -- a new version of public services beside the one that serves, with a share of its requests, until it is judged.

What runs is the new release's own Deployment and Service of the service, called NAME-canary, whose pods have another
app.kubernetes.io/instance: so no Service of the release selects them, while the network policies, which go by name,
hold for them, too. The Gateway's routes divide the requests. The ConfigMap slipway-canary says that there is one.
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
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

from deployment.cluster import Cluster, Docs, find, key, name_of
from deployment.images import Images, from_artifacts, to_artifacts
from deployment.releases import Release
from deployment.shell import Failure, Json, say, wait, warn

INSTANCE, STABLE, CANARY = "app.kubernetes.io/instance", "slipway", "slipway-canary"
RECORD = "slipway-canary"
ROUTES = ("HTTPRoute", "GRPCRoute")
EARLY = 100  # requests after which what is clearly worse is taken back at once
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


def running_images(cluster: Cluster) -> Images | None:
    record = cluster.get("configmap", RECORD)
    return from_artifacts(json.loads(record["data"]["artifacts"])) if record else None


def running_services(cluster: Cluster) -> list[str]:
    record = cluster.get("configmap", RECORD)
    return record["data"]["services"].split() if record else []


def routed(docs: Docs) -> set[str]:
    return {ref["name"] for doc in docs for rule in rules(doc) for ref in rule.get("backendRefs", [])}


def rules(doc: Json) -> list[Json]:
    return doc["spec"].get("rules", []) if doc["kind"] in ROUTES else []


def changed(serving: Release, images: Images) -> list[str]:
    """Public services whose image is another."""
    found = sorted(name for name in routed(serving.docs) if serving.images[name] != images[name])
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


def worse(stable: Sample, canary: Sample) -> str:
    """Why the canary is; "" if it is not. Failures: more than chance makes of one common ratio."""
    both = (stable.failed + canary.failed) / (stable.requests + canary.requests)
    spread = math.sqrt(both * (1 - both) * (1 / stable.requests + 1 / canary.requests))
    if canary.ratio - stable.ratio > TOLERATED_ERRORS + SIGMAS * spread:
        return "it fails more often"
    if canary.p99 > SLOWER * stable.p99 + SLOWER_S:
        return "it is slower"
    return ""


GRPC_FAILED = 'grpc_code=~"UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|DATA_LOSS"'
QUERIES = {  # requests, failed ones, p99; of which instances and in how many seconds is put in
    "http": (
        "sum(increase(http_requests_total{%s}[%ds]))",
        'sum(increase(http_requests_total{%s,status=~"5.."}[%ds]))',
        "histogram_quantile(0.99, sum by (le) (increase(http_request_duration_seconds_bucket{%s}[%ds])))",
    ),
    "grpc": (
        "sum(increase(grpc_server_handled_total{%s}[%ds]))",
        f"sum(increase(grpc_server_handled_total{{%s,{GRPC_FAILED}}}[%ds]))",
        'histogram_quantile(0.99, sum by (le) (increase(grpc_server_handling_seconds_bucket{%s,grpc_type="unary"}[%ds])))',
    ),
}


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
        with subprocess.Popen(forward, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
                if not found:
                    raise Failure("there is no Prometheus to judge by: --prometheus URL")
                yield f"http://127.0.0.1:{found[1]}"
            finally:
                process.terminate()

    def compare(self, cluster: Cluster, services: dict[str, str]) -> None:
        """Returns when each service's canary has been found as good; services: their protocols."""
        began, still_open = time.monotonic(), dict(services)
        with self.address(cluster) as url:
            while still_open:
                time.sleep(5)
                seconds = time.monotonic() - began
                for service, protocol in list(still_open.items()):
                    stable, canary = (
                        sample(url, cluster, service, protocol, instance, seconds) for instance in (STABLE, CANARY)
                    )
                    least = min(stable.requests, canary.requests)
                    if least >= EARLY and (why := worse(stable, canary)):
                        raise Failure(f"the canary of {service} is worse, {why}: {canary}; stable: {stable}")
                    if least >= self.requests:
                        say(f"{service}: as good. canary: {canary}; stable: {stable}")
                        del still_open[service]
                if seconds > self.timeout:
                    names = ", ".join(still_open)
                    raise Failure(f"{names}: not {self.requests} requests of each version within {self.timeout:.0f} s")


def sample(url: str, cluster: Cluster, service: str, protocol: str, instance: str, seconds: float) -> Sample:
    """Of the pods that are there now; Prometheus knows them by address, Google's by name."""
    pods = cluster.items("pods", f"app.kubernetes.io/name={service},{INSTANCE}={instance}")
    known = [text for pod in pods for text in (name_of(pod), pod["status"].get("podIP", "")) if text]
    matcher = f'instance=~"({"|".join(re.escape(each) for each in known)}):.*"'.replace("\\", "\\\\")
    return Sample(*(ask(url, query % (matcher, max(seconds, 30))) for query in QUERIES[protocol]))


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
    stable: Docs  # the release that serves
    new: Docs  # the one that is tried
    images: Images
    services: list[str]
    judge: Judge
    settle: float
    timeout: float
    docs: Docs = field(default_factory=list)

    def run(self, percent: int) -> None:
        """Gives the canary its share and has it judged; taken back if it is worse, does not start, or on Ctrl-C."""
        try:
            self.start(percent)
            self.route(percent)
            say(f"{', '.join(self.services)}: {percent} % of the requests go to the canary")
            self.judge.compare(self.cluster, {service: self.protocol(service) for service in self.services})
        except (Failure, KeyboardInterrupt) as failure:
            warn(f"canary: {failure or 'interrupted'}")
            self.end()
            raise Failure("the canary was taken back; the release before serves alone") from failure

    def start(self, percent: int) -> None:
        counts = {service: self.replicas(service, percent) for service in self.services}
        self.docs = beside(self.new, self.stable, self.services, counts)
        if missing := set(self.services) - routed(self.stable):
            raise Failure(f"{', '.join(sorted(missing))}: behind no Gateway, so nothing can divide its requests")
        self.record()
        old = {pod["metadata"]["uid"] for pod in self.cluster.pods()}
        self.cluster.apply(self.docs)
        self.cluster.wait_ready(self.docs, old, self.timeout)
        if not self.running():
            self.route(0)  # a load balancer first learns of the new backend, then sends it something

    def running(self) -> bool:
        """Whether a route knows the canary already."""
        name = f"{self.services[0]}-canary"
        return name in routed([live for doc in divided(self.stable, self.services, 0)
                               if (live := self.cluster.get(*key(doc)))])  # fmt: skip

    def replicas(self, service: str, percent: int) -> int:
        live = self.cluster.get("deployment", service) or {}
        return max(1, math.ceil(live["spec"]["replicas"] * percent / 100))

    def protocol(self, service: str) -> str:
        doc = find(self.new, "Deployment", service) or {}
        ports = {port["name"] for port in doc["spec"]["template"]["spec"]["containers"][0]["ports"]}
        return "grpc" if "grpc" in ports else "http"

    def record(self) -> None:
        self.cluster.apply([{
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": RECORD, "labels": {INSTANCE: CANARY}},
            "data": {"artifacts": json.dumps(to_artifacts(self.images), indent=2), "services": " ".join(self.services)},
        }])  # fmt: skip

    def route(self, percent: int) -> None:
        routes = divided(self.stable, self.services, percent)
        self.cluster.apply(routes)
        self.accepted(routes)

    def accepted(self, routes: Docs) -> None:
        """Until the Gateway has taken the routes as they are now, and some time more for what is behind it."""

        def taken(route: Json) -> bool:
            live = self.cluster.get(*key(route)) or {}
            parents = live.get("status", {}).get("parents", [])
            fresh = [each for parent in parents for each in parent["conditions"]
                     if each["type"] in ("Accepted", "ResolvedRefs") and each["status"] == "True"
                     and each.get("observedGeneration", 0) >= live["metadata"]["generation"]]  # fmt: skip
            return len(fresh) >= 2

        wait("the Gateway takes the routes", lambda: all(map(taken, routes)), 120)
        time.sleep(self.settle)

    def settled(self) -> None:
        """Until all requests go to the release that serves."""
        self.accepted(self.routes())

    def routes(self) -> Docs:
        divided_ = {key(doc) for doc in divided(self.stable, self.services, 0)}
        return [doc for doc in self.stable if key(doc) in divided_]

    def end(self) -> None:
        """All requests to the release that serves; then the canary's pods may go."""
        self.cluster.apply(self.routes())
        self.settled()
        self.remove()

    def remove(self) -> None:
        self.cluster.delete(beside(self.new, self.stable, self.services, {}))
        self.cluster.kubectl("delete", "configmap", RECORD, "--ignore-not-found")
