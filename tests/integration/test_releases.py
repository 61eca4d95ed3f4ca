"""scripts/deploy, as far as it goes without a cluster: what is remembered of releases, and what a tree may deploy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deployment import releases
from deployment.cluster import containers
from deployment.images import names, to_artifacts
from deployment.releases import Release
from fake_cluster import Fake, Json
from harness import ROOT

DIGEST = "sha256:" + "a" * 64
NOTE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note"}, "data": {"text": "first"}}
Deploy = Callable[..., subprocess.CompletedProcess[str]]


def images(*without: str) -> dict[str, str]:
    """Of all that this tree builds, and one that it does not."""
    return {name: f"registry.example/{name}@{DIGEST}" for name in [*names(), "former"] if name not in without}


def release(number: int, text: str, revision: str = "0123456789ab") -> Release:
    note = NOTE | {"data": {"text": text}}
    drafted = releases.draft(revision, "built", images("demo"), [note], number - 1)
    return replace(drafted, number=number, outcome=releases.SERVES)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def stored(*there: Release) -> list[Json]:
    return [releases.config_map(each) for each in there]


@pytest.fixture
def deploy(fake: Fake) -> Deploy:
    """deploy(VERB, ...), of a tree: this one, if not said."""
    if shutil.which("kustomize") is None:
        assert "CI" not in os.environ
        pytest.skip("kustomize is not there")

    def run(*args: str | Path, tree: Path = ROOT) -> subprocess.CompletedProcess[str]:
        command = [tree / "scripts/deploy", *args, "--unsigned", "--registry", "registry.example"]
        return subprocess.run(command, env=fake.env, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_services_come_and_go(deploy: Deploy, fake: Fake):
    """A release that lacks an image of this tree's, and has another, is remembered and can be had again."""
    fake.put(*stored(release(1, "first"), release(2, "second")), context="here")
    listed = deploy("list", "dev", "--context", "here")
    assert listed.returncode == 0 and len(listed.stdout.splitlines()) == 2, listed.stderr
    back = deploy("rollback", "dev", "--context", "here")
    assert back.returncode == 0, back.stderr
    there = fake.objects("here")
    assert there["note"]["data"]["text"] == "first"
    assert there["slipway-release-3"]["data"]["origin"] == "rollback to 1"
    assert "demo" not in {
        each["imageName"] for each in json.loads(there["slipway-release-3"]["data"]["artifacts"])["builds"]
    }


def test_what_is_deployed_is_complete(deploy: Deploy, fake: Fake, tmp_path: Path):
    fake.put(*stored(release(1, "first")), context="here")
    artifacts = tmp_path / "artifacts.json"
    artifacts.write_text(json.dumps(to_artifacts(images("demo"))))
    for verb in (("run", "dev"), ("canary", "dev", "10")):
        done = deploy(*verb, "--context", "here", "--artifacts", artifacts)
        assert done.returncode == 1 and "no image of demo" in done.stderr, done.stderr
    assert set(fake.objects("here")) == {"slipway-release-1"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the programs of this one and manifests of its own, in two revisions."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "scripts", tree / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "skaffold.yaml").write_text('build: {artifacts: [{image: "demo"}]}\n')
    for text in ("tried", "newer"):
        folder = tree / "k8s/overlays/stage"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "note.json").write_text(json.dumps(NOTE | {"data": {"text": text}}))
        (folder / "kustomization.yaml").write_text("resources: [note.json]\n")
        if text == "tried":
            git(tree, "init", "--quiet")
        git(tree, "add", "--all")
        git(tree, "commit", "--quiet", "--message", text)
    return tree


def git(tree: Path, *args: str) -> str:
    command = ("git", "-C", tree, "-c", "user.name=Test", "-c", "user.email=test@localhost", *args)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def promote(deploy: Deploy, tree: Path) -> subprocess.CompletedProcess[str]:
    return deploy("promote", "dev", "stage", "--source-context", "dev", "--context", "stage", tree=tree)


def test_promoted_is_what_was_tried(deploy: Deploy, fake: Fake, tree: Path):
    """The manifests of the revision that serves there, not those that are checked out."""
    tried = git(tree, "rev-parse", "--short=12", "HEAD~1")
    fake.put(*stored(release(1, "in dev", tried)), context="dev")
    done = promote(deploy, tree)
    assert done.returncode == 0, done.stderr
    there = fake.objects("stage")
    assert there["note"]["data"]["text"] == "tried"
    assert there["slipway-release-1"]["data"]["revision"] == tried


