"""scripts/operate: what is taken back, and what is not; jobs that failed by night."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fake_cluster import Fake, Json
from harness import ROOT

# As Kubernetes writes them: of the condition Progressing its status and reason; how many pods are new, and available.
ROLLED_OUT = ("True", "NewReplicaSetAvailable", 2, 2)
NODE_LOST = ("True", "NewReplicaSetAvailable", 2, 1)
NOT_READY_YET = ("True", "ReplicaSetUpdated", 1, 2)
NEW = ("True", "NewReplicaSetCreated", 0, 2)
GIVEN_UP = ("False", "ProgressDeadlineExceeded", 1, 2)


def labels(name: str) -> Json:
    return {"app.kubernetes.io/instance": "slipway", "app.kubernetes.io/name": name}


def service(name: str, state: tuple[str, str, int, int], versions: int = 2) -> list[Json]:
    """A Deployment of two pods, and the ReplicaSets of its versions."""
    status, reason, updated, available = state
    condition = {"type": "Progressing", "status": status, "reason": reason}
    pods = 2 if updated == 2 else 2 + updated
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels(name), "generation": 2},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": f"{name}:2"}]}}},
        "status": {"observedGeneration": 2, "replicas": pods, "updatedReplicas": updated,
                   "availableReplicas": available, "conditions": [condition]},
    }  # fmt: skip
    sets = [
        {"kind": "ReplicaSet", "metadata": {"name": f"{name}-{n}", "labels": labels(name)}} for n in range(versions)
    ]
    return [deployment, *sets]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def rollback(fake: Fake, *args: str) -> subprocess.CompletedProcess[str]:
    """Does not wait: nothing becomes ready here."""
    return operate(fake, "rollback", *args)


def operate(fake: Fake, *args: str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts/operate", *args]
    return subprocess.run(
        command, env=fake.env | {"TIMEOUT_S": "0"}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("stuck", [GIVEN_UP, NOT_READY_YET, NEW])
def test_what_is_stuck(stuck: tuple[str, str, int, int], fake: Fake):
    fake.put(*service("demo", stuck), *service("notes", ROLLED_OUT), *service("users", NODE_LOST))
    rollback(fake)
    assert fake.undone() == ["demo"]


def test_nothing_is_stuck(fake: Fake):
    """Neither the loss of a node nor a wrong key takes good versions back."""
    fake.put(*service("demo", ROLLED_OUT), *service("users", NODE_LOST))
    done = rollback(fake)
    assert done.returncode == 1 and "--all" in done.stderr
    assert fake.undone() == []


def test_what_is_named(fake: Fake):
    fake.put(*service("demo", ROLLED_OUT), *service("users", ROLLED_OUT), *service("notes", ROLLED_OUT, versions=1))
    assert rollback(fake, "users").returncode == 0
    assert fake.undone() == ["users"]
    assert rollback(fake, "--all").returncode == 0
    assert fake.undone() == ["users", "demo", "users"]
    assert rollback(fake, "user").returncode == 1


LAST_NIGHT, THE_NIGHT_BEFORE = "2026-11-21T03:43:00Z", "2026-11-20T03:44:10Z"


def job(**status: str | list[str]) -> Json:
    return {"kind": "CronJob", "metadata": {"name": "etcd-backup", "labels": labels("etcd")}, "status": status}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, ""),  # its first night is still to come
        ({"lastScheduleTime": LAST_NIGHT, "lastSuccessfulTime": "2026-11-21T03:44:02Z"}, ""),
        ({"lastScheduleTime": LAST_NIGHT, "lastSuccessfulTime": THE_NIGHT_BEFORE, "active": ["it"]}, ""),
        ({"lastScheduleTime": LAST_NIGHT, "lastSuccessfulTime": THE_NIGHT_BEFORE}, THE_NIGHT_BEFORE),
        ({"lastScheduleTime": LAST_NIGHT}, "never"),
    ],
)
def test_a_job_that_failed_is_told(fake: Fake, status: Json, said: str):
    fake.put({**service("demo", ROLLED_OUT)[0], "status": {"readyReplicas": 2}}, job(**status))
    done = operate(fake, "status")
    assert done.returncode == (1 if said else 0), done.stderr
    assert (f"etcd-backup: failed at {LAST_NIGHT}, last succeeded: {said}" in done.stdout) == bool(said)
