"""recipes -- what ./dev knows of its recipes: what it refuses, what it explains, and what it installs for each."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from checks import ROOT
from tree import COMMAND_S, DEV, WHEEL, Tree, programs_without, wheel

# What no recipe but those for tests may bring: 1.4 GB of packages, modules and programs.
LARGE = {"golang-go", "clang", "llvm", "nix-bin", "mmdebstrap"}
NOBODY = 65534


def listed() -> list[str]:
    said = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  ([a-z][a-z0-9-]*) ", said, re.MULTILINE)


def fields(recipe: str) -> dict[str, str]:
    text = (ROOT / "scripts/recipes").read_text()
    head = re.findall(rf"^== {recipe}\n((?:.+\n)+)\n", text, re.MULTILINE)
    return dict(re.findall(r"^([a-z]+): *(.*)$", head[0], re.MULTILINE)) if head else {}


def bare_path(folder: Path, *without: str) -> Path:
    """A folder with links to all programs of this machine but some, and but those that install anything: these leave a
    file called installed."""
    programs = programs_without(folder, "nix", "sudo", *without)
    for name in ("apt-get", "pip", "just", "meson", "ninja"):
        program(programs / name, f'echo {name} "$@" >>{folder}/installed; exit 1')
    return programs


def program(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def installed(folder: Path) -> list[str]:
    record = folder / "installed"
    lines = record.read_text().splitlines() if record.exists() else []
    record.unlink(missing_ok=True)
    return lines


def all_are_described(folder: Path) -> Iterator[str]:
    just = subprocess.run(["just", "--summary"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    groups = {
        line.split()[0] for line in (ROOT / "scripts/packages.debian").read_text().splitlines() if line[:1] != "#"
    }
    tools = set(re.findall(r"^([a-z][a-z-]+) +\S+(?: \S+)?$", (ROOT / "scripts/tools").read_text(), re.MULTILINE))
    tools |= {"etcd", "otelcol"}
    yield from (f"./dev lists {name}, or just does" for name in sorted(set(listed()) ^ set(just)))
    for recipe in just:
        known = fields(recipe)
        yield from (f"scripts/recipes: {recipe} has no {name}" for name in ("packages", "usage") if name not in known)
        yield from (f"{recipe}: no group {name}" for name in known.get("packages", "").split() if name not in groups)
        wanted = set(known.get("tools", "").split()) - {"all"}
        yield from (f"{recipe}: no tool {name}" for name in sorted(wanted - tools))
        parts = dict(part.split("=") for part in known.get("parts", "").split())
        yield from (
            f"{recipe}: no argument {name}" for name in sorted(set(parts) - set(known.get("names", "").split()))
        )
        yield from (f"{recipe}: no recipe {name}" for name in sorted(set(parts.values()) - set(just)))
    sections = re.findall(r"^== (\S+)$", (ROOT / "scripts/recipes").read_text(), re.MULTILINE)
    yield from (f"scripts/recipes: there is no recipe {name}" for name in sorted(set(sections) - set(just)))


# Recipes and the commands that say which options they take.
OPTIONS = {
    "up": ["scripts/up"],
    "tour": ["scripts/tour"],
    "test": ["scripts/test"],
    "torture": ["scripts/torture"],
    "sim": ["scripts/sim"],
    "fuzz": ["scripts/fuzz"],
    "attack": ["tests/attack/run"],
    "bench": ["tests/bench/peers/run"],
    "symbolize": ["scripts/symbolize"],
    "logs": ["scripts/logs"],
    "new-service": ["scripts/new-service"],
    "images": ["nix/images", "list"],
    "push-image": ["nix/images", "push"],
    "verify-image": ["nix/images", "verify"],
    "bench-images": ["tests/bench/images"],
    "deploy-gke": ["scripts/deploy", "run"],
    "promote": ["scripts/deploy", "promote"],
    "canary": ["scripts/deploy", "canary"],
    "render": ["scripts/deploy", "render"],
    "drift": ["scripts/deploy", "drift"],
    "rollback": ["scripts/deploy", "rollback"],
    "releases": ["scripts/deploy", "list"],
    "e2e": ["tests/e2e/run"],
    "drill": ["scripts/drill"],
}


def options_are_those_of_the_scripts(folder: Path) -> Iterator[str]:
    said = subprocess.run([ROOT / "scripts/test", "--list"], capture_output=True, text=True, check=True).stdout
    groups = set(re.findall(r"^  (\S+) ", said, re.MULTILINE))
    yield from (f"test: group {name}" for name in sorted(groups ^ set(fields("test")["names"].split())))
    for recipe, (script, *words) in OPTIONS.items():
        said = subprocess.run([ROOT / script, *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
        takes = set(re.findall(r"^ +(?:-h, )?(--[a-z0-9][a-z0-9-]*)", said.stdout, re.MULTILINE)) - {"--help"}
        # One for each service is described once.
        takes = {re.sub(r"^--((?:grpc-|admin-)?port)-.*", r"--\1-SERVICE", option) for option in takes}
        text = subprocess.run([ROOT / "dev", recipe, "--help"], capture_output=True, text=True, check=True).stdout
        told = set(re.findall(r"^  (--[a-z0-9][A-Za-z0-9-]*)", text, re.MULTILINE))
        shared = fields(recipe).get("options")
        if takes - told or (not shared and told - takes):
            yield f"{recipe}: takes {sorted(takes - told)}, which --help does not name; names {sorted(told - takes)}"


REFUSED = [
    (["nosuch"], "there is no recipe nosuch"),
    (["--nosuch"], "there is no option --nosuch"),
    (["up", "--prots", "auto"], "up has no option --prots"),
    (["up", "--ports"], "up: --ports needs a value"),
    (["up", "--no-watch=yes"], "up: --no-watch takes no value"),
    (["up", "--ports=both"], "up: --ports is default or auto, not both"),
    (["up", "--port-notes", "x"], "up: --port-notes needs a number, not x"),
    (["up", "--grpc-port-nope", "1"], "up: --grpc-port-nope: there is no service nope"),
    (["new-service", "quote", "--calls", "nope"], "new-service: --calls: there is no service nope"),
    (["torture", "--engine", "lmbd"], "torture: --engine is lmdb or etcd, not lmbd"),
    (["sim", "--seeds", "many"], "sim: --seeds needs a number, not many"),
    (["up", "notes"], "usage: ./dev up [OPTION...]"),
    (["scale", "users"], "usage: ./dev scale SERVICE PODS"),
    (["scale", "users", "2", "3"], "usage: ./dev scale SERVICE PODS"),
    (["promote", "stage", "prod", "--sourcekey", "x"], "promote has no option --sourcekey"),
    (["fmt", "src"], "usage: ./dev fmt"),
    (["test", "debug", "lnit"], "test: lnit is none of: debug "),
]


def wrong_words_are_refused(folder: Path) -> Iterator[str]:
    """With no program of ours, no Python and no just: nothing may be wanted for it."""
    tree = Tree(folder, *DEV, "src/notes/service.toml")
    tree.env["PATH"] = str(bare_path(folder, "python3"))
    for words, said in REFUSED:
        done = tree.run(tree.root / "dev", *words)
        if done.returncode != 2 or done.stdout or done.stderr.count("\n") != 1 or said not in done.stderr:
            yield f"{' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}"
    yield from (f"ran {line}" for line in installed(folder))
    if tree.cache.exists():
        yield f"made {tree.cache}"
    # What is right goes on: to the packages that are missing.
    for words in (
        ["up", "--ports", "auto", "--port-notes=1"],
        ["promote", "stage", "prod", "--sign-key", "-"],
        ["unit", "--verbose"],
    ):
        done = tree.run(tree.root / "dev", *words, DPKG_ADMINDIR=folder)
        if done.returncode == 2 or not installed(folder):
            yield f"{' '.join(words)} is refused: {done.stderr}"


def help_needs_nothing(folder: Path) -> Iterator[str]:
    tree = Tree(folder, *DEV)
    tree.env["PATH"] = str(bare_path(folder, "python3"))
    others = [["fmt", "-h"], ["fmt", "x", "--help"], ["unit", "--verbose", "--help"]]
    for words in [*([recipe, "--help"] for recipe in listed()), *others]:
        recipe = words[0]
        done = tree.run(tree.root / "dev", *words)
        begin = rf"\./dev {recipe} -- \S.*\n\nusage: \./dev {recipe} .*\n\n\S(?s:.*)\nExamples:\n  .*\./dev {recipe}\b"
        if done.returncode or not re.match(begin, done.stdout):
            yield f"{' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}"
    yield from (f"ran {line}" for line in installed(folder))
    if tree.cache.exists():
        yield f"made {tree.cache}"


def wanted_packages(tree: Tree, recipe: str, *words: str) -> set[str]:
    """That dev would install on a machine that has none."""
    for line in installed_by(tree, recipe, *words):
        if " install " in line:
            return {word for word in line.split() if not word.startswith("-")} - {"apt-get", "install"}
    return set()


def installed_by(tree: Tree, recipe: str, *words: str) -> list[str]:
    folder = Path(tree.env["PATH"]).parent
    program(
        folder / "bin/apt-get", f'echo apt-get "$@" >>{folder}/installed; case " $* " in *" install "*) exit 1 ;; esac'
    )
    program(folder / "bin/apt-cache", 'echo "  Candidate: 2.2.5"')
    tree.run(tree.root / "dev", recipe, *words, DPKG_ADMINDIR=folder)
    return installed(folder)


def packages_are_those_of_the_recipe(folder: Path) -> Iterator[str]:
    tree = Tree(folder, *DEV)
    tree.env["PATH"] = str(bare_path(folder, "go", "npm"))
    base = {"python3", "python3-venv"}
    if (found := wanted_packages(tree, "status")) != base:
        yield f"status: {sorted(found)}"
    if (found := wanted_packages(tree, "fmt")) != base | {"clang-format"}:
        yield f"fmt: {sorted(found)}"
    up = wanted_packages(tree, "up")
    if not {"gcc", "libh2o-evloop-dev"} <= up or up & (LARGE | {"libcriterion-dev"}):
        yield f"up: {sorted(up)}"
    if (found := wanted_packages(tree, "unit")) != up | {"libcriterion-dev"}:
        yield f"unit: {sorted(found)}"
    every = {
        name
        for line in (ROOT / "scripts/packages.debian").read_text().splitlines()
        if line[:1] != "#"
        for name in line.split()[1:]
    }
    if (found := wanted_packages(tree, "test")) != every:
        yield f"test: not {sorted(every - found)}"
    # A group of tests needs what the recipe needs that does the same.
    for words, recipe in (
        (("debug",), "integration"),
        (("lint",), "lint"),
        (("debug", "address"), "sanitize"),
        (("debug", "full"), "test"),
    ):
        if (found := wanted_packages(tree, "test", *words)) ^ (wanted := wanted_packages(tree, recipe)):
            yield f"test {' '.join(words)}: {sorted(found ^ wanted)} in one of test and {recipe} alone"


def tools_are_those_of_the_recipe(folder: Path) -> Iterator[str]:
    """With all packages, a recorder in place of scripts/tools, and a package whose just prints what it was called with."""
    tree = Tree(folder, *DEV)
    programs = bare_path(folder)
    program(tree.root / "scripts/tools", f'[ "$1" != --missing ] || echo etcd; echo tools "$@" >>{folder}/installed')
    program(
        programs / "dpkg-query",
        f"sed -n 's/^[a-z][a-z]* //p' {ROOT}/scripts/packages.debian | tr ' ' '\\n' | sed 's/^/installed /; s/$/,/'",
    )
    (folder / "packages").mkdir()
    (tree.root / "scripts/just.txt").write_text(
        f"just-for-test==1 --hash=sha256:{wheel(folder / 'packages' / WHEEL)}\n"
    )
    env = {"PATH": programs, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": folder / "packages"}
    for recipe in ("status", "unit", "build", "clean"):
        done = tree.run(tree.root / "dev", recipe, **env)
        ran = installed(folder)
        if done.returncode or not done.stdout.startswith("just ") or ran:
            yield f"{recipe}: status {done.returncode}, ran {ran}: {done.stderr}"
    tree.run(tree.root / "dev", "backup", "a", "b", **env)
    wanted = [f"tools --missing {tree.cache}/slipway/tools etcd", f"tools {tree.cache}/slipway/tools etcd"]
    if (ran := installed(folder)) != wanted:
        yield f"backup: ran {ran}"


def an_administrator_is_told_what_to_install(folder: Path) -> Iterator[str]:
    """A user without sudo gets the exact list, and no attempt is made."""
    if os.geteuid():
        return
    tree = Tree(folder, *DEV)
    programs = bare_path(folder)
    program(programs / "apt-cache", 'echo "  Candidate: (none)"')
    for path in (folder.parent, folder):
        path.chmod(0o755)
    done = tree.run(
        "setpriv", f"--reuid={NOBODY}", "--clear-groups", tree.root / "dev", "fmt", PATH=programs, DPKG_ADMINDIR=folder
    )
    wanted = "dev:     apt-get install --no-install-recommends clang-format python3 python3-venv"
    if done.returncode != 1 or done.stderr.splitlines() != [
        "dev: an administrator must install the missing packages:",
        wanted,
    ]:
        yield f"status {done.returncode}: {done.stderr}"
    # Where apt has no libh2o, and this is Debian, its source is named before.
    done = tree.run(
        "setpriv", f"--reuid={NOBODY}", "--clear-groups", tree.root / "dev", "up", PATH=programs, DPKG_ADMINDIR=folder
    )
    if (
        "ID=debian" in Path("/etc/os-release").read_text()
        and f"\ndev:     {tree.root}/scripts/debian12-h2o add\ndev:     apt-get" not in done.stderr
    ):
        yield f"status {done.returncode}: {done.stderr}"
    yield from (f"ran {line}" for line in installed(folder))


def other_distributions_get_nix(folder: Path) -> Iterator[str]:
    """In a mount namespace whose /etc/os-release is another's. Its package manager is a program of this test."""
    if os.geteuid() or not Path("/nix/store").is_dir():
        return
    tree = Tree(folder, *DEV, "flake.nix")
    programs = bare_path(folder)
    (folder / "os-release").write_text('ID=arch\nPRETTY_NAME="Arch Linux"\n')
    (programs / "apt-get").unlink()
    (programs / "nix").unlink(missing_ok=True)
    nix = folder / "nix"
    program(nix, f'[ "$1" != --version ] || {{ echo "nix (Nix) 2.30.0"; exit; }}; echo nix "$@" >>{folder}/installed')
    program(programs / "pacman", f'echo pacman "$@" >>{folder}/installed; ln -s {nix} {programs}/nix')
    enter = f"mount --bind {folder}/os-release $(readlink -f /etc/os-release) && exec {tree.root}/dev unit 'a b'"
    command = ["unshare", "--mount", "sh", "-ec", enter]
    asked = tree.run(*command, PATH=programs)
    ran = installed(folder)
    said = ("Arch Linux has no package of libh2o", "Run: pacman -S --needed --noconfirm nix", "SLIPWAY_NIX=yes")
    if asked.returncode != 1 or ran or not all(word in asked.stderr for word in said):
        yield f"without a terminal: status {asked.returncode}, ran {ran}: {asked.stderr}"
    done = tree.run(*command, PATH=programs, SLIPWAY_NIX="yes")
    ran = installed(folder)
    flake = f"develop {tree.root} -c {tree.root}/dev unit a b"
    if done.returncode or len(ran) != 2 or ran[0] != "pacman -S --needed --noconfirm nix" or not ran[1].endswith(flake):
        yield f"status {done.returncode}, ran {ran}: {done.stderr}"
    (programs / "nix").unlink()
    for path in (folder.parent, folder):
        path.chmod(0o755)
    user = enter.replace(f"exec {tree.root}", f"exec setpriv --reuid={NOBODY} --clear-groups {tree.root}")
    done = tree.run("unshare", "--mount", "sh", "-ec", user, PATH=programs)
    if (
        done.returncode != 1
        or "an administrator must run: pacman -S --needed --noconfirm nix" not in done.stderr
        or installed(folder)
    ):
        yield f"without sudo: status {done.returncode}: {done.stderr}"
    (programs / "pacman").unlink()
    done = tree.run(*command, PATH=programs)
    if done.returncode != 1 or "https://nixos.org/download" not in done.stderr:
        yield f"without a package manager: status {done.returncode}: {done.stderr}"


