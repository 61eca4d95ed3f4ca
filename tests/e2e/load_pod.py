"""load_pod -- the load generator (load/) as a pod: built, packed without a container engine, and run inside the cluster.

A run lasts from its start until stop(), which is the end of its standard input: so it ends, too, when this process does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cluster import KUBECTL, NAME, ROOT, Cluster, Failure, command, expect, wait

sys.path.insert(0, str(ROOT / "nix/image"))
import layer
import oci

POD = "e2e-load"
ADDRESSES = {"demo": "demo:8080", "countries": "countries:8080", "notes": "notes:8080", "guide": "route-guide:8888",
             "store": "feature-store:9999"}  # fmt: skip
APPS = ["countries", "demo", "feature-store", "notes", "route-guide"]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}  # macOS has the last name


class Invalid(Exception):
    """The generator was too slow: the run says nothing, neither good nor bad."""


def build(folder: Path) -> Path:
    """The program: static, for Linux on this machine's architecture."""
    go = command("scripts/tools", "--go", timeout=300).stdout.strip()
    program = folder / "load"
    command(go, "build", "-trimpath", "-ldflags=-s", "-o", str(program), ".", cwd=ROOT / "tests/e2e/load", timeout=600,
            env={**os.environ, "CGO_ENABLED": "0", "GOOS": "linux"})  # fmt: skip
    return program


def push(program: Path, registry: str) -> str:
    """The program as the only file of an image; returns the reference to it."""
    architecture = ARCHITECTURES[os.uname().machine]
    made = layer.make("load", [layer.Entry("/load", program, mode=0o555)])
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Entrypoint": ["/load"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [made.tar_digest]},
    }
    with tempfile.TemporaryDirectory() as folder:
        digest = oci.write(Path(folder) / "oci", config, [(made.digest, made.blob)], architecture)
        return copy_to_registry(Path(folder) / "oci", f"{registry}/{POD}:{digest.removeprefix('sha256:')[:16]}")


def plain_http() -> bool:
    return os.environ.get("SLIPWAY_PLAIN_HTTP") == "true"


def copy_to_registry(layout: Path, reference: str) -> str:
    plain = ["--dest-tls-verify=false"] if plain_http() else []
    command("skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", *plain, f"oci:{layout}",
            f"docker://{reference}", timeout=300)  # fmt: skip
    return reference


