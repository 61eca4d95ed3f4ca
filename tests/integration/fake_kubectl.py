#!/usr/bin/env python3
"""fake_kubectl -- a stand-in for kubectl and the cluster behind it, for tests of what our scripts ask of one. It is not
Kubernetes: nothing runs and nothing changes by itself; it only keeps objects, in the folder FAKE_CLUSTER, a file for
each context.

It fails as a cluster out of reach does where its arguments have FAKE_REFUSES in them. Asked with FAKE_MISSES whether
something is there, it says no, as if somebody else made it a moment later. Of `rollout undo` it notes the name, in the
file `undone`. `config view` prints the file `config`, if there is one.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
FOLDER = Path(os.environ["FAKE_CLUSTER"])


def kind_of(text: str) -> str:
    """configmaps, ConfigMap, deployments.apps, storageclasses: configmap, deployment, storageclass."""
    name = text.split(".")[0].lower()
    return name.removesuffix("es").removesuffix("s") + "s" if "class" in name else name.removesuffix("s")


class Fake:
    def __init__(self, context: str, namespace: str) -> None:
        self.path, self.namespace = FOLDER / f"{context or 'current'}.json", namespace
        self.objects: list[Json] = json.loads(self.path.read_text()) if self.path.exists() else []

    def keep(self) -> None:
        self.path.write_text(json.dumps(self.objects))

    def find(self, kind: str, name: str) -> Json | None:
        wanted = (kind_of(kind), name)
        return next((one for one in self.objects if (kind_of(one["kind"]), one["metadata"]["name"]) == wanted), None)

    def put(self, new: Json, replace: bool) -> None:
        old = self.find(new["kind"], new["metadata"]["name"])
        if old and not replace:
            sys.exit(f'Error from server (AlreadyExists): {new["kind"]} "{new["metadata"]["name"]}" already exists')
        if old:
            self.objects.remove(old)
        self.objects.append(new)


def documents(path: str) -> list[Json]:
    """What is applied: JSON, one object or a List of them; of YAML only that there is something."""
    text = sys.stdin.read() if path == "-" else Path(path).read_text()
    try:
        said: Json = json.loads(text)
    except ValueError:
        return []
    return said["items"] if said["kind"] == "List" else [said]


def secret(name: str, files: list[str]) -> Json:
    data = {file: base64.b64encode(Path(file).read_bytes()).decode() for file in files}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def selected(one: Json, selector: str) -> bool:
    wanted = dict(part.split("=") for part in selector.split(",")) if selector else {}
    return wanted.items() <= one["metadata"].get("labels", {}).items()


def get_named(fake: Fake, args: argparse.Namespace, name: str) -> None:
    missed = args.ignore_not_found and os.environ.get("FAKE_MISSES")
    found = None if missed else fake.find(args.words[0], name)
    if found and args.output.startswith("go-template"):
        field = re.findall(r'"(.+?)"', args.output)[0]
        print(base64.b64decode(found["data"][field]).decode(), end="")
    elif found:
        print(json.dumps(found) if args.output == "json" else f"{kind_of(found['kind'])}/{name}")
    elif not args.ignore_not_found:
        sys.exit(f"Error from server (NotFound): {args.words[0]} {name}")


def get_several(fake: Fake, args: argparse.Namespace) -> None:
    """KIND/NAME...: kind, name, certificate and Pod Security of those there are, which is all that is asked for so."""
    for kind, name in (word.split("/") for word in args.words):
        if (found := fake.find(kind, name)) and not os.environ.get("FAKE_MISSES"):
            label = found["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce", "")
            print(f"{found['kind']}/{name} {found.get('data', {}).get('tls.crt', '')} {label}")


def get(fake: Fake, args: argparse.Namespace) -> None:
    if "/" in args.words[0]:
        get_several(fake, args)
        return
    if len(args.words) > 1:
        for name in args.words[1:]:
            get_named(fake, args, name)
        return
    kinds = {kind_of(kind) for kind in args.words[0].split(",")}
    items = [one for one in fake.objects if kind_of(one["kind"]) in kinds and selected(one, args.selector)]
    print(json.dumps({"items": items}))


def logs(fake: Fake, args: argparse.Namespace) -> None:
    """Of each pod what it has under "printed" or "previous". Of one that has no such log there is an error, which is the end
    without --ignore-errors."""
    for one in fake.objects:
        if one["kind"] == "Pod" and selected(one, args.selector):
            prefix = f"[pod/{one['metadata']['name']}/main] " if args.prefix else ""
            text = one.get("previous" if args.previous else "printed")
            if text is None and not args.ignore_errors:
                sys.exit("Error from server (BadRequest): previous terminated container not found")
            if text is None:
                print("error: previous terminated container not found")
            else:
                print("".join(prefix + line for line in text.splitlines(keepends=True)), end="")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="+")
    for name in ("--context", "--namespace", "--selector", "--output", "--filename", "--patch"):
        parser.add_argument(name, *{"--namespace": ["-n"], "--filename": ["-f"]}.get(name, []), default="")
    for name in ("--type", "--request-timeout", "--field-manager", "--wait", "--since", "--tail", "--max-log-requests"):
        parser.add_argument(name)
    for name in (
        "--ignore-not-found",
        "--server-side",
        "--force-conflicts",
        "--minify",
        "--flatten",
        "--all-namespaces",
        "--show-managed-fields",
        "--previous",
        "--prefix",
        "--ignore-errors",
    ):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--dry-run", default="")
    parser.add_argument("--from-file", action="append", default=[])
    args = parser.parse_args()
    verb, *args.words = args.words
    fake = Fake(args.context, args.namespace)
    if (refused := os.environ.get("FAKE_REFUSES")) and refused in " ".join(sys.argv[1:]):
        sys.exit("Unable to connect to the server: fake_kubectl was told so")
    match verb:
        case "get" if args.filename:
            live = [fake.find(one["kind"], one["metadata"]["name"]) for one in documents(args.filename)]
            print(json.dumps({"items": [one for one in live if one]}))
        case "get":
            get(fake, args)
        case "logs":
            logs(fake, args)
        case "create" if args.dry_run:
            print(json.dumps(secret(args.words[-1], args.from_file)))
        case "create" if args.from_file:
            fake.put(secret(args.words[-1], args.from_file), False)
        case "create" | "apply":
            for one in documents(args.filename):
                fake.put(one, verb == "apply")
        case "patch":
            found = fake.find(*args.words)
            assert found
            found["data"] |= json.loads(args.patch)["data"]
        case "delete":
            fake.objects = [one for one in fake.objects if one is not fake.find(*args.words)]
        case "config" if (FOLDER / "config").exists():
            print((FOLDER / "config").read_text())
        case "diff":
            differ = [one["metadata"]["name"] for one in documents(args.filename)
                      if fake.find(one["kind"], one["metadata"]["name"]) != one]  # fmt: skip
            print("".join(f"+++ /tmp/{name}\n+differs\n" for name in differ), end="")
            sys.exit(1 if differ else 0)
        case "config" | "api-versions":
            pass
        case "rollout":
            with open(FOLDER / "undone", "a") as undone:
                undone.write(f"{args.words[-1]}\n")
        case _:
            sys.exit(f"fake_kubectl: {verb}: not known here")
    fake.keep()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    with open(FOLDER / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        main()
