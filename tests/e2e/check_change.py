"""New versions, under load: no request fails, no acknowledged write is lost."""

from __future__ import annotations

import json
import time

from cluster import wait
from load_pod import expect_clean
from suite import E2E, check, expect
from system import DEPLOYMENTS, just

STORED = ["feature-store", "notes"]


@check("rolling update of every service", by_part=True)
def rolls(e2e: E2E) -> str:
    def roll() -> None:
        for _ in range(e2e.rounds):
            e2e.system.restart(*e2e.part.deployments)

    return e2e.undisturbed("roll", roll)


@check("a new version of every service, and the former one again", by_part=True)
def new_version(e2e: E2E) -> str:
    former = {app: e2e.system.image(app) for app in e2e.part.services}
    newer = {app: e2e.system.another_version(app) for app in e2e.part.services}

    def roll() -> None:
        for version in (newer, former):
            for app, image in version.items():
                e2e.system.set_image(app, image)
            e2e.cluster.rolled_out(*e2e.part.deployments)

    return e2e.undisturbed("version", roll)


@check("rolling update of etcd", by_part=True)
def rolls_etcd(e2e: E2E) -> str:
    e2e.concerned(STORED)
    began = time.monotonic()
    said = e2e.undisturbed("etcd", lambda: e2e.system.restart("statefulset/etcd"))
    expect(len(e2e.cluster.serving("etcd")) >= 3, "etcd has not three members")
    return f"{time.monotonic() - began:.0f} s; {said}"


def broken(e2e: E2E, app: str, arguments: list[str]) -> None:
    """Ships a version of app that is another program altogether, with less patience than the manifest has."""
    container = e2e.cluster.get(f"deployment/{app}")["spec"]["template"]["spec"]["containers"][0]["name"]
    version = {"spec": {"progressDeadlineSeconds": 30, "template": {"spec": {"containers": [
        {"name": container, "image": e2e.image, "args": arguments}]}}}}  # fmt: skip
    e2e.cluster.kubectl("patch", f"deployment/{app}", "-p", json.dumps(version))


def takes_no_traffic(e2e: E2E, app: str, good: set[str]) -> None:
    """Until the rollout gives up, only pods of the version before serve."""

    def given_up() -> bool:
        serving = {pod.uid for pod in e2e.cluster.serving(app)}
        expect(serving == good, f"{app}: another set of pods serves than before")
        conditions = e2e.cluster.get(f"deployment/{app}")["status"]["conditions"]
        return any(each.get("reason") == "ProgressDeadlineExceeded" for each in conditions)

    wait(f"the rollout of {app} has given up", given_up, 90, 1)


def break_and_roll_back(e2e: E2E) -> float:
    """Ships both kinds of broken versions and rolls back; returns the seconds until the rollouts gave up."""
    victims = {"notes": [], "countries": ["hold"]}  # load without a command exits at once
    before = {app: e2e.system.image(app) for app in victims}
    patience = {app: e2e.cluster.get(f"deployment/{app}")["spec"]["progressDeadlineSeconds"] for app in victims}
    good = {app: {pod.uid for pod in e2e.cluster.serving(app)} for app in victims}
    began = time.monotonic()
    for app, arguments in victims.items():
        broken(e2e, app, arguments)
    for app in victims:
        takes_no_traffic(e2e, app, good[app])
    seconds = time.monotonic() - began
    said = just("rollback", namespace=e2e.cluster.namespace)
    for app, seconds_given in patience.items():
        e2e.cluster.kubectl(
            "patch", f"deployment/{app}", "-p", json.dumps({"spec": {"progressDeadlineSeconds": seconds_given}})
        )
    e2e.cluster.rolled_out(*DEPLOYMENTS)
    after = {app: e2e.system.image(app) for app in victims}
    expect(after == before, f"after just rollback: {after}; {said}")
    return seconds


@check("broken versions, one that crashes and one that is never ready: no traffic, stopped, rolled back")
def broken_versions(e2e: E2E) -> str:
    with e2e.under_load("broken") as run:
        seconds = break_and_roll_back(e2e)
    expect_clean(run.stop())
    e2e.load.nothing_lost(run.journal)
    return f"given up after {seconds:.0f} s; {run.report}"
