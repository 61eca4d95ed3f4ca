"""scripts/skaffold: what it says is missing before Skaffold starts, and how it starts Skaffold. The clusters are the stand-in
of fake_cluster.py; minikube, Docker and Skaffold are programs that only write down how they were called.
"""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fake_cluster import Fake
from harness import ROOT

Json = dict[str, Any]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
RECORD = """#!/bin/sh
{ echo "$0 $*"; echo "$PATH"; env | grep -E '^(SLIPWAY_MINIKUBE|SKAFFOLD_CACHE)' | sort; } >>"$RECORD"
[ ! -e "$0.fails" ]
"""


def node(runtime: str, **info: str) -> Json:
    facts = {"containerRuntimeVersion": f"{runtime}://1.0", "kubeletVersion": "v1.34.4", "architecture": ARCHITECTURE}
    return {"kind": "Node", "metadata": {"name": "node"}, "status": {"nodeInfo": facts | info}}


def daemon_set(name: str, image: str = "any") -> Json:
    pod = {"containers": [{"image": image}]}
    return {"kind": "DaemonSet", "metadata": {"name": name}, "spec": {"template": {"spec": pod}}}


STORAGE = {
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
}
METRICS = {
    "kind": "APIService",
    "metadata": {"name": "v1beta1.metrics.k8s.io"},
    "status": {"conditions": [{"type": "Available", "status": "True"}]},
}
COMPLETE = [STORAGE, METRICS, daemon_set("calico-node")]


class Machine:
    def __init__(self, folder: Path) -> None:
        self.fake, self.record = Fake(folder), folder / "record"
        self.programs = folder / "programs"
        (self.programs / "skaffold").unlink()
        for name in ("skaffold", "docker", "minikube", "nix", "kustomize"):
            (self.programs / name).write_text(RECORD)
            (self.programs / name).chmod(0o755)
        self.env = self.fake.env | {"RECORD": str(self.record), "PATH": f"{self.programs}:/usr/bin:/bin"}
        self.env.pop("SKAFFOLD_DEFAULT_REPO", None)

    def context(self, name: str, *objects: Json) -> None:
        provider = {"provider": "minikube.sigs.k8s.io"} if name == "minikube" else {}
        config = {"current-context": name, "clusters": [{"cluster": {"extensions": [{"extension": provider}]}}]}
        (self.fake.folder / "config").write_text(json.dumps(config))
        self.fake.put(*objects)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = ["/usr/bin/env", "python3", ROOT / "scripts/skaffold", *args]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)

    def recorded(self) -> str:
        return self.record.read_text() if self.record.exists() else ""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_minikube_with_docker(machine: Machine):
    """Skaffold asks minikube for its Docker daemon by itself: nothing is changed."""
    machine.context("minikube", node("docker"), *COMPLETE)
    done = machine.run("dev", "--port-forward=off")
    assert done.returncode == 0, done.stderr
    assert f"{machine.programs}/skaffold dev --port-forward=off\n" in machine.recorded()
    assert "nix/minikube" not in machine.recorded() and "SLIPWAY_MINIKUBE" not in machine.recorded()


@pytest.mark.parametrize("daemon_sets", [[], [daemon_set("kube-proxy")], [daemon_set("kindnet", "kindnetd:latest")]])
def test_network_plugins_that_are_not_known_get_a_note(machine: Machine, daemon_sets: list[Json]):
    machine.context("minikube", node("docker"), STORAGE, METRICS, *daemon_sets)
    done = machine.run("check")
    assert done.returncode == 0 and "enforce NetworkPolicies" in done.stdout, done.stderr


@pytest.mark.parametrize("runtime", ["containerd", "cri-o"])
def test_minikube_without_docker(machine: Machine, runtime: str):
    """Skaffold sees a minikube without a Docker daemon, and the builder loads images by the real one."""
    machine.context("minikube", node(runtime), *COMPLETE)
    done = machine.run("dev")
    assert done.returncode == 0, done.stderr
    assert "`minikube image load`" in done.stdout
    lines = machine.recorded().splitlines()
    assert f"{ROOT}/nix/minikube:{machine.programs}:/usr/bin:/bin" in lines
    assert f"SLIPWAY_MINIKUBE={machine.programs}/minikube" in lines
    assert "SLIPWAY_MINIKUBE_PROFILE=minikube" in lines
    assert "SKAFFOLD_CACHE_ARTIFACTS=false" in lines


def test_the_minikube_that_skaffold_sees(machine: Machine):
    """It has no Docker daemon, with the status that Skaffold takes for that; all else is minikube's."""
    env = machine.env | {"SLIPWAY_MINIKUBE": str(machine.programs / "minikube")}
    for args, status in ((("docker-env", "--shell", "none", "-p", "minikube"), 51), (("profile", "list"), 0)):
        done = subprocess.run([ROOT / "nix/minikube/minikube", *args], env=env, capture_output=True, check=False)
        assert done.returncode == status
    assert machine.recorded().splitlines()[0] == f"{machine.programs}/minikube profile list"


def test_what_is_missing_is_said_before_skaffold_starts(machine: Machine):
    machine.context("minikube", node("containerd", kubeletVersion="v1.28.9", architecture="s390x"))
    (machine.programs / "docker.fails").touch()
    (machine.programs / "kustomize").unlink()
    done = machine.run("dev")
    assert done.returncode == 1
    for said in (
        "kustomize is not installed",
        "Kubernetes 1.28",
        "no default StorageClass",
        "nodes are s390x",
        "Docker daemon",
    ):
        assert said in done.stderr, said
    assert "/skaffold dev" not in machine.recorded()


def test_what_the_systems_do_without_is_a_note(machine: Machine):
    machine.context(
        "minikube",
        node("docker"),
        STORAGE,
        METRICS | {"status": {}},
        daemon_set("kindnet", "kindnetd:v20240202-8f1494ea"),
    )
    done = machine.run("check")
    assert done.returncode == 0, done.stderr
    for said in ("enforce NetworkPolicies", "--cni=calico", "addons enable metrics-server", "minikube tunnel"):
        assert said in done.stdout, said
    assert not machine.recorded()


def test_a_complete_cluster_has_no_notes(machine: Machine):
    enforcing = daemon_set("kindnet", "docker.io/kindest/kindnetd:v20251212-v0.29.0")
    machine.context("kind-kind", node("containerd"), STORAGE, METRICS, enforcing)
    done = machine.run("check")
    assert done.returncode == 0 and "note:" not in done.stdout, done.stderr + done.stdout


def test_several_nodes_have_no_common_docker_daemon(machine: Machine):
    machine.context("minikube", node("docker"), node("docker"), *COMPLETE)
    done = machine.run("check")
    assert done.returncode == 1 and "--container-runtime=containerd" in done.stderr


def test_a_cluster_elsewhere_needs_a_registry(machine: Machine):
    machine.context("far-away", node("containerd"), *COMPLETE)
    done = machine.run("run")
    assert done.returncode == 1 and "--default-repo" in done.stderr
    done = machine.run("run", "--default-repo=registry.example")
    assert done.returncode == 0, done.stderr
    assert machine.run("delete").returncode == 0  # builds nothing


def test_a_cluster_that_does_not_answer(machine: Machine):
    machine.context("minikube", node("docker"), *COMPLETE)
    machine.env["FAKE_REFUSES"] = "nodes"
    done = machine.run("dev")
    assert done.returncode == 1 and "does not answer" in done.stderr
