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

from deployment import releases
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
