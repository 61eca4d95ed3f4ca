"""cluster -- a namespace behind a kube context: manifests rendered for it, compared, applied, and waited for."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from deployment import rollout
from deployment.images import BY_DIGEST, Images
from deployment.shell import ROOT, Failure, Json, run

Docs = list[Json]
WORKLOADS = ("Deployment", "StatefulSet")
RETRIES = 5


def render(overlay: str, images: Images, namespace: str, tree: Path = ROOT) -> Docs:
    """An overlay of a tree with its images by digest. An image that has none is a failure: nothing else may run."""
    source = tree / os.path.relpath(ROOT / "k8s/overlays" / overlay, ROOT)
    if not source.is_dir():
        raise Failure(f"that revision has no overlay {overlay}")
    with tempfile.TemporaryDirectory() as folder:
        kustomization = {
            "resources": [os.path.relpath(source.resolve(), Path(folder).resolve())],
            "namespace": namespace,
            "images": [
                {"name": name, "newName": reference.split("@")[0], "digest": reference.split("@")[1]}
                for name, reference in images.items()
            ],
        }
        (Path(folder) / "kustomization.yaml").write_text(json.dumps(kustomization))
        docs = list(yaml.safe_load_all(run("kustomize", "build", folder)))
    for name, container in containers(docs):
        if not BY_DIGEST.fullmatch(container["image"]):
            raise Failure(f"{name}: {container['image']} is none of the images that are to be deployed")
    return docs


def containers(docs: Docs) -> list[tuple[str, Json]]:
    found = []
    for doc in docs:
        spec = doc["spec"]["jobTemplate"]["spec"] if doc["kind"] == "CronJob" else doc.get("spec", {})
        pod = spec.get("template", {}).get("spec", {}) if isinstance(spec, dict) else {}
        found += [(name_of(doc), each) for each in pod.get("initContainers", []) + pod.get("containers", [])]
    return found


def name_of(doc: Json) -> str:
    return str(doc["metadata"]["name"])


def key(doc: Json) -> tuple[str, str]:
    """By which kubectl finds it: KIND.GROUP, name."""
    group = doc["apiVersion"].rpartition("/")[0]
    return f"{doc['kind']}.{group}".rstrip("."), name_of(doc)


def find(docs: Docs, kind: str, name: str) -> Json | None:
    return next((doc for doc in docs if (doc["kind"], name_of(doc)) == (kind, name)), None)


def removed(old: Docs, new: Docs) -> Docs:
    """What is in old alone."""
    kept = {key(doc) for doc in new}
    return [doc for doc in old if key(doc) not in kept]


@dataclass(frozen=True)
class Cluster:
    context: str
    namespace: str

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 120, ok: tuple[int, ...] = (0,)) -> str:
        return run(*self.command(*args), stdin=stdin, timeout=timeout, ok=ok)

    def command(self, *args: str) -> list[str]:
        context = ["--context", self.context] if self.context else []
        return [os.environ.get("KUBECTL", "kubectl"), *context, "--namespace", self.namespace, *args]

    def read(self, *args: str) -> str:
        """An API server that is away for a moment makes no release a bad one."""
        for _ in range(RETRIES):
            with contextlib.suppress(Failure):
                return self.kubectl("get", *args, "--output", "json", timeout=20)
            time.sleep(2)
        return self.kubectl("get", *args, "--output", "json", timeout=20)

    def items(self, kinds: str, selector: str = "") -> Docs:
        found: Docs = json.loads(self.read(kinds, *(["--selector", selector] if selector else [])))["items"]
        return found

    def get(self, kind: str, name: str) -> Json | None:
        text = self.read(kind, name, "--ignore-not-found")
        return json.loads(text) if text else None

    def prepare(self) -> None:
        """The namespace, and the certificates of etcd: made where missing."""
        env = {"SKAFFOLD_KUBE_CONTEXT": self.context} if self.context else {}
        run(ROOT / "scripts/etcd-tls", self.namespace, env=env)

    def diff(self, docs: Docs) -> list[str]:
        """Lines: the objects that change, and how."""
        said = self.kubectl("diff", "--server-side", "--force-conflicts", "--filename", "-", stdin=text_of(docs),
                            ok=(0, 1))  # fmt: skip
        lines = [line for line in said.splitlines() if not line.startswith(("diff ", "--- /"))]
        return [Path(line.split("\t")[0]).name if line.startswith("+++ /") else f"  {line}" for line in lines]

    def edits(self, docs: Docs) -> list[str]:
        """What people changed by kubectl in fields that the manifests do not have, which `diff` does not show."""
        said = self.kubectl("get", "--filename", "-", "--ignore-not-found", "--show-managed-fields", "--output", "json",
                            stdin=text_of(docs))  # fmt: skip
        live = json.loads(said) if said else {"items": []}
        return [f"{'.'.join(key(doc))}: {edit}" for doc in live.get("items", [live]) for edit in edits_of(doc)]

    def apply(self, docs: Docs) -> None:
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=text_of(docs))

    def delete(self, docs: Docs) -> None:
        for kind, name in map(key, docs):
            self.kubectl("delete", kind, name, "--ignore-not-found", "--wait=false")

    def pods(self) -> Docs:
        return self.items("pods", "app.kubernetes.io/part-of=slipway")

    def pod_ids(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.pods()}

    def wait_ready(self, docs: Docs, timeout: float = 0, old_pods: set[str] | None = None) -> None:
        """Until all workloads run their newest version alone; for timeout seconds at most or, where that is 0, as long
        as their replicas and rollout parameters may take. With old_pods fails as soon as a pod that is not one of them
        cannot become ready, rather than when the time is over."""
        names = [(doc["kind"], name_of(doc)) for doc in docs if doc["kind"] in WORKLOADS]
        began, trouble = time.monotonic(), rollout.Trouble()
        while True:
            live = {(doc["kind"], name_of(doc)): doc for doc in self.items("deployments,statefulsets")}
            waited_for = [live[each] for each in names if not rollout.is_done(live[each])]
            if not waited_for:
                return
            if old_pods is not None:
                self.fail_if_hopeless(waited_for, old_pods, trouble)
            limit = timeout or rollout.limit_s([live[each] for each in names])
            if time.monotonic() > began + limit:
                raise Failure(f"not ready within {limit:.0f} s: {', '.join(map(name_of, waited_for))}")
            time.sleep(1)

    def fail_if_hopeless(self, workloads: Docs, old_pods: set[str], trouble: rollout.Trouble) -> None:
        if given_up := [name_of(each) for each in workloads if rollout.has_given_up(each)]:
            raise Failure(f"{', '.join(given_up)}: the new version does not get ready")
        for pod in self.pods():
            if pod["metadata"]["uid"] not in old_pods and (why := trouble.of(pod)):
                raise Failure(f"{name_of(pod)}: {why}")


def edits_of(live: Json) -> list[str]:
    """By the names that kubectl gives itself: kubectl-edit, kubectl-patch, kubectl-set and so on. A restart is none."""
    return [
        f"{entry['manager']} changed {', '.join(fields)}"
        for entry in live["metadata"].get("managedFields", [])
        if entry["manager"].startswith("kubectl-") and entry["manager"] != "kubectl-rollout"
        and not entry.get("subresource")
        and (fields := [name[2:] for name in entry.get("fieldsV1", {}) if name not in ("f:metadata", "f:status")])
    ]  # fmt: skip


def longest_s(docs: Docs) -> float:
    """How long the rollout of these manifests may take, with as many pods as an autoscaler may have made of them."""
    scaled = {(each["spec"]["scaleTargetRef"]["kind"], each["spec"]["scaleTargetRef"]["name"]): each["spec"]["maxReplicas"]
              for each in docs if each["kind"] == "HorizontalPodAutoscaler"}  # fmt: skip
    workloads = [doc for doc in docs if doc["kind"] in WORKLOADS]
    return rollout.limit_s([
        doc | {"spec": doc["spec"] | {"replicas": scaled.get((doc["kind"], name_of(doc)), doc["spec"].get("replicas", 1))}}
        for doc in workloads
    ])  # fmt: skip


def text_of(docs: Docs) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": docs})
