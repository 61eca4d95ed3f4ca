"""stage -- what run and drill have in common: their options, and a namespace with the load generator beside the systems."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import load_pod
from cluster import Cluster, warn
from suite import E2E
from system import System


def options(about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add(flag: str, variable: str, text: str) -> None:
        parser.add_argument(flag, default=os.environ.get(variable, ""), help=f"{text} (${variable})")

    add("--default-repo", "SLIPWAY_REGISTRY", "registry for the images; SLIPWAY_PLAIN_HTTP=true: it has no TLS")
    add("--kill-node", "SLIPWAY_KILL_NODE", "command that takes a node's name and cuts its power")
    add("--start-node", "SLIPWAY_START_NODE", "command that gives it back")
    parser.add_argument("--rate", type=float, help="requests a second")
    parser.add_argument("--namespace", default=f"slipway-e2e-{secrets.token_hex(3)}", help="made if missing")
    parser.add_argument("--keep", action="store_true", help="the namespace, as it is at the end")
    return parser


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def staged(chosen: argparse.Namespace, rate: float, full: bool = False) -> Iterator[E2E]:
    """A namespace of its own, in which nothing runs yet; deleted at the end, also of one that is interrupted."""
    if not chosen.default_repo:
        sys.exit("no registry: --default-repo or $SLIPWAY_REGISTRY")
    signal.signal(signal.SIGTERM, interrupted)
    cluster = Cluster(chosen.namespace)
    with tempfile.TemporaryDirectory() as folder:
        e2e = E2E(
            cluster=cluster,
            system=System(cluster, chosen.default_repo),
            load=load_pod.LoadPod(cluster, chosen.rate or rate),
            folder=Path(folder),
            full=full,
            kill_node=chosen.kill_node,
            start_node=chosen.start_node,
        )
        e2e.image = load_pod.push(load_pod.build(Path(folder)), chosen.default_repo)
        cluster.create()
        try:
            yield e2e
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if chosen.keep:
                warn(f"kept: namespace {chosen.namespace}")
            else:
                cluster.delete()
