"""The software bill of materials: CycloneDX 1.6, every library with version and licence, static ones included."""

import collections
import dataclasses
import hashlib
import pathlib
import re
import uuid

import go_modules
import owners

# Names of products in vulnerability databases (CPE, VENDOR:PRODUCT): a purl of Nix says nothing to them. None: a product that
# they do not know. The names are those of nixpkgs and, without a version at the end, of Debian's sources.
PRODUCTS = {
    "abseil": None,
    "abseil-cpp": None,
    "age": None,
    "c-ares": "c-ares:c-ares",
    "etcd": "etcd:etcd",
    "etcdctl": "etcd:etcd",
    "etcdserver": "etcd:etcd",
    "etcdutl": "etcd:etcd",
    "gcc": "gnu:gcc",
    "glibc": "gnu:glibc",
    "grpc": "grpc:grpc",
    "h2o": "dena:h2o",
    "jansson": "jansson_project:jansson",
    "lmdb": "symas:lightning_memory-mapped_database",
    "nghttp2": "nghttp2:nghttp2",
    "openssl": "openssl:openssl",
    "prometheus": "prometheus:prometheus",
    "protobuf-c": "protobuf-c_project:protobuf-c",
    "rclone": "rclone:rclone",
    "re2": "google:re2",
    "wslay": None,
    "zlib": "zlib:zlib",
}

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
        **({"cpe": cpe} if (cpe := _cpe(package)) else {}),
        "properties": [{"name": f"slipway:{part.linkage}", "value": part.path} for part in parts],
        **({"components": files} if files else {}),
    }


def _cpe(package: owners.Package) -> str | None:
    """A package that PRODUCTS does not have fails the build: it would never be found in a vulnerability database."""
    name = package.name if package.name in PRODUCTS else re.sub(r"(-unwrapped)?(-[\d.]+)?$", "", package.name)
    product = PRODUCTS[name]
    upstream = (
        re.sub(r"^\d+:|[+~-].*$", "", package.version) if package.purl.startswith("pkg:deb/") else package.version
    )
    version = re.sub(r"([^\w.-])", r"\\\1", upstream)
    return f"cpe:2.3:a:{product}:{version}:*:*:*:*:*:*:*" if product else None


def _file(part: Part) -> dict:
    digest = hashlib.sha256(part.file.read_bytes()).hexdigest()
    return {"type": "file", "name": part.path, "hashes": [{"alg": "SHA-256", "content": digest}]}


def _licenses(text: str) -> list[dict]:
    if any(operator in text for operator in OPERATORS):
        return [{"expression": text}]
    return [{"license": {"id": text}}]
