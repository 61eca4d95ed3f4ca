"""suite -- checks, in the order in which they are registered, and what they share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster import Cluster, Failure, Skip, expect, say, warn
from load_pod import Invalid, LoadPod, Report, Run, expect_clean
from system import ALL, PARTS, Part, System


@dataclass
class E2E:
    """What every check gets."""

    cluster: Cluster
    system: System
    load: LoadPod
    folder: Path
    full: bool
    kill_node: str  # command that takes a node's name and cuts its power; "" for none
    start_node: str  # command that gives it back
    image: str = ""  # of the load generator
    part: Part = ALL  # what a check concerns
    names: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    @property
    def rounds(self) -> int:
        return 3 if self.full else 1

    def concerned(self, apps: Iterable[str]) -> list[str]:
        """Those of the part that the check concerns; without any there is nothing to check."""
        found = [app for app in apps if app in self.part.services]
        if not found:
            raise Skip("nothing of it is concerned")
        return found

    @contextlib.contextmanager
    def under_load(self, name: str, **options: object) -> Iterator[Run]:
        """Load before, during and after what is done in the context; on the part that the check concerns."""
        options = {"only": self.part.requests} | options
        with self.load.run(f"{name}-{next(self.names)}", **options) as run:
            run.hold(4)
            yield run
            run.hold(6)

    def undisturbed(self, name: str, action: Callable[[], object], **options: object) -> str:
        """Nothing fails and nothing is lost while something is done."""
        with self.under_load(name, **options) as run:
            action()
        expect_clean(run.stop())
        self.load.nothing_lost(run.journal)
        return str(run.report)


@dataclass(frozen=True)
class Check:
    name: str
    about: str
    function: Callable[[E2E], str]
    by_part: bool
    by_name: bool


CHECKS: list[Check] = []


def check(
    about: str, by_part: bool = False, by_name: bool = False
) -> Callable[[Callable[[E2E], str]], Callable[[E2E], str]]:
    """Registers a check: a function that returns what it measured, and fails with Failure. Its name is the function's.

    by_part: a full run makes it of each part in turn, which has the whole load to itself; otherwise of all at once.
    by_name: it takes long, and is made only where its name is given."""

    def register(function: Callable[[E2E], str]) -> Callable[[E2E], str]:
        CHECKS.append(Check(function.__name__.replace("_", "-"), about, function, by_part, by_name))
        return function

    return register


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    invalid: int = 0


def run_check(e2e: E2E, one: Check, count: Count) -> None:
    for part in PARTS if e2e.full and one.by_part else [ALL]:
        e2e.part = part
        about = f"{one.about}: {part.name}" if part.name else one.about
        run_once(e2e, one, about, count)


def run_once(e2e: E2E, one: Check, about: str, count: Count) -> None:
    """A line for it. A run that says nothing, because the generator was too slow, is repeated once."""
    for attempt in (1, 2):
        began = time.monotonic()
        try:
            detail = one.function(e2e)
        except Skip as why:
            print(f"left out       {about}: {why}", flush=True)
            return
        except Invalid as why:
            print(f"invalid {time.monotonic() - began:6.1f} s  {about}: {why}", flush=True)
            count.invalid += attempt == 2
            continue
        except (Failure, AssertionError, OSError, LookupError, ValueError) as error:
            print(f"FAILED {time.monotonic() - began:6.1f} s  {about}: {type(error).__name__} {error}", flush=True)
            warn(f"---- {one.name}: what there is to see\n{e2e.cluster.diagnosis()}\n----")
            count.failed += 1
            return
        print(f"ok     {time.monotonic() - began:6.1f} s  {about}{': ' + detail if detail else ''}", flush=True)
        count.passed += 1
        return


__all__ = ["CHECKS", "E2E", "Check", "Count", "Failure", "Report", "Skip", "check", "expect", "run_check", "say"]