def pod_of(name: str, labels: dict[str, str], image: str, args: list[str], **more: Any) -> dict[str, Any]:
    """A pod that runs the generator, as strict as the namespace wants it; more is added to its spec."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "load",
                    "image": image,
                    "args": args,
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "512Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
            **more,
        },
    }


def manifests(image: str, node: str) -> list[dict[str, Any]]:
    """The pod, on one node, and the policies by which it reaches the services, and they let it in."""
    labels = {NAME: POD}
    volumes = [{"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}]
    pod = pod_of(POD, labels, image, ["hold"], nodeSelector={"kubernetes.io/hostname": node}, volumes=volumes)
    container = pod["spec"]["containers"][0]
    container["resources"]["requests"]["cpu"] = "500m"  # it must keep its rate, whatever the others do
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    out = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Egress"], "egress": [{}]}
    admitted = {
        "podSelector": {"matchExpressions": [{"key": NAME, "operator": "In", "values": APPS}]},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [{"podSelector": {"matchLabels": labels}}], "ports": [{"port": "http"}, {"port": "grpc"}]}
        ],
    }
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return [
        pod,
        policy | {"metadata": {"name": POD}, "spec": out},
        policy | {"metadata": {"name": f"{POD}-admitted"}, "spec": admitted},
    ]


@dataclass
class Report:
    """What the generator said at the end."""

    data: dict[str, Any]
    by_second: list[dict[str, Any]]

    def __getattr__(self, name: str) -> Any:
        return self.data[name]

    def __str__(self) -> str:
        return (f"{self.sent} requests at {self.achieved:.0f}/s, {self.failed} failed, slowest {self.slowest_ms:.0f} ms, "
                f"p99 {self.p99_ms:.0f} ms, {self.acknowledged_writes} writes acknowledged")  # fmt: skip

    def failures_text(self) -> str:
        return "\n".join(f"  {each['at']:8.2f} s  {each['kind']}: {each['error']}" for each in self.failures)

    def count(self, start: float, end: float) -> dict[str, float]:
        """Of the seconds of the run from start up to end."""
        those = [each for each in self.by_second if start <= each["second"] < end]
        return {
            "sent": sum(each["sent"] for each in those),
            "failed": sum(each["failed"] for each in those),
            "slowest_ms": max((each["slowest_ms"] for each in those), default=0),
        }


@dataclass
class Run:
    """A load that runs. As a context: stopped at its end."""

    process: subprocess.Popen[str]
    journal: str
    seconds: list[dict[str, Any]] = field(default_factory=list)
    report: Report | None = None
    began: float = 0
    _begun: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._begun.wait(60) or not self.began:
            self.process.kill()
            raise Failure(f"the load did not begin: {self.process.stderr.read()[-1000:]}")

    def _read(self) -> None:
        for line in self.process.stdout:
            said = json.loads(line)
            if "began" in said:
                self.began = time.time()
                self._begun.set()
            elif "report" in said:
                self.report = Report(said["report"], self.seconds)
            else:
                self.seconds.append(said)
        self._begun.set()

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.time() - self.began

    def hold(self, seconds: float) -> None:
        """Lets it run on."""
        end = time.monotonic() + seconds
        wait("the load runs", lambda: time.monotonic() >= end or self.process.poll() is not None, seconds + 5, 0.25)
        expect(self.process.poll() is None, "the load ended by itself")

    def stop(self) -> Report:
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self._reader.join(60)
        errors = self.process.stderr.read() if self.process.poll() is not None else "it does not end"
        expect(self.report, f"the load gave no report: {errors[-1000:]}")
        return self.report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        elif self.process.poll() is None:
            self.process.kill()


class LoadPod:
    """The generator in the cluster, and all that it has had acknowledged."""

    def __init__(self, cluster: Cluster, rate: float) -> None:
        self.cluster, self.rate, self.journals, self.node = cluster, rate, [], ""

    def start(self, image: str) -> None:
        self.node = self.cluster.nodes()[0]
        self.cluster.kubectl(
            "delete", "pod", POD, "--ignore-not-found"
        )  # of a run before, in a namespace that was kept
        self.cluster.apply(*manifests(image, self.node))
        self.cluster.kubectl("wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=90s")

    def run(self, name: str, **options: object) -> Run:
        """Starts a load named so; options are the generator's."""
        journal = f"/data/{name}.journal"
        if journal not in self.journals:
            self.journals.append(journal)
        flags = {"rate": self.rate, "journal": journal, **ADDRESSES} | options
        args = [f"-{key}={value}" for key, value in flags.items() if value != ""]
        return Run(subprocess.Popen([KUBECTL, "-n", self.cluster.namespace, "exec", "-i", POD, "--", "/load", "run", *args],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True),
                   journal)  # fmt: skip

    def lost(self, *journals: str) -> tuple[int, int, list[str]]:
        """Reads every acknowledged write from every replica by its own address: (writes, lost, the first lost)."""
        notes = ",".join(f"{pod.ip}:8080" for pod in self.cluster.serving("notes"))
        store = ",".join(f"{pod.ip}:9999" for pod in self.cluster.serving("feature-store"))
        expect(notes and store, "no replica to read from")
        writes, lost, first = 0, 0, []
        for journal in journals or self.journals:
            said = json.loads(self.cluster.kubectl("exec", POD, "--", "/load", "verify", f"-journal={journal}",
                                                   f"-notes={notes}", f"-store={store}", timeout=600))  # fmt: skip
            writes, lost, first = writes + said["writes"], lost + said["lost"], first + said["first"]
        return writes, lost, first

    def nothing_lost(self, *journals: str) -> str:
        writes, lost, first = self.lost(*journals)
        expect(lost == 0, f"{lost} of {writes} acknowledged writes are lost:\n" + "\n".join(first))
        return f"{writes} acknowledged writes readable from every replica"


def expect_clean(report: Report) -> None:
    """No request failed; unless the generator could not keep its rate, then nothing is known."""
    if not report.valid:
        raise Invalid(f"the generator kept {report.achieved:.0f} of {report.rate:.0f} requests a second")
    expect(report.failed == 0, f"{report}\n{report.failures_text()}")
