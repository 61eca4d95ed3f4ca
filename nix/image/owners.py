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


@functools.cache
def _debian_source(path: str) -> tuple[str, str]:
    """Debian's name and version of the source that a file was built from."""
    # /lib is a link to /usr/lib, but packages may name either.
    names = [path, "/usr" + path, re.sub("^/usr", "", path)]
    found = subprocess.run(["dpkg-query", "-S", *names], capture_output=True, check=False, text=True).stdout
    match = re.search(r"^(\S+?):?(?::\w+)?: /", found, re.MULTILINE)
    if match is None:
        raise Unknown(f"{path}: in no package")
    show = ["dpkg-query", "-W", "-f", "${source:Package} ${source:Version}\n", found.split(": ")[0]]
    name, version = subprocess.run(show, capture_output=True, text=True, check=True).stdout.splitlines()[0].split()
    return name, version
