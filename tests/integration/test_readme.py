"""What README.md says is so: its commands are run as they stand, and must print what stands below them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness import BUILD, ROOT, START_S, STOP_S
from system import PLACES, DataFolder, Place, service_names

README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(
    r"```sh\n(.*?)```\n```text\n(.*?)```", README.split("## Things to try")[1].split("\n## ")[0], re.DOTALL
)
SYSTEM_S = 3 * START_S


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """A system of its own, on free ports."""
    folder = tmp_path_factory.mktemp("readme")
    data = DataFolder(folder / "data")
    command = [ROOT / "scripts/up", "--ports", "auto", "--data", data.path, "--build", BUILD]
    with open(folder / "log", "wb") as log:
        up = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield harness.until(data.running, SYSTEM_S)
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(STOP_S) == 0


def where_it_runs(command: str, system: dict[str, dict[str, str]]) -> str:
    """The command with the ports of this system in place of the usual ones, and this build in place of build/."""
    for name, addresses in system.items():
        place = PLACES.get(name, Place())
        command = command.replace(f"127.0.0.1:{place.port}", addresses.get("grpc") or addresses["http"])
        command = command.replace(f"127.0.0.1:{place.admin}", addresses["admin"])
    return re.sub(r"^build/", f"{BUILD}/", command)


def pattern(expected: str) -> str:
    return re.escape(expected.rstrip("\n")).replace(r"\.\.\.", ".+?")


def test_all_examples_in_order(system: dict[str, dict[str, str]]) -> None:
    assert len(EXAMPLES) >= 5
    for command, expected in EXAMPLES:
        result = subprocess.run(
            ["sh", "-c", where_it_runs(command, system)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        assert result.returncode == 0, f"{command}{result.stderr}"
        assert re.fullmatch(pattern(expected), result.stdout.rstrip("\n")), f"{command}{result.stdout}"


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link).exists(), link


def test_commands_of_the_table_are_recipes() -> None:
    recipes = set(re.findall(r"^([a-z-]+)[^:\n]*:(?!=)", (ROOT / "Justfile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^\| `\./dev ([a-z-]+)", README, re.MULTILINE))
    assert named
    assert named <= recipes


def test_the_page_of_commands_lists_all_recipes() -> None:
    """With the summaries that ./dev prints."""
    printed = subprocess.run([ROOT / "dev"], capture_output=True, text=True, check=True, timeout=START_S).stdout
    listed = re.findall(r"^  ([a-z][a-z0-9-]*) +(.+)$", printed, re.MULTILINE)
    page = (ROOT / "docs/commands.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) > 40
    assert sorted((name, text.replace("\\|", "|")) for name, text in rows) == sorted(listed)


def test_recipes_run_programs_that_are_there() -> None:
    files = [ROOT / "Justfile", *ROOT.glob("*/*.just"), *ROOT.glob("tests/*/*.just")]
    named = {
        name for file in files for name in re.findall(r"(?<![\w/.-])(?:scripts|nix|tests)/[\w./-]+", file.read_text())
    }
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.skipif(BUILD != ROOT / "build", reason="./dev builds into build/, which other steps may be writing")
def test_dev_up_as_the_quick_start_says(tmp_path: Path) -> None:
    """Only the ports and the data folder differ. From another folder, without a terminal."""
    assert "```sh\ngit clone REPOSITORY slipway && cd slipway\n./dev up\n```" in README
    data = DataFolder(tmp_path / "data")
    with open(tmp_path / "out", "wb") as out:
        up = subprocess.Popen(
            [ROOT / "dev", "up", "--ports", "auto", "--data", "data"],
            cwd=tmp_path,
            env=os.environ | {"CI": "true"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        harness.until(lambda: data.running() or up.poll() is not None, SYSTEM_S)
        assert set(service_names()) <= set(data.running() or {}), (tmp_path / "out").read_text()
    finally:
        os.killpg(up.pid, signal.SIGINT)  # as Ctrl-C does
        assert up.wait(STOP_S) == 0, (tmp_path / "out").read_text()
