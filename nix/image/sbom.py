"""The software bill of materials: CycloneDX 1.6, every library with version and licence, static ones included."""

import collections
import dataclasses
import hashlib
import pathlib
import uuid

import go_modules
import owners

# CycloneDX takes an SPDX identifier or, where there is an operator in it, an expression.
OPERATORS = (" AND ", " OR ", " WITH ")


@dataclasses.dataclass
class Part:
    linkage: str  # shared, static, program
    path: str  # in the image; of a static library, where the build took it from
    file: pathlib.Path


def make(spec: dict, digest: str, parts: list[Part]) -> dict:
    packages = collections.defaultdict(list)
    modules = {}
    for part in parts:
        packages[owners.owner(part.file, spec["components"])].append(part)
        if part.linkage == "program":
            modules |= {module["bom-ref"]: module for module in go_modules.components(part.file)}
    ordered = sorted(packages, key=lambda package: (package.name, package.version))
    components = [_component(package, packages[package]) for package in ordered]
    components += [modules[ref] for ref in sorted(modules)]
    root = f"{spec['name']}@{spec['version']}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": root,
                "name": spec["name"],
                "version": spec["version"],
                "description": spec["description"],
                "licenses": _licenses(spec["license"]),
                "purl": f"pkg:oci/{spec['name']}@{digest.replace(':', '%3A')}?arch={spec['architecture']}",
                "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
            }
        },
        "components": components,
        "dependencies": [
            {"ref": root, "dependsOn": [component["bom-ref"] for component in components]},
            *({"ref": component["bom-ref"]} for component in components),
        ],
    }


def _component(package: owners.Package, parts: list[Part]) -> dict:
    parts = sorted(parts, key=lambda part: part.path)
    files = [_file(part) for part in parts if part.linkage != "static"]
    return {
        "type": "application" if any(part.linkage == "program" for part in parts) else "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "licenses": _licenses(package.license),
        "purl": package.purl,
        "properties": [{"name": f"slipway:{part.linkage}", "value": part.path} for part in parts],
        **({"components": files} if files else {}),
    }


def _file(part: Part) -> dict:
    digest = hashlib.sha256(part.file.read_bytes()).hexdigest()
    return {"type": "file", "name": part.path, "hashes": [{"alg": "SHA-256", "content": digest}]}


def _licenses(text: str) -> list[dict]:
    if any(operator in text for operator in OPERATORS):
        return [{"expression": text}]
    return [{"license": {"id": text}}]
