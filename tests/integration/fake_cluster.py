"""fake_cluster -- what fake_kubectl.py, the stand-in for kubectl, keeps in place of a cluster."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import harness

KUBECTL = harness.ROOT / "tests/integration/fake_kubectl.py"
Json = dict[str, Any]


class Fake:
    def __init__(self, folder: Path) -> None:
        """The environment has the stand-in in place of kubectl, and of what else must not be reached."""
        self.folder, programs = folder / "cluster", folder / "programs"
        self.folder.mkdir(parents=True)
        programs.mkdir()
        for name in ("kubectl", "skaffold"):
            (programs / name).symlink_to(KUBECTL)
        self.env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "FAKE_CLUSTER": str(self.folder)}
        for name in ("KUBECTL", "KUBECONTEXT", "SKAFFOLD_KUBE_CONTEXT", "NAMESPACE"):
            self.env.pop(name, None)

    def put(self, *objects: Json, context: str = "current") -> None:
        (self.folder / f"{context}.json").write_text(json.dumps(objects))

    def objects(self, context: str = "current") -> dict[str, Json]:
        """By their names."""
        path = self.folder / f"{context}.json"
        return {each["metadata"]["name"]: each for each in json.loads(path.read_text())} if path.exists() else {}

    def undone(self) -> list[str]:
        """The names of which a rollout was undone."""
        path = self.folder / "undone"
        return path.read_text().splitlines() if path.exists() else []

    def write_secret(self, name: str, folder: Path) -> None:
        """Its files into a new folder."""
        folder.mkdir()
        for file, content in self.objects()[name]["data"].items():
            (folder / file).write_bytes(base64.b64decode(content))
