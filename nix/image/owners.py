"""Which package a file comes from: one of the components that the build names, by its store path; else, where the
build takes its libraries from a Debian system (tests/nix/hostpkgs), one of its packages."""

import dataclasses
import functools
import pathlib
import re
import subprocess


@dataclasses.dataclass(frozen=True)
class Package:
    name: str
    version: str
    license: str
    purl: str


class Unknown(Exception):
    pass


def owner(path: pathlib.Path, components: list[dict]) -> Package:
    for component in components:
        if any(str(path).startswith(prefix + "/") for prefix in component["prefixes"]):
            name, version = component["name"], component["version"]
            return Package(name, version, component["license"], f"pkg:nix/{name}@{version}")
    if str(path).startswith("/nix/store/"):
        raise Unknown(f"{path}: of no component that nix/components.nix names")
    name, version = _debian_source(str(path))
    licenses = {component["name"]: component["license"] for component in components}
    if name not in licenses:
        raise Unknown(f"{path}: from Debian's {name}, which no component is called")
    purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch=source"
    return Package(name, version, licenses[name], purl)


def _debian_source(path: str) -> tuple[str, str]:
    """Debian's name and version of the source that a file was built from."""
    # /lib is a link to /usr/lib, but packages may name either.
    for name in (path, "/usr" + path, re.sub("^/usr", "", path)):
        package = _packages_in(str(pathlib.PurePath(name).parent)).get(name)
        if package is not None:
            return _source_of(package)
    raise Unknown(f"{path}: in no package")


@functools.cache
def _packages_in(folder: str) -> dict[str, str]:
    """Whose each file there is: all at once, for every question makes dpkg read all that it knows."""
    found = subprocess.run(["dpkg-query", "-S", f"{folder}/*"], capture_output=True, check=False, text=True).stdout
    lines = (
        line.split(": ", 1) for line in found.splitlines() if ": /" in line and not line.startswith("diversion by ")
    )
    return {name: packages.split(", ")[0] for packages, name in lines}


@functools.cache
def _source_of(package: str) -> tuple[str, str]:
    show = ["dpkg-query", "-W", "-f", "${source:Package} ${source:Version}\n", package]
    name, version = subprocess.run(show, capture_output=True, text=True, check=True).stdout.splitlines()[0].split()
    return name, version
