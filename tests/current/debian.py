"""debian -- where this machine takes Debian's packages from, and which of them the chroot holds."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PREFERENCES = HERE / "preferences"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

Entry = tuple[list[str], list[str], list[str]]  # URIs, suites, components


class NoMirror(Exception):
    pass


def deb822_entries(text: str) -> Iterator[Entry]:
    """Of a .sources file."""
    text = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
    for stanza in re.split(r"\n\s*\n", text):
        fields = re.findall(r"^([\w-]+):((?:.*\n?)(?:[ \t].*\n?)*)", stanza, re.MULTILINE)
        words = {name.lower(): value.split() for name, value in fields}
        if "deb" in words.get("types", []) and words.get("enabled", ["yes"])[0].lower() not in ("no", "false", "0"):
            yield words.get("uris", []), words.get("suites", []), words.get("components", [])


def one_line_entries(text: str) -> Iterator[Entry]:
    """Of sources.list or a .list file."""
    line = r"^[ \t]*deb[ \t]+(?:\[[^\]]*\][ \t]*)?(\S+)[ \t]+(\S+)([^#\n]*)"
    for uri, suite, components in re.findall(line, text, re.MULTILINE):
        yield [uri], [suite], components.split()


def entries(etc: Path) -> Iterator[Entry]:
    for path in [etc / "apt/sources.list", *sorted((etc / "apt/sources.list.d").glob("*.list"))]:
        if path.exists():
            yield from one_line_entries(path.read_text())
    for path in sorted((etc / "apt/sources.list.d").glob("*.sources")):
        yield from deb822_entries(path.read_text())


def mirror(etc: Path = Path("/etc")) -> str | None:
    """The URI of Debian's archive in apt's configuration; None where this is another distribution."""
    release = dict(re.findall(r"^(\w+)=\"?([^\"\n]*)", (etc / "os-release").read_text(), re.MULTILINE))
    if release.get("ID") != "debian":
        return None
    suites = {release.get("VERSION_CODENAME"), "stable", "testing", "unstable", "sid"}
    for uris, names, components in entries(etc):
        if uris and suites & set(names) and "main" in components:
            return uris[0]
    return None


def default_mirror() -> str:
    """What mmdebstrap writes into a chroot by itself."""
    show = '--setup-hook=cat "$1/etc/apt/sources.list"; false'
    command = ["mmdebstrap", "--variant=extract", "--mode=root", "--format=null", show, "sid", "/dev/null"]
    text = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    for uris, _, _ in one_line_entries(text):
        return uris[0]
    raise NoMirror("neither apt nor mmdebstrap names a mirror of Debian")


def sources() -> list[str]:
    uri = mirror() or default_mirror()
    return [f"deb [signed-by={KEYRING}] {uri} {suite} main" for suite in ("sid", "experimental", "bookworm")]


def apt_options() -> list[str]:
    """How apt on this machine fetches: proxies, retries. A mirror that has not been updated for a while will do."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    fetching = [line for line in dump.splitlines() if re.match(r"Acquire::(https?|Retries|ForceIPv)\b.* \"[^\"]", line)]
    return [*fetching, 'Acquire::Check-Valid-Until "false";', 'APT::Install-Recommends "false";']


def packages() -> list[str]:
    lines = [line for line in (HERE / "packages").read_text().splitlines() if line and not line.startswith("#")]
    for line in (ROOT / "scripts/packages.debian").read_text().splitlines():
        match line.split():
            case ["base" | "build", *names]:
                lines += names
    return sorted(set(lines))
