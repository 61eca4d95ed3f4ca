"""system -- Slipway in a namespace: deployed by Skaffold, its images in a registry, and what is done to it."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import ROOT, Cluster, command, expect
from load_pod import copy_to_registry, oci, plain_http

sys.path.append(str(ROOT / "scripts"))
from services import load, public, services

PROFILE = "e2e"
EVERY = load()
SERVICES = [one.name for one in services(EVERY) if one.ports]
DEPLOYMENTS = [f"deployment/{name}" for name in SERVICES]


@dataclass(frozen=True)
class Part:
    """Services that belong together, and the load on them: what something is done to."""

    name: str
    services: list[str]
    requests: str  # of the load generator; "" for all it knows

    @property
    def deployments(self) -> list[str]:
        return [f"deployment/{name}" for name in self.services]


ALL = Part("", SERVICES, "")
PARTS = [
    Part("route", ["route-guide", "feature-store"], "guide-get,guide-list,store-save,store-get,store-chat"),
    Part("demo", ["demo"], "demo,demo-slow,demo-new"),
    Part("notes", ["notes"], "note-create,note-read"),
    Part("people", ["users", "countries"], "countries,countries-new"),
]
PUBLIC = [one.name for one in public(EVERY)]
QUIET = {"SKAFFOLD_UPDATE_CHECK": "false", "SKAFFOLD_INTERACTIVE": "false"}


class System:
    def __init__(self, cluster: Cluster, registry: str) -> None:
        self.cluster, self.registry = cluster, registry

    def skaffold_command(self, verb: str, *args: str) -> list[str]:
        pushed = ["--default-repo", self.registry] if verb in ("run", "dev", "build", "render", "verify") else []
        return ["skaffold", verb, "--profile", PROFILE, "--namespace", self.cluster.namespace, *pushed, *args]

    def skaffold(self, verb: str, *args: str, timeout: float = 900, cwd: Path = ROOT) -> str:
        done = command(*self.skaffold_command(verb, *args), timeout=timeout, env={**os.environ, **QUIET}, cwd=cwd)
        return done.stdout + done.stderr

    def deploy(self) -> float:
        """Until all is ready; returns the seconds that took."""
        began = time.monotonic()
        self.skaffold("run")
        self.cluster.rolled_out()
        return time.monotonic() - began

    def image(self, app: str) -> str:
        """What its newest version runs."""
        spec = self.cluster.get(f"deployment/{app}")["spec"]["template"]["spec"]
        return spec["containers"][0]["image"]

    def another_version(self, app: str) -> str:
        """The image of an app under another digest, as a new version of it has: pushed; returns the reference."""
        reference = self.image(app)
        plain = ["--src-tls-verify=false"] if plain_http() else []
        source = reference.split("@")[0] if "@" not in reference else untagged(reference)
        with tempfile.TemporaryDirectory() as folder:
            source_layout, layout = Path(folder) / "source", Path(folder) / "oci"
            command("skopeo", "copy", "--quiet", "--insecure-policy", *plain, f"docker://{source}", f"oci:{source_layout}",
                    timeout=300)  # fmt: skip
            digest = oci.relabel(source_layout, layout, {"e2e.version": str(time.time_ns())})
            tag = digest.removeprefix("sha256:")[:16]
            return copy_to_registry(layout, f"{untagged(reference).split('@')[0]}:{tag}")

    def set_image(self, app: str, reference: str) -> None:
        container = self.cluster.get(f"deployment/{app}")["spec"]["template"]["spec"]["containers"][0]["name"]
        self.cluster.kubectl("set", "image", f"deployment/{app}", f"{container}={reference}")

    def restart(self, *workloads: str) -> None:
        self.cluster.kubectl("rollout", "restart", *(workloads or DEPLOYMENTS))
        self.cluster.rolled_out(*workloads)

    def scale(self, replicas: dict[str, int]) -> None:
        """All at once: one by the command that operators have, the others without its waiting."""
        first, *others = replicas
        for name in others:
            self.cluster.kubectl("scale", f"deployment/{name}", f"--replicas={replicas[name]}")
        just("scale", first, str(replicas[first]), namespace=self.cluster.namespace)

    def outside(self, app: str) -> str:
        """HOST:PORT by which a public service is reached from outside: its load balancer's address, else a node's."""
        service = self.cluster.get(f"service/{app}")
        given = service["status"].get("loadBalancer", {}).get("ingress", [])
        if given:
            return f"{given[0].get('ip') or given[0]['hostname']}:{service['spec']['ports'][0]['port']}"
        node_port = service["spec"]["ports"][0].get("nodePort")
        expect(node_port, f"{app} is not reached from outside")
        return f"{self.node_address()}:{node_port}"

    def node_address(self) -> str:
        nodes = self.cluster.get("nodes")["items"]
        return next(each["address"] for each in nodes[0]["status"]["addresses"] if each["type"] == "InternalIP")

    def state(self) -> dict[str, Any]:
        """What a deployment that changes nothing leaves as it is: versions of what is deployed, and the pods."""
        kinds = (
            "deployments,statefulsets,services,networkpolicies,poddisruptionbudgets,configmaps,horizontalpodautoscalers"
        )
        objects = self.cluster.get(kinds)["items"]
        generations = {
            f"{each['kind']}/{each['metadata']['name']}": each["metadata"].get("generation") for each in objects
        }
        return generations | {pod.name: pod.uid for pod in self.cluster.pods()}


def untagged(reference: str) -> str:
    """NAME@DIGEST of NAME:TAG@DIGEST, or NAME of NAME:TAG."""
    name, at, digest = reference.partition("@")
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.split(':')[0]}{at}{digest}"


def just(recipe: str, *args: str, namespace: str, timeout: float = 300) -> str:
    """A command of the Justfile, in a namespace."""
    done = command("just", "--justfile", str(ROOT / "Justfile"), recipe, *args, timeout=timeout,
                   env={**os.environ, "NAMESPACE": namespace})  # fmt: skip
    return done.stdout + done.stderr
