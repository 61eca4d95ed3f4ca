"""The inner loop: skaffold dev on a copy of the tree, from an edit to a new pod that is ready."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from checks import copy_tree

from check_reach import http
from cluster import KUBECTL, command, wait
from suite import E2E, check, expect
from system import QUIET, SERVICES

QUIET_S = 12  # in which an edit that concerns nothing does nothing


def copy(folder: Path) -> Path:
    """The tree as a repository of its own, where edits hurt nobody."""
    tree = folder / "tree"
    copy_tree(tree)
    identity = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"]
    for args in (["init", "-q"], ["add", "--all"], [*identity, "commit", "-q", "-m", "A tree"]):
        command("git", *args, cwd=tree)
    return tree


@contextlib.contextmanager
def developing(e2e: E2E, tree: Path) -> Iterator[Path]:
    """skaffold dev runs, and watches; its log."""
    log = e2e.folder / "dev.log"
    dev = e2e.system.skaffold_command("dev", "--cleanup=false", "--port-forward=off", "--tail=false")
    env = {**os.environ, **QUIET}
    with log.open("w") as out, subprocess.Popen(dev, cwd=tree, env=env, stdout=out, stderr=out) as process:
        try:
            wait("skaffold dev watches", lambda: said(log, "Watching for changes") or process.poll() is not None, 300)
            expect(process.poll() is None, log.read_text()[-2000:])
            yield log
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def said(log: Path, text: str) -> int:
    return len(re.findall(re.escape(text), log.read_text()))


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@contextlib.contextmanager
def watching(e2e: E2E) -> Iterator[dict[str, tuple[str, float]]]:
    """When each pod was first seen ready: {uid: (app, when)}. Told by the API server: to ask it again and again would
    slow down what is measured."""
    columns = (
        r'{.metadata.uid}{"|"}{.metadata.labels.app\.kubernetes\.io/name}{"|"}'
        r'{.status.conditions[?(@.type=="Ready")].status}{"\n"}'
    )
    seen: dict[str, tuple[str, float]] = {}

    def read() -> None:
        for line in process.stdout:
            uid, app, ready = line.rstrip("\n").split("|")
            if ready == "True":
                seen.setdefault(uid, (app, time.monotonic()))

    watch = [KUBECTL, "-n", e2e.cluster.namespace, "get", "pods", "--watch", "-o", f"jsonpath={columns}"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as process:
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield seen
        finally:
            process.terminate()
            reader.join(10)


def new_pods(e2e: E2E, apps: list[str], edit: str, path: Path) -> float:
    """Seconds from an edit until each app has a pod that is new and ready."""
    before = {pod.uid for pod in e2e.cluster.pods()}
    with watching(e2e) as seen:
        wait("the watch tells of the pods there are", lambda: before & set(seen), 30, 0.1)
        began = time.monotonic()
        append(path, edit)

        def ready() -> list[float]:
            new = [(app, when) for uid, (app, when) in list(seen.items()) if uid not in before]
            first = [min((when for a, when in new if a == app), default=0) for app in apps]
            return first if all(first) else []

        return max(wait(f"new pods of {', '.join(apps)}", ready, 240, 0.1)) - began


@check("skaffold dev: from an edit to new pods that are ready; a README's edit does nothing")
def develops(e2e: E2E) -> str:
    tree = copy(e2e.folder)
    try:
        with developing(e2e, tree) as log:
            edit = '\n__attribute__((used)) static const char edited[] = "{}";\n'
            one = new_pods(e2e, ["demo"], edit.format(1), tree / "src/demo/hello.c")
            wait("skaffold watches again", lambda: said(log, "Watching for changes") > 1, 120)
            e2e.cluster.rolled_out()
            library = new_pods(e2e, SERVICES, edit.format(2), tree / "src/lib/svc/svc.c")
            wait("skaffold watches again", lambda: said(log, "Watching for changes") > 2, 240)
            e2e.cluster.rolled_out()
            pods, length = {pod.uid for pod in e2e.cluster.pods()}, len(log.read_text())
            append(tree / "README.md", "\nAn edit.\n")
            time.sleep(QUIET_S)  # for something not to happen
            expect({pod.uid for pod in e2e.cluster.pods()} == pods, "an edit of README.md made new pods")
            expect("Build" not in log.read_text()[length:], f"an edit of README.md: {log.read_text()[length:]}")
        status, _ = http("GET", f"http://{e2e.system.outside('demo')}/demo/hello")
        expect(status == 200, f"demo: {status}")
    finally:
        e2e.system.deploy()
    return f"demo {one:.1f} s; src/lib {library:.1f} s until all {len(SERVICES)} services; README.md: nothing in {QUIET_S} s"
