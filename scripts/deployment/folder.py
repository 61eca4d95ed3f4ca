"""folder -- a release's manifests as files, for a GitOps controller: one object a file, and no file that is not of the release."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from deployment.cluster import Docs, name_of
from deployment.images import Images, to_artifacts
from deployment.shell import Failure, Json

RECORD = "RELEASE"  # what the files are of; without a suffix that a controller would take for a manifest's
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}  # as scripts/etcd-tls labels the namespace


def write(folder: Path, namespace: str, docs: Docs, revision: str, images: Images) -> list[str]:
    """The names of the files that changed."""
    if folder.exists() and any(folder.iterdir()) and not (folder / RECORD).exists():
        raise Failure(f"{folder} has files that are not a release's: name an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"name": namespace, "labels": RESTRICTED}
    files = {
        file_name(doc): dump(doc) for doc in [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, *docs]
    }
    if len(files) != len(docs) + 1:
        raise Failure("two objects have one name")
    files[RECORD] = json.dumps({"revision": revision, **to_artifacts(images)}, indent=2) + "\n"
    there = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    for name in there.keys() - files.keys():
        (folder / name).unlink()
    for name, text in files.items():
        if there.get(name) != text:
            (folder / name).write_text(text)
    return sorted(name for name in there.keys() | files.keys() if there.get(name) != files.get(name))


def read(folder: Path) -> Docs:
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise Failure(f"{folder} has no manifests")
    return [yaml.safe_load(path.read_text()) for path in paths]


def file_name(doc: Json) -> str:
    group = doc["apiVersion"].rpartition("/")[0]
    return ".".join(filter(None, (doc["kind"].lower(), group, name_of(doc), "yaml")))


def dump(doc: Json) -> str:
    return yaml.safe_dump(doc, sort_keys=True, width=120)
