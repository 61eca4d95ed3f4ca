"""The dashboards: each query of each panel, asked of a Prometheus that scrapes all services under a little load and evaluates
the rules of the cluster, returns series. So do those of Google Cloud's dashboards, which are in PromQL, too."""

from __future__ import annotations

import contextlib
import json
import math
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest
import yaml

import etcd
import harness
from described import with_peers
from harness import ROOT, Service

MONITORING = ROOT / "k8s/components/monitoring"
SCRAPE = "1s"
WINDOW = "20s"  # of a rate: many scrapes, also on a slow machine
READY_S = 60.0
MEMORY = 256 << 20
SELECTOR = re.compile(r"\b([a-z_][a-z0-9_:]*)(\{[^}]*\}|(?=\[))")
FAR = "127.0.0.1:1"  # nobody listens there
TRACED = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{FAR}", "OTEL_TRACES_SAMPLER": "always_on"}


@dataclass(frozen=True)
class Query:
    where: str
    legend: str
    labels: frozenset[str]  # that the legend shows
    text: str


def grafana() -> Iterator[Query]:
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                labels = frozenset(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                text = target["expr"].replace("$__rate_interval", WINDOW)
                yield Query(f"{path.name}: {panel['title']}", target["legendFormat"], labels, text)


def google() -> Iterator[Query]:
    for path in sorted((ROOT / "infra/dashboards").glob("*.json")):
        for tile in json.loads(path.read_text())["mosaicLayout"]["tiles"]:
            for data in tile["widget"].get("xyChart", {}).get("dataSets", []):
                labels = frozenset(re.findall(r"\$\{(\w+)\}", data["legendTemplate"]))
                text = data["timeSeriesQuery"]["prometheusQuery"]
                yield Query(f"{path.name}: {tile['widget']['title']}", data["legendTemplate"], labels, text)


# ---- Prometheus ----


class Prometheus:
    def __init__(self, url: str, client: httpx.Client) -> None:
        self.url, self.client = url, client
        self.there: set[str] = set()  # selectors that have returned series

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series; AssertionError where it is no query."""
        reply = self.client.post(f"{self.url}/api/v1/query", data={"query": query}).json()
        assert reply["status"] == "success", f"{reply['error']}: {query}"
        return reply["data"]["result"]

    def problems(self, query: Query) -> Iterator[str]:
        where = f"{query.where}, {query.legend}"
        try:
            for selector in selectors(query.text) - self.there:
                if self.ask(selector):
                    self.there.add(selector)
                else:
                    yield f"{where}: there is no {selector}"
            series = self.ask(query.text)
        except AssertionError as error:
            yield f"{where}: {error}"
            return
        if not any(math.isfinite(float(each["value"][1])) for each in series):
            yield f"{where}: no series with a number: {query.text}"
        for label in query.labels:
            if any(label not in each["metric"] for each in series):
                yield f"{where}: the legend's label {label} is not there"


def selectors(query: str) -> set[str]:
    """Of all metrics that it asks for, each with its conditions; any service will do."""
    anywhere = re.sub(r'service=~"[^"]*"', 'service=~".+"', query)
    return {name + conditions for name, conditions in SELECTOR.findall(anywhere)}


def configuration(folder: Path, targets: dict[str, list[str]]) -> Path:
    """As the cluster's, with addresses in place of names, and everything faster."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE}
    for job in config["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": targets[job["job_name"]]}]
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text())
    for group in rules["groups"]:
        group.pop("interval", None)
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return folder / "prometheus.yml"


@contextlib.contextmanager
def prometheus(program: str, folder: Path, scraped: list[str]) -> Iterator[Prometheus]:
    folder.mkdir()
    address = f"127.0.0.1:{harness.free_port()}"
    config = configuration(folder, {"slipway": scraped, "prometheus": [address]})
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    ]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with httpx.Client(timeout=harness.START_S) as client:

            def ready() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                with contextlib.suppress(httpx.TransportError):
                    return client.get(f"http://{address}/-/ready").status_code == 200
                return False

            harness.until(ready, what="Prometheus does not start")
            yield Prometheus(f"http://{address}", client)
    finally:
        process.terminate()
        process.wait()


# ---- what it scrapes ----


@dataclass(frozen=True)
class Fleet:
    services: list[Service]
    etcd: str
    call: Callable[[], None]  # a few requests of each kind

    def targets(self) -> list[str]:
        return [*(service.admin_url.removeprefix("http://") for service in self.services), self.etcd]


def certificate(folder: Path) -> Path:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90",
               "-subj", "/CN=test", "-keyout", folder / "key", "-out", folder / "tls.crt"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=harness.START_S)
    return folder / "tls.crt"


