"""Provenance: an in-toto statement (v1) with a SLSA provenance predicate (v1)."""

import base64
import hashlib
import os
import pathlib
import struct

BUILD_TYPE = "/docs/images.md#provenance"
BUILDER = "/flake.nix"


def make(spec: dict, digest: str, bill: dict) -> dict:
    """No time and no builder's name: built twice, the statement is the same. The revision is added when pushing."""
    sources = [
        {"name": f"source of {name}", "digest": {"narHash": nar_hash(pathlib.Path(path))}}
        for name, path in sorted(spec["sources"].items())
    ]
    sources.append({"name": "nixpkgs", "uri": spec["nixpkgs"]})
    libraries = [{"name": c["name"], "uri": c["purl"]} for c in bill["components"]]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": spec["name"], "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": spec["project_url"] + BUILD_TYPE,
                "externalParameters": {"output": f"images.{spec['name']}", "system": spec["system"]},
                "resolvedDependencies": sources + libraries,
            },
            "runDetails": {"builder": {"id": spec["source_url"] + BUILDER}},
        },
    }


def of_pushed(statement: dict, digest: str, revision: str) -> dict:
    """The statement about an image that was labelled with a revision and pushed."""
    statement["subject"][0]["digest"]["sha256"] = digest.removeprefix("sha256:")
    definition = statement["predicate"]["buildDefinition"]
    repository = statement["predicate"]["runDetails"]["builder"]["id"].removesuffix(BUILDER)
    definition["resolvedDependencies"].insert(0, {"uri": f"git+{repository}", "digest": {"gitCommit": revision}})
    return statement


def nar_hash(path: pathlib.Path) -> str:
    """What `nix hash path` computes: the SHA-256 of a folder in Nix's archive format."""
    digest = hashlib.sha256()

    def string(data: bytes) -> None:
        digest.update(struct.pack("<Q", len(data)) + data + b"\0" * (-len(data) % 8))

    def node(at: pathlib.Path) -> None:
        string(b"(")
        string(b"type")
        if at.is_symlink():
            for part in (b"symlink", b"target", os.fsencode(os.readlink(at))):
                string(part)
        elif at.is_dir():
            string(b"directory")
            for name in sorted(os.listdir(os.fsencode(at))):
                for part in (b"entry", b"(", b"name", name, b"node"):
                    string(part)
                node(at / os.fsdecode(name))
                string(b")")
        else:
            string(b"regular")
            if at.stat().st_mode & 0o100:
                string(b"executable")
                string(b"")
            string(b"contents")
            string(at.read_bytes())
        string(b")")

    string(b"nix-archive-1")
    node(path)
    return "sha256-" + base64.b64encode(digest.digest()).decode()
