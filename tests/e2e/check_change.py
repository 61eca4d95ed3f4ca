"""New versions, under load: no request fails, no acknowledged write is lost."""

from __future__ import annotations

import time

from suite import E2E, check, expect
from system import DEPLOYMENTS, SERVICES


@check("rolling update of every service")
def rolls(e2e: E2E) -> str:
    def roll() -> None:
        for _ in range(e2e.rounds):
            e2e.system.restart()

    return e2e.undisturbed("roll", roll)


@check("a new version of every service, and the former one again")
def new_version(e2e: E2E) -> str:
    former = {app: e2e.system.image(app) for app in SERVICES}
    newer = {app: e2e.system.another_version(app) for app in SERVICES}

    def roll() -> None:
        for version in (newer, former):
            for app, image in version.items():
                e2e.system.set_image(app, image)
            e2e.cluster.rolled_out(*DEPLOYMENTS)

    return e2e.undisturbed("version", roll)


@check("rolling update of etcd")
def rolls_etcd(e2e: E2E) -> str:
    began = time.monotonic()
    said = e2e.undisturbed("etcd", lambda: e2e.system.restart("statefulset/etcd"))
    expect(len(e2e.cluster.serving("etcd")) >= 3, "etcd has not three members")
    return f"{time.monotonic() - began:.0f} s; {said}"