@pytest.mark.parametrize("revision", ["0123456789ab", "HEAD-dirty", "unmerged"])
def test_promoted_is_what_was_merged(revision: str, deploy: Deploy, fake: Fake, tree: Path):
    """Neither what nobody has, nor a tree with changes, nor a branch."""
    git(tree, "branch", "unmerged")
    git(tree, "reset", "--quiet", "--hard", "HEAD~1")
    fake.put(*stored(release(1, "in dev", revision)), context="dev")
    done = promote(deploy, tree)
    assert done.returncode == 1 and f"{revision} is no revision of the history" in done.stderr, done.stderr
    assert not fake.objects("stage")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    path = tmp_path / "artifacts.json"
    path.write_text(json.dumps(to_artifacts({name: images()[name] for name in names()})))
    return path


def test_rendered_manifests_are_complete(deploy: Deploy, artifacts: Path, tmp_path: Path):
    """Namespace and all, images by digest; a second time nothing changes, and what is no part of it any more goes."""
    folder = tmp_path / "gitops"
    done = deploy("render", "local-gateway", folder, "--artifacts", artifacts)
    assert done.returncode == 0, done.stderr
    docs = [yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")]
    kinds = {doc["kind"] for doc in docs}
    assert {"Namespace", "Deployment", "StatefulSet", "NetworkPolicy", "Gateway", "ConfigMap", "CronJob"} <= kinds
    (namespace,) = (doc for doc in docs if doc["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {doc["metadata"]["namespace"] for doc in docs if doc["kind"] == "Deployment"} == {
        namespace["metadata"]["name"]
    }
    found = containers(docs)
    assert found and all(each["image"].endswith(f"@{DIGEST}") for _, each in found)
    assert json.loads((folder / "RELEASE").read_text())["builds"]
    (folder / "configmap.former.yaml").write_text("{}")
    done = deploy("render", "local-gateway", folder, "--artifacts", artifacts)
    assert done.stdout.splitlines()[-1] == "configmap.former.yaml"
    assert deploy("render", "local-gateway", folder, "--artifacts", artifacts).stdout == "nothing changes\n"


def test_nothing_is_rendered_without_digest_or_over_other_files(deploy: Deploy, artifacts: Path, tmp_path: Path):
    (tmp_path / "mine").write_text("precious")
    done = deploy("render", "local-gateway", tmp_path, "--artifacts", artifacts)
    assert done.returncode == 1 and "name an empty folder" in done.stderr
    assert (tmp_path / "mine").read_text() == "precious"
    artifacts.write_text(artifacts.read_text().replace(f"demo@{DIGEST}", "demo:latest"))
    done = deploy("render", "local-gateway", tmp_path / "new", "--artifacts", artifacts)
    assert done.returncode == 1 and "has no digest" in done.stderr
    assert not (tmp_path / "new").exists()


def test_drift_is_found(deploy: Deploy, fake: Fake, tmp_path: Path):
    """From the release that serves, and from a folder."""
    serving = release(1, "first")
    fake.put(*stored(serving), *serving.docs, context="here")
    assert deploy("drift", "dev", "--context", "here").returncode == 0
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "note.yaml").write_text(yaml.safe_dump(NOTE))
    assert deploy("drift", "dev", folder, "--context", "here").returncode == 0
    fake.put(*stored(serving), NOTE | {"data": {"text": "by hand"}}, context="here")
    for more in ((), (folder,)):
        done = deploy("drift", "dev", *more, "--context", "here")
        assert done.returncode == 1 and "note" in done.stdout and "differs from" in done.stderr


def test_an_edit_of_a_field_that_the_manifest_lacks_is_drift(deploy: Deploy, fake: Fake):
    """Server-side apply leaves it alone, and kubectl diff does not show it. Who restarts pods changes nothing."""
    serving = release(1, "first")
    owners = [
        {"manager": "kubectl", "fieldsV1": {"f:data": {}}},
        {"manager": "kubectl-rollout", "fieldsV1": {"f:spec": {}}},
        {"manager": "kubectl-set", "subresource": "status", "fieldsV1": {"f:status": {}}},
        {"manager": "kubectl-edit", "fieldsV1": {"f:metadata": {}}},
    ]
    live = NOTE | {"metadata": {"name": "note", "managedFields": owners}}
    serving = replace(serving, docs=[live])
    fake.put(*stored(serving), live, context="here")
    done = deploy("drift", "dev", "--context", "here")
    assert done.returncode == 0, done.stdout + done.stderr
    owners.append({"manager": "kubectl-edit", "fieldsV1": {"f:data": {"f:more": {}}}})
    serving = replace(serving, docs=[live])
    fake.put(*stored(serving), live, context="here")
    done = deploy("drift", "dev", "--context", "here")
    assert done.returncode == 1 and "ConfigMap.note: kubectl-edit changed data" in done.stdout, done.stdout
