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
        if name in _packages():
            return _sources()[_packages()[name]]
    raise Unknown(f"{path}: in no package")


@functools.cache
def _packages() -> dict[str, str]:
    """Whose each library is, by dpkg's lists: dpkg-query would take as long for each as this for all."""
    found = {}
    for listing in pathlib.Path("/var/lib/dpkg/info").glob("*.list"):
        package = listing.stem
        found.update((line, package) for line in listing.read_text().splitlines() if ".so" in line or ".a" in line)
    return found


@functools.cache
def _sources() -> dict[str, tuple[str, str]]:
    """Name and version of the source of every package; those of one architecture alone stand with and without it."""
    show = ["dpkg-query", "-W", "-f", "${Package} ${Architecture} ${source:Package} ${source:Version}\n"]
    found = {}
    for line in subprocess.run(show, capture_output=True, text=True, check=True).stdout.splitlines():
        package, architecture, source, version = line.split()
        found[package] = found[f"{package}:{architecture}"] = (source, version)
    return found
