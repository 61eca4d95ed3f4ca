"""canary -- what can be said of scripts/deployment/canary.py without a cluster: what it makes of the overlays, its
questions to Prometheus, asked of a real one's engine, and its judgement."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from deployment import canary
from deployment.canary import Sample, routed

Docs = list[dict[str, Any]]
PODS = {canary.STABLE: "10-0-0-1", canary.CANARY: "10-0-0-2"}
WORSE = (  # stable, canary, after enough requests, what is wrong
    (Sample(1000, 0, 0.1), Sample(500, 0, 0.1), True, ""),
    (Sample(1000, 0, 0.1), Sample(500, 2, 0.1), True, ""),
    (Sample(1000, 50, 0.1), Sample(500, 26, 0.1), True, ""),
    (Sample(1000, 0, 0.1), Sample(100, 10, 0.1), False, "it fails more often"),
    (Sample(1000, 10, 0.1), Sample(500, 40, 0.1), True, "it fails more often"),
    (Sample(1000, 0, 0.1), Sample(500, 0, 0.3), True, "it is slower"),
    (Sample(1000, 0, 0.1), Sample(100, 0, 0.3), False, ""),
)


def made_of(docs: Docs) -> Docs:
    """All public services as canaries, with their routes."""
    services = sorted(routed(docs) & {doc["metadata"]["name"] for doc in docs if doc["kind"] == "Deployment"})
    return canary.beside(docs, docs, services, dict.fromkeys(services, 1)) + canary.divided(docs, services, 10)


def apart(docs: Docs) -> Iterator[str]:
    """That no object of the release is replaced and none of its selectors finds a pod of the canary, nor the other way
    round; and that the routes divide."""
    made = made_of(docs)
    twins = [doc for doc in made if doc["kind"] not in canary.ROUTES]
    names = {(doc["kind"], doc["metadata"]["name"]) for doc in docs}
    yield from (f"{name} is replaced" for name in names & {(doc["kind"], doc["metadata"]["name"]) for doc in twins})
    for ours, theirs in ((docs, twins), (twins, docs)):
        pods = [doc["spec"]["template"]["metadata"]["labels"] for doc in theirs if doc["kind"] == "Deployment"]
        for doc in ours:
            selector = (
                doc["spec"].get("selector") if doc["kind"] in ("Service", "Deployment", "PodDisruptionBudget") else {}
            )
            wanted = (selector or {}).get("matchLabels", selector) or {}
            if wanted and any(wanted.items() <= labels.items() for labels in pods):
                yield f"{doc['kind']} {doc['metadata']['name']} finds pods of the other"
    for rule in (rule for doc in made for rule in canary.rules(doc)):
        if [ref["weight"] for ref in rule["backendRefs"]] != [90, 10]:
            yield f"weights {rule['backendRefs']}"


def judged() -> Iterator[str]:
    for stable, tried, enough, wrong in WORSE:
        if (said := canary.worse(stable, tried, enough)) != wrong:
            yield f"stable {stable}, canary {tried}: {said!r}, not {wrong!r}"


def expressions() -> Iterator[tuple[str, list[float]]]:
    """What is asked in the sixth minute about the five before it, and the answer: requests, failed ones, p99."""
    answers = {canary.STABLE: ([300], [], [0.1]), canary.CANARY: ([60], [9], [0.199])}
    for protocol in canary.SERIES:
        for who, pod in PODS.items():
            yield from zip(canary.queries(protocol, canary.matching([pod, "demo-x"]), 300), answers[who], strict=True)


def series() -> list[tuple[str, str]]:
    """The release has 60 requests a minute and had some before. The canary begins with the third minute, has 20, and
    its first failures are there all at once: 9, and no more."""
    found = []
    for protocol, good, bad in (
        ("http", 'status="200"', 'status="500"'),
        ("grpc", 'grpc_code="OK"', 'grpc_code="INTERNAL"'),
    ):
        (counter, _), _, (buckets, _) = canary.SERIES[protocol]
        for who, values, slow in ((canary.STABLE, "1000+60x6", 0.1), (canary.CANARY, "_ _ _ 11 31 51 51", 0.2)):
            common = f'instance="{PODS[who]}.metrics.ns.svc:9090",grpc_type="unary"'
            found.append((f"{counter}{{{common},{good}}}", values))
            found.append((f'{buckets}{{{common},le="{slow / 2}"}}', "0+0x6"))
            found += [(f'{buckets}{{{common},le="{le}"}}', values) for le in (slow, "+Inf")]
        found.append((f"{counter}{{{common},{bad}}}", "_ _ _ _ 9 9 9"))
        found.append((f'{counter}{{instance="10-0-0-9.metrics.ns.svc:9090",{bad}}}', "0+100x6"))
    return found


def asked() -> Iterator[str]:
    """That Prometheus answers what is meant: also of series that began within the time, and of no other instance."""
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series()],
        "promql_expr_test": [
            {
                "expr": f"round(1000 * {expr}) / 1000",
                "eval_time": "6m",
                "exp_samples": [{"labels": "{}", "value": value} for value in values],
            }
            for expr, values in expressions()
        ],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}, file)
        file.flush()
        done = subprocess.run(["promtool", "test", "rules", file.name], capture_output=True, text=True, check=False)
    if done.returncode:
        yield (done.stdout + done.stderr).strip()
