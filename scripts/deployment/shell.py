"""shell -- programs run to their end within a time, and what is said meanwhile."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]
T = TypeVar("T")


class Failure(Exception):
    """What is wrong, for people."""


def say(text: str) -> None:
    print(text, flush=True)


def need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Failure(f"not without {', '.join(missing)}")


def run(*command: str | Path, stdin: str | None = None, timeout: float = 120, ok: tuple[int, ...] = (0,),
        env: dict[str, str] | None = None) -> str:  # fmt: skip
    """What the program prints; its errors are the Failure's text."""
    try:
        done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=timeout,
                              check=False, env=os.environ | (env or {}))  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{' '.join(map(str, command[:3]))}: not done after {timeout:.0f} s") from error
    if done.returncode not in ok:
        said = (done.stderr or done.stdout).strip()
        raise Failure(f"{' '.join(map(str, command[:3]))}: status {done.returncode}\n{said[-3000:]}")
    return done.stdout


def wait(what: str, condition: Callable[[], T], timeout: float, pause: float = 1) -> T:
    """The first answer of condition that is true."""
    deadline = time.monotonic() + timeout
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            raise Failure(f"not within {timeout:.0f} s: {what}")
        time.sleep(pause)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """What takes back is not to be interrupted, nor are the programs that it runs."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