NINJA = """\
rule make
  command = sleep 0.01; touch $out
  description = making $out
rule fail
  command = echo complaint; exit 1
build wrong: fail
"""


def on_a_terminal(command: list[str | Path]) -> str:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        said += data
    os.close(ours)
    child.wait(COMMAND_S)
    return said.decode()


def a_build_shows_progress(folder: Path) -> Iterator[str]:
    steps = [f"f{number}" for number in range(50)]
    rules = "".join(f"build {name}: make\n" for name in steps)
    (folder / "build.ninja").write_text(f"{NINJA}{rules}build every: phony {' '.join(steps)}\n")
    build = ROOT / "scripts/build"
    done = subprocess.run([build, folder, "every"], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    if (
        done.returncode
        or done.stdout
        or not 8 <= len(lines) <= 11
        or not all("/50] making f" in line for line in lines)
    ):
        yield f"status {done.returncode}: {done.stdout}{done.stderr}"
    again = subprocess.run([build, folder, "every"], capture_output=True, text=True, check=False)
    if again.returncode or again.stdout or again.stderr:
        yield f"with nothing to do: {again}"
    failed = subprocess.run([build, folder, "wrong"], capture_output=True, text=True, check=False)
    if not failed.returncode or "complaint" not in failed.stderr:
        yield f"a failure: {failed}"
    for name in steps:
        (folder / name).unlink()
    if "[7/50] making" not in (said := on_a_terminal([build, folder, "every"])):
        yield f"on a terminal: {said}"


def names_are_checked_before_a_build(folder: Path) -> Iterator[str]:
    tree = Tree(folder, "scripts/unit", "scripts/bench", "scripts/find-sources")
    for name, text in (("unit/test_one.c", ""), ("bench/bench_two.c", "/* What two costs: much.\n *\n * more */\n")):
        (tree.root / "tests" / name).parent.mkdir(parents=True)
        (tree.root / "tests" / name).write_text(text)
    for script, known in (("unit", "test_one"), ("bench", "two")):
        done = tree.run(tree.root / f"scripts/{script}", "nosuch")
        if done.returncode != 2 or "nosuch" not in done.stderr or known not in done.stderr:
            yield f"{script} nosuch: status {done.returncode}: {done.stderr}"
    done = tree.run(tree.root / "scripts/bench")
    listed = [
        "  two          What two costs",
        "  peers rpc    The gRPC server beside tonic and grpc-go",
        "  peers http   The service demo beside h2o alone, Go net/http and axum",
        "  peers save   What a save costs route-guide and feature-store",
    ]
    if done.returncode or done.stdout.splitlines() != listed:
        yield f"bench: status {done.returncode}: {done.stdout}{done.stderr}"
    for script, name in (("unit", "test_o*"), ("bench", "two")):  # goes on to configure, which is not there
        done = tree.run(tree.root / f"scripts/{script}", name)
        if done.returncode != 127 or "scripts/configure" not in done.stderr:
            yield f"{script} {name}: status {done.returncode}: {done.stderr}"


def macos_builds_no_services(folder: Path) -> Iterator[str]:
    """There a recipe that builds services is refused before anything is installed; others go on to Nix."""
    tree = Tree(folder, *DEV)
    programs = bare_path(folder)
    program(programs / "uname", "echo Darwin")
    tree.env["PATH"] = str(programs)
    for recipe in ("up", "unit", "test"):
        done = tree.run(tree.root / "dev", recipe)
        if done.returncode != 2 or "docs/mac.md" not in done.stderr or installed(folder):
            yield f"{recipe}: status {done.returncode}: {done.stdout}{done.stderr}"
    (tree.root / "flake.nix").touch()
    program(programs / "nix", """[ "$1" = --version ] && echo "nix (Nix) $version" || echo "nix $*" >>"$record" """)
    program(programs / "id", "echo 501")
    program(programs / "dpkg-query", "")  # without Nix, packages are missing that nobody here may install
    for version, goes_on in (("2.9.1", False), ("2.18.0", True), ("2.24.9", True), ("3.0.1", True), ("1.99", False)):
        record = folder / f"nix-{version}"
        done = tree.run(tree.root / "dev", "status", version=version, record=record)
        usable = record.exists() and "develop" in record.read_text()
        if usable != (goes_on and Path("/nix/store").exists()):
            yield f"Nix {version}: status {done.returncode}: {done.stdout}{done.stderr}"


def formatting_is_checked(folder: Path) -> Iterator[str]:
    """fmt --check fails for what fmt would change, changes nothing, and passes after fmt."""
    tree = Tree(folder, "scripts/fmt", "scripts/find-sources", ".clang-format", "ruff.toml")
    for name in (*("docs", "infra", "k8s", "nix", "src", "tests", "scripts/templates"), ".ci"):
        (tree.root / name).mkdir()
    untidy = {"src/a.c": "int  a ;\n", "tests/a.py": "a  = 1\n"}
    for name, text in untidy.items():
        (tree.root / name).write_text(text)
        if tree.run("scripts/fmt", "--check").returncode == 0:
            yield f"{name}: passes"
        if (tree.root / name).read_text() != text:
            yield f"{name}: --check has changed it"
        done = tree.run("scripts/fmt")
        if done.returncode or (tree.root / name).read_text() == text:
            yield f"{name}: is not formatted: {done.stderr}"
        done = tree.run("scripts/fmt", "--check")
        if done.returncode:
            yield f"{name}: fails after fmt: {done.stdout}{done.stderr}"


CHECKS: dict[str, Callable[[Path], Iterator[str]]] = {
    "every recipe is described, and what is described is there": all_are_described,
    "the options of a recipe are those of its script": options_are_those_of_the_scripts,
    "unknown recipes, options and arguments are refused before anything is installed": wrong_words_are_refused,
    "--help of every recipe needs nothing": help_needs_nothing,
    "packages are those that the recipe needs": packages_are_those_of_the_recipe,
    "tools are those that the recipe needs": tools_are_those_of_the_recipe,
    "without sudo it is said what an administrator must install": an_administrator_is_told_what_to_install,
    "other distributions are offered Nix from their packages": other_distributions_get_nix,
    "a build shows progress": a_build_shows_progress,
    "names of unit tests and benchmarks are checked before a build": names_are_checked_before_a_build,
    "macOS builds no services": macos_builds_no_services,
    "what is not formatted is found": formatting_is_checked,
}
