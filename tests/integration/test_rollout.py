"""How long scripts/deploy and scripts/operate wait for a rollout, and what ends the wait early."""

from __future__ import annotations

import datetime
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployment import releases, rollout
from deployment.cluster import Cluster, longest_s
from deployment.shell import Failure
from fake_cluster import Fake
from harness import ROOT

Json = dict[str, Any]


def workload(kind: str = "Deployment", replicas: int = 2, **spec: object) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "demo", "generation": 1},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "server"}]}}} | spec,
        "status": {"observedGeneration": 1},
    }


def deployment(replicas: int, surge: object, unavailable: object = 0, progress_s: int = 120) -> Json:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return workload(replicas=replicas, progressDeadlineSeconds=progress_s, strategy={"rollingUpdate": rolling})


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "steps"),
    [(20, 1, 0, 20), (20, "25%", 0, 4), (20, 5, "25%", 2), (3, "1%", 0, 3), (3, "25%", "25%", 3), (0, 1, 0, 1)],
)
def test_limit_of_a_deployment(replicas: int, surge: object, unavailable: object, steps: int):
    """Kubernetes rounds a surge up and what may be unavailable down."""
    assert rollout.workload_s(deployment(replicas, surge, unavailable)) == steps * 120


def test_limit_without_rollout_parameters():
    """Kubernetes's defaults: a quarter at a time, 600 s for a step."""
    assert rollout.workload_s(workload(replicas=8)) == 2 * 600


def test_limit_of_a_stateful_set():
    """One pod after the other, each when the one before it has ended."""
    pod = {
        "terminationGracePeriodSeconds": 30,
        "containers": [{"name": "etcd", "startupProbe": {"periodSeconds": 2, "failureThreshold": 45}}],
    }
    doc = workload("StatefulSet", replicas=3, minReadySeconds=5, template={"spec": pod})
    assert rollout.workload_s(doc) == 3 * (30 + rollout.PULL_S + 90 + 5)


def test_limits_of_all_workloads():
    """Deployments roll out at the same time, but may have to wait for StatefulSets."""
    docs = [deployment(20, 1), deployment(2, 1), workload("StatefulSet", 1)]
    assert rollout.limit_s(docs) == 20 * 120 + rollout.workload_s(docs[2])
    assert rollout.limit_s([]) == 0


def test_limit_follows_the_autoscaler():
    """The manifest of a Deployment that an autoscaler scales has no replicas."""
    doc = deployment(0, 1)
    del doc["spec"]["replicas"]
    scaler = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "demo"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "demo"}, "maxReplicas": 20},
    }
    assert longest_s([doc, scaler]) == 20 * 120


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Fake, Cluster]:
    fake = Fake(tmp_path)
    for name, value in fake.env.items():
        monkeypatch.setenv(name, value)
    return fake, Cluster("here", "slipway")


def test_waits_as_long_as_the_rollout_may_take(cluster: tuple[Fake, Cluster], monkeypatch: pytest.MonkeyPatch):
    """20 pods, one at a time: neither given up before that time is over, nor waited for afterwards."""
    fake, there = cluster
    doc = deployment(20, 1)
    fake.put(doc, context="here")
    passed = iter([0.0, 300.0, 2400.0, 2401.0])
    monkeypatch.setattr("deployment.cluster.time.monotonic", lambda: next(passed))
    monkeypatch.setattr("deployment.cluster.time.sleep", lambda _: None)
    with pytest.raises(Failure, match="not ready within 2400 s: demo"):
        there.wait_ready([doc])
    assert not list(passed)


def pod(reason: str, uid: str = "1", restarts: int = 0, running: bool = False) -> Json:
    state = {"running": {}} if running else {"waiting": {"reason": reason, "message": "said so"}}
    container = {"name": "server", "restartCount": restarts, "state": state}
    return {"metadata": {"name": "demo-1", "uid": uid}, "status": {"containerStatuses": [container]}}


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def trouble(clock: list[float]) -> rollout.Trouble:
    return rollout.Trouble(lambda: clock[0])


@pytest.mark.parametrize("reason", sorted(rollout.RETRIED))
def test_what_the_kubelet_tries_again_is_waited_for(reason: str, trouble: rollout.Trouble, clock: list[float]):
    assert not trouble.of(pod(reason))
    clock[0] = rollout.MOST_FAILED_PULLS_S
    assert not trouble.of(pod(reason))
    clock[0] += 1
    assert reason in trouble.of(pod(reason))


def test_a_failed_pull_is_forgotten_when_the_pod_runs(trouble: rollout.Trouble, clock: list[float]):
    assert not trouble.of(pod("ErrImagePull"))
    clock[0] = 60
    assert not trouble.of(pod("ImagePullBackOff"))
    assert not trouble.of(pod("", running=True))
    clock[0] = 120
    assert not trouble.of(pod("ErrImagePull"))


def test_a_failed_pull_counts_for_its_pod_alone(trouble: rollout.Trouble, clock: list[float]):
    assert not trouble.of(pod("ErrImagePull"))
    clock[0] = 100
    assert not trouble.of(pod("ErrImagePull", uid="2"))


def test_what_no_time_mends_ends_the_wait_at_once(trouble: rollout.Trouble):
    assert "InvalidImageName" in trouble.of(pod("InvalidImageName"))
    assert not trouble.of(pod("CrashLoopBackOff", restarts=2))
    assert "CrashLoopBackOff" in trouble.of(pod("CrashLoopBackOff", restarts=3))


def test_a_failed_pull_fails_no_release(cluster: tuple[Fake, Cluster]):
    """Of a pod that is not one of the old ones."""
    fake, there = cluster
    labels = {"app.kubernetes.io/part-of": "slipway"}
    new = pod("ErrImagePull") | {"kind": "Pod"}
    new["metadata"]["labels"] = labels
    fake.put(new, context="here")
    there.fail_if_hopeless([], set(), rollout.Trouble())


@pytest.mark.parametrize(("minutes", "stale"), [(59, False), (70, False), (81, True)])
def test_a_long_rollout_is_not_taken_for_a_dead_one(minutes: int, stale: bool):
    """20 pods, one at a time, out and back: 80 minutes."""
    began = releases.now() - datetime.timedelta(minutes=minutes)
    drafted = releases.draft("0123456789ab", "built", {}, [deployment(20, 1)], 0)
    assert releases.is_stale(replace(drafted, time=began.isoformat())) is stale


def test_an_operators_rollback_waits_as_long(tmp_path: Path):
    """By the fake cluster, where nothing rolls out; what it says names the limit, which TIMEOUT_S would replace."""
    fake = Fake(tmp_path)
    doc = deployment(2, 1, progress_s=0)
    doc["metadata"]["labels"] = {"app.kubernetes.io/instance": "slipway", "app.kubernetes.io/name": "demo"}
    doc["spec"]["template"]["spec"]["containers"][0]["image"] = "demo"
    fake.put(doc, context="current")
    command = [ROOT / "scripts/operate", "rollback", "demo"]
    done = subprocess.run(command, env=fake.env, capture_output=True, text=True, timeout=60, check=False)
    assert "not within 0 s" in done.stderr, json.dumps([done.stdout, done.stderr])
