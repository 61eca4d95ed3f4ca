"""rollout -- how long the rollout of a workload may take, whether it is complete, and whether a pod can still start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deployment.shell import Json

DEFAULT_PROGRESS_S = 600  # Kubernetes's own, where a Deployment names none
PULL_S = 60  # to schedule a StatefulSet's pod, attach its volume and pull its image
DEFAULT_START_S = 60  # where there is no startup probe
MOST_FAILED_PULLS_S = 90  # the kubelet pulls again after 10, 20 and 40 s: four attempts
NEVER_STARTS = {"InvalidImageName"}
RETRIED = {
    "ErrImagePull",
    "ImagePullBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
CRASHES = 3  # a pod may crash twice, while what it needs is not there yet


def limit_s(workloads: list[Json]) -> float:
    """How long all of them may take at most. What is stuck fails earlier: by a Deployment's progressDeadlineSeconds, or
    by `Trouble`. Deployments may have to wait until StatefulSets serve, so their times are added."""
    kinds = {doc["kind"] for doc in workloads}
    return sum(max(workload_s(doc) for doc in workloads if doc["kind"] == kind) for kind in kinds)


def workload_s(doc: Json) -> float:
    """A pod is given up after progressDeadlineSeconds; as many are replaced at a time as surge and unavailability allow.
    A StatefulSet replaces one after the other, each when the former has ended."""
    spec = doc["spec"]
    replicas = spec.get("replicas", 1)
    if doc["kind"] == "StatefulSet":
        pod = spec["template"]["spec"]
        start = max(start_s(container) for container in pod["containers"])
        return replicas * (
            pod.get("terminationGracePeriodSeconds", 30) + PULL_S + start + spec.get("minReadySeconds", 0)
        )
    rolling = spec.get("strategy", {}).get("rollingUpdate", {})
    surge = share(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    unavailable = share(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
    steps = math.ceil(replicas / max(1, surge + unavailable))
    return max(1, steps) * spec.get("progressDeadlineSeconds", DEFAULT_PROGRESS_S)


def share(value: int | str, replicas: int, rounded: Callable[[float], int]) -> int:
    """Of maxSurge and maxUnavailable: a number, or a percentage of the replicas."""
    return rounded(int(value.rstrip("%")) * replicas / 100) if isinstance(value, str) else value


def start_s(container: Json) -> float:
    probe = container.get("startupProbe")
    return probe.get("failureThreshold", 3) * probe.get("periodSeconds", 10) if probe else DEFAULT_START_S


def is_done(live: Json) -> bool:
    """Whether all pods are of the newest version and ready."""
    status, wanted = live.get("status", {}), live["spec"]["replicas"]
    if status.get("observedGeneration") != live["metadata"]["generation"]:
        return False
    if live["kind"] == "StatefulSet":
        same = status.get("updateRevision") == status.get("currentRevision")
        return same and status.get("readyReplicas", 0) == wanted == status.get("replicas", 0)
    return all(status.get(count, 0) == wanted for count in ("replicas", "updatedReplicas", "availableReplicas"))


def has_given_up(live: Json) -> bool:
    """Whether a Deployment made no progress for progressDeadlineSeconds."""
    seen = live.get("status", {}).get("observedGeneration") == live["metadata"]["generation"]
    conditions = live.get("status", {}).get("conditions", [])
    return seen and any(each.get("reason") == "ProgressDeadlineExceeded" for each in conditions)


@dataclass
class Trouble:
    """What keeps pods from starting. The kubelet tries again what is in RETRIED, so that is reported only where it has
    lasted for MOST_FAILED_PULLS_S."""

    now: Callable[[], float] = time.monotonic
    since: dict[tuple[str, str], float] = field(default_factory=dict)  # (pod's uid, container): first seen

    def of(self, pod: Json) -> str:
        """Empty while the pod may still become ready."""
        status = pod["status"]
        containers = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
        return next(filter(None, (self.of_container(pod["metadata"]["uid"], each) for each in containers)), "")

    def of_container(self, uid: str, container: Json) -> str:
        waiting = container.get("state", {}).get("waiting", {})
        reason = waiting.get("reason", "")
        said = f"{reason or 'crashes'} {waiting.get('message', '')}".strip()
        if reason in NEVER_STARTS or container.get("restartCount", 0) >= CRASHES:
            return said
        if {"running", "terminated"} & container.get("state", {}).keys():
            self.since.pop((uid, container["name"]), None)
        elif reason in RETRIED:
            first = self.since.setdefault((uid, container["name"]), self.now())
            if self.now() - first > MOST_FAILED_PULLS_S:
                return f"{said} (for {self.now() - first:.0f} s)"
        return ""
