"""community -- files that GitHub, editors and pre-commit read: that what they name is there. With a mistake for each check."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from checks import ROOT

IMAGE = re.compile(r"debian:12@sha256:[0-9a-f]{64}")
OWNER = re.compile(r"@[\w-]+(/[\w-]+)?")
FIELDS = {"checkboxes", "dropdown", "input", "markdown", "textarea"}
FILES = (
    ".devcontainer/devcontainer.json",
    ".github/CODEOWNERS",
    ".github/ISSUE_TEMPLATE",
    ".github/pull_request_template.md",
    ".pre-commit-config.yaml",
    ".vscode",
)


def devcontainer(root: Path) -> Iterator[str]:
    """The container for development is that of the CI, by digest."""
    text = (root / ".devcontainer/devcontainer.json").read_text()
    said = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    ours = set(IMAGE.findall((ROOT / ".github/workflows/check.yaml").read_text()))
    if {said["image"]} != ours:
        yield f"devcontainer: {said['image']}, the CI has {ours}"


def owners(root: Path) -> Iterator[str]:
    for line in (root / ".github/CODEOWNERS").read_text().splitlines():
        if line.startswith("#"):
            continue
        pattern, *names = line.split()
        if pattern != "*" and not (ROOT / pattern.strip("/")).exists():
            yield f"CODEOWNERS: {pattern} is not there"
        yield from (f"CODEOWNERS: {name}" for name in names or ["nobody"] if not OWNER.fullmatch(name))


def forms(root: Path) -> Iterator[str]:
    """As GitHub wants the forms of issues: it shows none that is wrong."""
    folder = root / ".github/ISSUE_TEMPLATE"
    for path in sorted(folder.glob("*.yml")):
        form = yaml.safe_load(path.read_text())
        if path.name == "config.yml":
            yield from (
                f"{path.name}: {link}" for link in form["contact_links"] if set(link) != {"name", "url", "about"}
            )
            continue
        if not {"name", "description", "body"} <= set(form):
            yield f"{path.name}: lacks name, description or body"
        ids = [field.get("id") for field in form.get("body", [])]
        yield from (f"{path.name}: id {name}" for name in set(ids) if name is None or ids.count(name) > 1)
        for field in form.get("body", []):
            if field["type"] not in FIELDS or "label" not in field["attributes"]:
                yield f"{path.name}: {field}"


def links(root: Path) -> Iterator[str]:
    path = root / ".github/pull_request_template.md"
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not (ROOT / ".github" / target).exists():
            yield f"{path.name}: {target}"


def hooks(root: Path) -> Iterator[str]:
    """pre-commit runs recipes, with options that they take, and nothing of other repositories."""
    said = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())
    yield from (f"pre-commit: {one['repo']}" for one in said["repos"] if one["repo"] != "local")
    for hook in (hook for one in said["repos"] for hook in one["hooks"]):
        program, recipe, *options = hook["entry"].split()
        done = subprocess.run([ROOT / "dev", recipe, "--help"], capture_output=True, text=True, check=False)
        if program != "./dev" or done.returncode:
            yield f"pre-commit: {hook['entry']}"
        yield from (f"pre-commit: {recipe} has no {name}" for name in options if f"  {name} " not in done.stdout)


def editors(root: Path) -> Iterator[str]:
    """Programs to debug are those of the build, and what they are given is there."""
    for path in sorted((root / ".vscode").glob("*.json")):
        json.loads(path.read_text())
    text = (root / ".vscode/launch.json").read_text()
    for name in re.findall(r"\$\{workspaceFolder\}/([\w./-]+)", text):
        if not name.startswith("build/") and not (ROOT / name).exists():
            yield f"launch.json: {name}"
    inputs = set(re.findall(r"\$\{input:(\w+)\}", text))
    for wanted in sorted(inputs ^ {one["id"] for one in json.loads(text)["inputs"]}):
        yield f"launch.json: input {wanted}"
    for one in json.loads(text)["inputs"]:
        if not (ROOT / "src" / one["default"] / "main.c").exists():
            yield f"launch.json: {one['default']}"


Rule = Callable[[Path], Iterator[str]]
RULES: tuple[Rule, ...] = (devcontainer, owners, forms, links, hooks, editors)
MISTAKES: tuple[tuple[Rule, str, str, str], ...] = (
    (devcontainer, ".devcontainer/devcontainer.json", "@sha256:8", "@sha256:9"),
    (owners, ".github/CODEOWNERS", "/infra/ ", "/infrastructure/ "),
    (owners, ".github/CODEOWNERS", "@slipway-example/maintainers\n", "maintainers\n"),
    (forms, ".github/ISSUE_TEMPLATE/bug.yml", "id: reproduce", "id: happened"),
    (forms, ".github/ISSUE_TEMPLATE/bug.yml", "type: input", "type: text"),
    (forms, ".github/ISSUE_TEMPLATE/config.yml", "about:", "text:"),
    (links, ".github/pull_request_template.md", "compatibility.md", "compatible.md"),
    (hooks, ".pre-commit-config.yaml", "./dev check", "./dev chekc"),
    (hooks, ".pre-commit-config.yaml", "fmt --check", "fmt --chek"),
    (hooks, ".pre-commit-config.yaml", "repo: local", "repo: https://example.org/hooks"),
    (editors, ".vscode/launch.json", "features.json", "feature.json"),
    (editors, ".vscode/launch.json", "${input:service}", "${input:services}"),
)


def found(folder: Path) -> Iterator[str]:
    """That each mistake is found, in copies of the files."""
    for i, (rule, name, right, wrong) in enumerate(MISTAKES):
        root = folder / str(i)
        for each in FILES:
            (root / each).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / each).is_dir() else shutil.copy)(ROOT / each, root / each)
        text = (root / name).read_text()
        (root / name).write_text(text.replace(right, wrong))
        if right not in text or not list(rule(root)):
            yield f"{rule.__name__}: does not see {wrong!r} in {name}"
    yield from (f"{rule.__name__}: no mistake tries it" for rule in set(RULES) - {mistake[0] for mistake in MISTAKES})
