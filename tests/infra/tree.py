"""A copy of infra/ to run Terraform in: nothing of a test lands in the repository's tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300
SHARED_VALUES = ("backend", "environment")
Json = dict[str, Any]


@dataclass
class Outcome:
    """Of terraform test: which runs did not pass, the messages of assertions that failed, the plans that were made."""

    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    messages: set[tuple[str, str]] = field(default_factory=set)
    plans: dict[str, Json] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        return [] if self.passed and not self.failed and not self.errors else self.errors or ["no run has passed"]


def runs_of(text: str) -> dict[str, str]:
    """The run blocks of a test file as terraform fmt writes them; what stands before them under ''."""
    head, *runs = re.split(r'^(?=run ")', text, flags=re.MULTILINE)
    return {"": head} | {run.split('"')[1]: run for run in runs}


class Tree:
    def __init__(self, folder: Path, mirror: Path) -> None:
        """mirror: where `tools mirror` put a provider and its terraformrc."""
        self.folder, self.infra = folder, folder / "infra"
        shutil.copytree(ROOT / "infra", self.infra, symlinks=True, ignore=shutil.ignore_patterns(".terraform"))
        (self.infra / ".terraform.lock.hcl").unlink(missing_ok=True)  # the real provider's hashes
        for name in ("scripts/infra", "k8s/components/monitoring/rules.yml"):  # which infra/ reads
            (folder / name).parent.mkdir(parents=True)
            shutil.copy(ROOT / name, folder / name)
        unset = ("TF_", "GOOGLE_", "CLOUDSDK_")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
        self.env |= {
            "TF_CLI_CONFIG_FILE": str(mirror / "terraformrc"),
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_ARGS": "-no-color",
        }

    def folders(self) -> list[str]:
        """Of all modules and layers."""
        found = (path.parent for kind in ("modules", "layers") for path in self.infra.glob(f"{kind}/*/main.tf"))
        return sorted(str(path.relative_to(self.infra)) for path in found)

    def environments(self) -> list[str]:
        return sorted(path.name for path in (self.infra / "environments").iterdir())

    def command(self, *words: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.infra,
            env=self.env | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def terraform(self, folder: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.command("terraform", f"-chdir={folder}", *words)

    def init(self, folder: str) -> list[str]:
        if (self.infra / folder / ".terraform").exists():
            return []
        result = self.terraform(folder, "init", "-backend=false", "-input=false")
        return [] if result.returncode == 0 else [result.stdout]

    def values(self, layer: str, environment: str) -> list[str]:
        """The options that give a layer an environment's values; as scripts/infra does it."""
        files = (f"environments/{environment}/{name}.tfvars" for name in (*SHARED_VALUES, layer))
        return [f"-var-file=../../{name}" for name in files if (self.infra / name).exists()]

    def test(self, folder: str, options: Sequence[str] = (), only: str | None = None, verbose: bool = False) -> Outcome:
        """only: one of the runs, alone."""
        outcome = Outcome(errors=self.init(folder))
        if outcome.errors:
            return outcome
        words = ["test", "-json", *options, *(["-verbose"] if verbose else [])]
        if only is not None:
            (source,) = (self.infra / folder / "tests").glob("[!_]*.tftest.hcl")
            runs = runs_of(source.read_text())
            (source.parent / "_only.tftest.hcl").write_text(runs[""] + runs[only])
            words.append("-filter=tests/_only.tftest.hcl")
        try:
            read(self.terraform(folder, *words).stdout, outcome)
        finally:
            (self.infra / folder / "tests/_only.tftest.hcl").unlink(missing_ok=True)
        return outcome


def read(lines: str, outcome: Outcome) -> None:
    """What terraform test -json prints."""
    for line in lines.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            outcome.errors.append(line)
            continue
        run = event.get("@testrun", "")
        if event["type"] == "test_run" and event["test_run"].get("progress") == "complete":
            (outcome.passed if event["test_run"]["status"] == "pass" else outcome.failed).add(run)
        elif event["type"] == "test_plan":
            outcome.plans[run] = {key: event["test_plan"].get(key) for key in ("resource_changes", "output_changes")}
        elif event["type"] == "diagnostic" and event["diagnostic"]["severity"] == "error":
            problem = event["diagnostic"]
            outcome.messages.add((run, problem.get("detail", "")))
            outcome.errors.append(f"{run}: {problem['summary']}: {problem.get('detail', '')}")