def jobs(address: str) -> None:
    for event in ("begun", "succeeded"):
        command = [harness.program("store-tool"), "job", f"etcd://{address}/upkeep", "etcd-backup", event]
        subprocess.run(command, check=True, capture_output=True, timeout=harness.START_S)


@contextlib.contextmanager
def fleet(folder: Path, stubs: SimpleNamespace) -> Iterator[Fleet]:
    """All services, over an etcd; and a second countries and route-guide, all of whose requests fail."""
    with etcd.running(folder / "etcd") as address, harness.services(folder) as plain:
        running: list[Service] = []

        def start(name: str, **settings: object) -> Service:
            url = f"etcd://{address}/{name}" if name in ("notes", "feature-store", "upkeep") else None
            settings = TRACED | {"MEMORY_LIMIT_BYTES": MEMORY} | ({"STORE_URL": url} if url else {}) | settings
            running.append(plain(name, **settings))
            return running[-1]

        jobs(address)
        start("upkeep", CERTIFICATES=certificate(folder))
        demo, notes, countries, guide = (
            with_peers(start, name) for name in ("demo", "notes", "countries", "route-guide")
        )
        lonely = start("countries", USERS_SERVICE_ADDR=FAR)
        lost = start("route-guide", FEATURE_STORE_SERVICE_ADDR=FAR, FEATURE_STORE_TIMEOUT_MS=100)
        point = stubs.routeguide.Point(latitude=409146138, longitude=-746188906)
        with (
            httpx.Client(timeout=harness.START_S) as client,
            grpc.insecure_channel(guide.grpc_address) as to_guide,
            grpc.insecure_channel(lost.grpc_address) as to_lost,
        ):
            stub, lost_stub = map(stubs.routeguide_grpc.RouteGuideStub, (to_guide, to_lost))

            def call() -> None:
                for path in ("/demo/hello", "/demo/random-error"):
                    client.get(demo.http_url + path)
                assert client.post(f"{notes.http_url}/v1/notes", json={"title": "x"}).status_code == 201
                assert client.get(f"{countries.http_url}/countries?user_id=1").status_code == 200
                assert client.get(f"{lonely.http_url}/countries?user_id=1").status_code == 503
                stub.GetFeature(point, timeout=harness.START_S)
                with pytest.raises(grpc.RpcError):
                    lost_stub.GetFeature(point, timeout=harness.START_S)

            yield Fleet(running, address, call)


@contextlib.contextmanager
def load(call: Callable[[], None]) -> Iterator[None]:
    """Calls again and again, until the end."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.05):
            call()

    with ThreadPoolExecutor(1) as pool:
        calls = pool.submit(run)
        try:
            yield
        finally:
            ended.set()
        calls.result()


# ---- the tests ----


def typo(query: Query) -> Iterator[Query]:
    """Mistakes that somebody could make in it."""
    for name in {name for name, _ in SELECTOR.findall(query.text)}:
        yield Query(query.where, query.legend, query.labels, re.sub(rf"\b{name}\b(?=[{{\[])", name + "s", query.text))
    if query.labels and re.search(r"\bby \(", query.text):
        label = min(query.labels)
        yield Query(query.where, query.legend, query.labels, re.sub(rf"\b{label}\b(?=[,)])", label + "s", query.text))
    for function in ("rate", "sum", "histogram_quantile"):
        if function in query.text:
            yield Query(query.where, query.legend, query.labels, query.text.replace(function, function + "s", 1))
            break


def wait_for_series(asked: Prometheus, queries: list[Query]) -> None:
    left: dict[Query, list[str]] = {query: [] for query in queries}

    def all_there() -> bool:
        for query in list(left):
            left[query] = list(asked.problems(query))
            if not left[query]:
                del left[query]
        return not left

    with contextlib.suppress(TimeoutError):
        harness.until(all_there, READY_S)
    assert not left, "\n".join(problem for each in left.values() for problem in each)


@pytest.mark.skipif(harness.SANITIZED, reason="it is about queries, not about memory or threads")
@pytest.mark.timeout(600)
@pytest.mark.scripts
def test_each_query_returns_series_and_a_typo_does_not(
    tool: Callable[[str], str], stubs: SimpleNamespace, tmp_path: Path
) -> None:
    program, queries = tool("prometheus"), [*grafana(), *google()]
    assert {query.where.split(":")[0] for query in queries} >= {"fleet.json", "store.json", "route.json"}
    with (
        fleet(tmp_path, stubs) as services,
        load(services.call),
        prometheus(program, tmp_path / "prometheus", services.targets()) as asked,
    ):
        wait_for_series(asked, queries)
        unseen = [wrong.text for each in grafana() for wrong in typo(each) if not any(asked.problems(wrong))]
        assert not unseen, "\n".join(unseen)
