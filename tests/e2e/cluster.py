"""cluster -- a namespace of the cluster that the current kube context names: kubectl, waits with deadlines, what there is.

Nothing waits without a deadline, and nothing is found by chance: what a check needs it asks the API server for.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = os.environ.get("KUBECTL", "kubectl")
NAME = "app.kubernetes.io/name"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
NICENESS = 10  # of all that runs here beside the load: the cluster may be on this machine
T = TypeVar("T")


class Failure(Exception):
    """What is wrong, for people."""


class Skip(Exception):
    """Why a check cannot be made here."""


def expect(condition: object, what: str) -> None:
    if not condition:
        raise Failure(what)


def say(text: str) -> None:
    print(f"       {text}", flush=True)


def command(*args: str, timeout: float = 120, check: bool = True, stdin: str | None = None,
            env: dict[str, str] | None = None, cwd: Path = ROOT,
            niceness: int = NICENESS) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Runs a program to its end; what it printed is the failure's text."""
    try:
        done = subprocess.run(["nice", "-n", str(niceness), *args], input=stdin, capture_output=True, text=True,
                              errors="replace", timeout=timeout, check=False, env=env, cwd=cwd)  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{' '.join(args[:6])}: not done after {timeout:.0f} s\n{text_of(error)}") from error
    if check and done.returncode:
        raise Failure(f"{' '.join(args[:8])}: status {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done


def text_of(error: subprocess.TimeoutExpired) -> str:
    parts = [part for part in (error.stdout, error.stderr) if part]
    return "\n".join(part.decode(errors="replace") if isinstance(part, bytes) else part for part in parts)[-3000:]


def wait(what: str, condition: Callable[[], T], timeout: float, pause: float = 1) -> T:
    """The first answer of condition that is true, within timeout seconds. A kubectl a second is cheap, more is not."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Failure(f"after {timeout:.0f} s still not so: {what}")
        time.sleep(pause)


@dataclass(frozen=True)
class Pod:
    name: str
    app: str
    ip: str
    node: str
    uid: str
    ready: bool
    going: bool  # has been told to end
    restarts: int

    @staticmethod
    def of(item: dict[str, Any]) -> Pod:
        status = item["status"]
        return Pod(
            name=item["metadata"]["name"],
            app=item["metadata"].get("labels", {}).get(NAME, ""),
            ip=status.get("podIP", ""),
            node=item["spec"].get("nodeName", ""),
            uid=item["metadata"]["uid"],
            ready=any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", [])),
            going="deletionTimestamp" in item["metadata"],
            restarts=sum(each["restartCount"] for each in status.get("containerStatuses", [])),
        )


class Cluster:
    """kubectl in one namespace, which this made and will delete."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def kubectl(self, *args: str, timeout: float = 120, check: bool = True, stdin: str | None = None) -> str:
        return command(KUBECTL, "-n", self.namespace, *args, timeout=timeout, check=check, stdin=stdin).stdout

    def get(self, *args: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def create(self) -> None:
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": RESTRICTED}}
        )

    def delete(self) -> None:
        """The namespace with all in it, and the volumes that were bound in it."""
        volumes = [each["spec"].get("volumeName", "") for each in self.get("persistentvolumeclaims")["items"]]
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=180s", timeout=200)
        for volume in filter(None, volumes):
            self.kubectl("delete", "persistentvolume", volume, "--ignore-not-found", "--wait=false")

    def pods(self, app: str = "") -> list[Pod]:
        return [Pod.of(each) for each in self.get("pods", *(["-l", f"{NAME}={app}"] if app else []))["items"]]

    def serving(self, app: str) -> list[Pod]:
        return [pod for pod in self.pods(app) if pod.ready and not pod.going]

    def nodes(self) -> list[str]:
        """Those that are ready and take pods."""
        ready = []
        for node in self.get("nodes")["items"]:
            conditions = {each["type"]: each["status"] for each in node["status"]["conditions"]}
            if conditions.get("Ready") == "True" and not node["spec"].get("unschedulable"):
                ready.append(node["metadata"]["name"])
        return ready

    def workloads(self) -> list[str]:
        """Every Deployment and StatefulSet, as kubectl takes it."""
        listed = self.kubectl("get", "deployments,statefulsets", "-o", "name").split()
        return [each.replace("deployment.apps/", "deployment/").replace("statefulset.apps/", "statefulset/")
                for each in listed]  # fmt: skip

    def rolled_out(self, *workloads: str, timeout: float = 240) -> None:
        """Waits until they are at their newest version, all pods of it available, and those of the old have gone."""
        deadline = time.monotonic() + timeout
        for each in workloads or self.workloads():
            left = max(deadline - time.monotonic(), 1)
            self.kubectl("rollout", "status", each, f"--timeout={left:.0f}s", timeout=left + 10)
        wait("no pod is on its way out", lambda: not any(pod.going for pod in self.pods()), 120)

    @contextlib.contextmanager
    def forward(self, pod: str, port: int) -> Iterator[str]:
        """HOST:PORT on this machine that leads to the port of a pod, beside all network policies."""
        with subprocess.Popen([KUBECTL, "-n", self.namespace, "port-forward", f"pod/{pod}", f":{port}"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # fmt: skip
            try:
                found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
                expect(found, f"no port-forward to {pod}:{port}")
                yield f"127.0.0.1:{found[1]}"
            finally:
                process.terminate()

    def metrics(self, pod: str, port: int = 9090) -> dict[str, float]:
        """Every series of a pod: name{labels} -> value."""
        with (
            self.forward(pod, port) as address,
            urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer,
        ):
            lines = answer.read().decode().splitlines()
        series = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in series}

    def counted(self, pod: str, prefix: str, *having: str) -> float:
        """The sum of a pod's series that begin with prefix and have these labels."""
        return sum(value for name, value in self.metrics(pod).items()
                   if name.startswith(prefix) and all(each in name for each in having))  # fmt: skip

    def diagnosis(self) -> str:
        """What there is to see where something failed: pods, the last events, and of pods that are not well more."""
        parts = [self.kubectl("get", "pods,deployments,statefulsets,hpa,pdb", check=False)]
        events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False).splitlines()
        parts.append("\n".join(line[:200] for line in events[-30:]))
        with contextlib.suppress(Failure):
            for pod in self.pods():
                log = self.kubectl("logs", pod.name, "--tail=5000", "--all-containers", check=False).splitlines()
                errors = [line[:600] for line in log if '"severity":"ERROR"' in line]
                if pod.ready and not pod.restarts:
                    parts += errors[-3:]
                    continue
                parts.append(self.kubectl("describe", "pod", pod.name, check=False)[-2000:])
                parts += log[-10:]
                parts.append(self.kubectl("logs", pod.name, "--tail=10", "--previous", check=False))
        return "\n".join(part.rstrip() for part in parts if part.strip())


def warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
