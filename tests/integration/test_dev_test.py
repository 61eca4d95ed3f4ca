"""./dev test: its options, and how steps, groups and skips are counted."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import ROOT

SCRIPT = ROOT / "scripts/test"


def dev_test(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["lint", "nonsense"], "no such group: nonsense"),
        (["--quick", "lint"], "unrecognized arguments: --quick"),
        (["--h2o"], "expected one argument"),
        (["--h2o", "/usr", "lint"], "--h2o is for the groups current*"),
        (["--h2o", "/nowhere", "current"], "has no include/h2o.h or no lib/libh2o-evloop.a"),
    ],
)
def test_a_wrong_argument_runs_nothing(args: list[str], said: str) -> None:
    done = dev_test(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_all_groups_are_listed_with_what_they_do() -> None:
    script = runpy.run_path(str(SCRIPT))
    rows = [line.split(None, 1) for line in dev_test("--list").stdout.splitlines() if line.startswith("  ")]
    groups = {name: what for name, what in rows}
    assert groups.keys() == {step.group for step in script["steps"]()} | {"full"}
    assert all(len(what) > 10 for what in groups.values())
    assert dev_test("--help").stdout.count("torture-long") == 1


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def run(script: dict[str, Any], *steps: dict[str, Any]) -> Any:
    done = script["Run"]()
    done.run([script["Step"](**step) for step in steps])
    return done


def test_what_needs_a_skipped_step_is_skipped(script: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    made = {"group": "a", "name": "make", "command": "echo because of sid; exit 75"}
    use = {"group": "b", "name": "use", "command": "true", "needs": ("make",)}
    after = {"group": "b", "name": "after", "command": "true", "needs": ("use",)}
    other = {"group": "c", "name": "other", "command": "true"}
    done = run(script, made | {"may_skip": True}, use, after, other)
    assert str(done.total) == "1 passed, 0 failed, 3 skipped"
    assert "because of sid" in capfd.readouterr().out
    assert str(run(script, made, use, after, other).total) == "1 passed, 3 failed"  # another step's 75 is a failure


def test_what_needs_a_failed_step_fails(script: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    build = {"group": "a", "name": "build", "command": "echo the compiler says; exit 1", "may_skip": True}
    use = {"group": "a", "name": "use", "command": "true", "needs": ("build",)}
    assert str(run(script, build, use).total) == "0 passed, 2 failed"
    assert "the compiler says" in capfd.readouterr().out


def test_a_groups_time_is_the_sum_of_its_steps(script: dict[str, Any]) -> None:
    steps = [{"group": "a", "name": name, "command": "true"} for name in ("one", "two")]
    done = run(script, *steps, {"group": "b", "name": "three", "command": "true"})
    assert done.seconds.keys() == {"a", "b"} and all(seconds > 0 for seconds in done.seconds.values())


def test_groups_bring_the_steps_that_they_need(script: dict[str, Any]) -> None:
    names = [step.name for step in script["chosen"](["current-thread"], None)]
    assert names[0] == "current: chroot" and len({name.split(":")[0] for name in names}) == 2
    plain = {step.group for step in script["chosen"](list(script["GROUPS"]), None)}
    assert plain == script["GROUPS"].keys()


def test_an_h2o_that_is_given_is_taken_by_every_configuration(script: dict[str, Any]) -> None:
    groups = [name for name in (*script["GROUPS"], *script["LONG_GROUPS"]) if name.startswith("current")]
    builds = [step for step in script["chosen"](groups, Path("/opt/some")) if ": build " in step.name]
    assert len(builds) == len(groups) == 4
    assert all("--h2o /opt/some " in step.command and "-Dh2o_prefix=/opt/h2o " in step.command for step in builds)
