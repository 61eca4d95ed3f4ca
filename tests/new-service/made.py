"""made -- services that just new-service makes, in a copy of the tree."""

from __future__ import annotations

import itertools
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from checks import ROOT, copy_tree


@dataclass(frozen=True)
class Made:
    """A service, and the options that make it."""

    name: str
    options: tuple[str, ...]

    @property
    def identifier(self) -> str:
        return self.name.replace("-", "_")

    @property
    def test(self) -> str:
        return f"tests/integration/test_{self.identifier}.py"

    @property
    def main(self) -> str:
        return f"src/{self.name}/main.c"

    def new_files(self) -> set[str]:
        parts = ("deployment", "kustomization", "service")
        found = {self.main, f"src/{self.name}/service.toml", self.test} | {
            f"k8s/base/{self.name}/{part}.yaml" for part in parts
        }
        interface = f"proto/{self.identifier}.proto" if "--grpc" in self.options else f"src/{self.name}/openapi.json"
        shown = set() if "--grpc" in self.options else {f"src/console/www/interfaces/{self.name}.json"}
        return found | {interface} | shown

    def changed_files(self) -> set[str]:
        """Those that list services."""
        found = {"k8s/base/kustomization.yaml", "skaffold.yaml", "k8s/components/monitoring/rules.yml",
                 "tests/manifests/rules.test.yml", "k8s/components/monitoring/dashboards/fleet.json",
                 "infra/dashboards/fleet.json", "src/console/www/interfaces.json"}  # fmt: skip
        if "--store" in self.options:
            found |= {"k8s/components/store-etcd/jobs/backup.yaml", "k8s/components/gke/kustomization.yaml"}
        if {"--store", "--calls"} & set(self.options):
            found |= {f"k8s/components/network-policies/{part}.yaml" for part in ("dns", "edges")}
        if "--public" in self.options:
            found |= {"k8s/components/network-policies/public.yaml", "k8s/components/load-balancer/kustomization.yaml",
                      "k8s/components/gateway/routes.yaml", "k8s/components/gke/backends.yaml", "infra/services.yaml",
                      "k8s/overlays/dev/kustomization.yaml"}  # fmt: skip
            found |= (
                {"k8s/components/gke/grpc-routes.yaml", "k8s/components/gke/kustomization.yaml"}
                if "--grpc" in self.options
                else set()
            )
        return found


def combinations() -> list[Made]:
    """Of all options; one that serves HTTP calls one that does, and one of gRPC one of gRPC. One is called by two protocols."""
    found = []
    for chosen in itertools.product(*((False, True),) * 4):
        words = [word for word, there in zip(("grpc", "store", "public", "calls"), chosen) if there]
        options = [f"--{word}" for word in words]
        options += (["feature-store"] if "grpc" in words else ["users"]) if "calls" in words else []
        found.append(Made("-".join(["all", *words]) if words else "all-plain", tuple(options)))
    return [*found, Made("all-mixed", ("--store", "--calls", "all-grpc-store"))]


class Copy:
    """The tree without what git ignores, as a repository of its own; beside it what may stand beside a checkout."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "slipway"
        copy_tree(self.tree)
        if (ROOT.parent / "shared").exists():
            (folder / "shared").symlink_to(ROOT.parent / "shared")
        self.env = os.environ | {"SLIPWAY_BUILD": str(self.tree / "build")}
        self.run("git", "init", "-q")
        self.run("git", "add", "--all", "--force")
        self.run("git", "-c", "user.name=Test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "Begin")

    def run(self, *command: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.tree, env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )

    def problems(self, *command: str, timeout: float = 300) -> list[str]:
        done = self.run(*command, timeout=timeout)
        return [] if done.returncode == 0 else [f"status {done.returncode}", (done.stdout + done.stderr)[-2000:]]

    def linted(self, *paths: str) -> list[str]:
        """What formatters and linters say of C and Python."""
        c, python = ([path for path in paths if path.endswith(end)] for end in (".c", ".py"))
        return [
            *self.problems("clang-format", "--dry-run", "-Werror", *c),
            *self.problems("ruff", "check", "-q", *python),
            *self.problems("ruff", "format", "--check", *python),
        ]

    def removed(self, *names: str) -> list[str]:
        """Removes services, in this order, and looks whether anything is left."""
        problems = [each for name in names for each in self.problems("just", "remove-service", name)]
        left = self.run("git", "status", "--porcelain").stdout
        return problems + ([f"left: {left}"] if left else [])

    def differs(self) -> set[str]:
        """Files that are new or changed. The flake sees what git knows of, so new ones must be known to it."""
        return set(self.run("git", "diff", "--name-only").stdout.split())
