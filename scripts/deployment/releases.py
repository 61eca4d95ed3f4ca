"""releases -- what was deployed to a namespace, kept in it: a ConfigMap for each release, numbered.

It holds the whole manifest, images by digest, so that a release can be had again exactly as it was. `outcome` is "under way",
"serves", or "failed: why". The one that serves is the newest of that outcome. Making the ConfigMap of the next number
is the lock: of two who deploy at once one fails. A release that is under way for longer than its rollout and the one that
takes it back may last, STALE_S at least, is one whose deployer died.
The canary that is under way, if there is one, is kept in the same way, as slipway-canary.
"""

from __future__ import annotations

import base64
import datetime
import gzip
import json
from dataclasses import dataclass, replace

from deployment.cluster import Cluster, Docs, key, longest_s
from deployment.images import Images, from_artifacts, to_artifacts
from deployment.shell import Failure, Json

SELECTOR = "app.kubernetes.io/component=release"
LABELS = {"app.kubernetes.io/component": "release", "app.kubernetes.io/managed-by": "slipway-deploy"}
KEPT = 10
STALE_S = 3600
UNDER_WAY, SERVES = "under way", "serves"


@dataclass(frozen=True)
class Release:
    number: int
    revision: str  # of the tree that the manifest is of
    origin: str  # how it came about: "built", "promoted from stage ...", "rollback to 3"
    time: str
    previous: int
    outcome: str
    images: Images
    docs: Docs

    @property
    def name(self) -> str:
        return f"slipway-release-{self.number}"

    def __str__(self) -> str:
        return f"release {self.number} ({self.revision}, {self.origin}, {self.time})"


def parse(item: Json) -> Release:
    data = item["data"]
    return Release(
        number=int(data["number"]),
        revision=data["revision"],
        origin=data["origin"],
        time=data["time"],
        previous=int(data["previous"]),
        outcome=data["outcome"],
        images=from_artifacts(json.loads(data["artifacts"])),
        docs=json.loads(gzip.decompress(base64.b64decode(item["binaryData"]["manifest.json.gz"]))),
    )


def config_map(release: Release, name: str = "", labels: Json = LABELS) -> Json:
    manifest = gzip.compress(json.dumps(release.docs).encode(), mtime=0)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name or release.name, "labels": labels},
        "data": {
            "number": str(release.number),
            "revision": release.revision,
            "origin": release.origin,
            "time": release.time,
            "previous": str(release.previous),
            "outcome": release.outcome,
            "artifacts": json.dumps(to_artifacts(release.images), indent=2),
        },
        "binaryData": {"manifest.json.gz": base64.b64encode(manifest).decode()},
    }


def history(cluster: Cluster) -> list[Release]:
    return sorted((parse(item) for item in cluster.items("configmaps", SELECTOR)), key=lambda each: each.number)


def current(cluster: Cluster) -> Release | None:
    return next((each for each in reversed(history(cluster)) if each.outcome == SERVES), None)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def age_s(release: Release) -> float:
    return (now() - datetime.datetime.fromisoformat(release.time)).total_seconds()


def draft(revision: str, origin: str, images: Images, docs: Docs, previous: int) -> Release:
    """One without a number; previous is what a rollback from it leads to."""
    return Release(0, revision, origin, now().isoformat(), previous, UNDER_WAY, images, docs)


def is_stale(release: Release) -> bool:
    return age_s(release) > max(STALE_S, 2 * longest_s(release.docs))


def must_not_run(cluster: Cluster, take_over: bool) -> list[Release]:
    """Returns the history that says so."""
    past = history(cluster)
    newest = past[-1] if past else None
    if newest and newest.outcome == UNDER_WAY and not is_stale(newest) and not take_over:
        raise Failure(f"{newest} is under way; if whoever deployed it is gone: --take-over")
    return past


def begin(cluster: Cluster, drafted: Release, take_over: bool) -> Release:
    past = must_not_run(cluster, take_over)
    release = replace(drafted, number=past[-1].number + 1 if past else 1, time=now().isoformat())
    cluster.kubectl("create", "--filename", "-", stdin=json.dumps(config_map(release)))  # fails if somebody was faster
    return release


def finish(cluster: Cluster, release: Release, outcome: str) -> None:
    cluster.kubectl("patch", "configmap", release.name, "--type=merge", "--patch",
                    json.dumps({"data": {"outcome": outcome}}))  # fmt: skip


def forget(cluster: Cluster) -> None:
    """The oldest beyond KEPT, with the ConfigMaps that no release names any more."""
    past = history(cluster)
    kept, gone = past[-KEPT:], past[:-KEPT]
    named = {key(doc) for release in kept for doc in release.docs}
    for release in gone:
        cluster.delete([doc for doc in release.docs if doc["kind"] == "ConfigMap" and key(doc) not in named])
        cluster.delete([config_map(release)])


def find(cluster: Cluster, number: int) -> Release:
    for release in history(cluster):
        if release.number == number:
            return release
    raise Failure(f"there is no release {number} in {cluster.namespace}: just releases says which there are")
