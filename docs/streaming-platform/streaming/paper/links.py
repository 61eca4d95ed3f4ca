"""Links, anchors and source references of the paper."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
ANCHOR = re.compile(r'<a id="([^"]+)">')
SOURCE = re.compile(r"\bS(\d{1,2})\b")


def prose(text: str) -> str:
    """The text without fenced code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors of a page: explicit ones and those of the headings, as GitHub makes them."""
    out = set(ANCHOR.findall(text))
    for heading in HEADING.findall(prose(text)):
        plain = re.sub(r"<[^>]+>|`|\*", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number, name = 0, slug
        while name in out:
            number += 1
            name = f"{slug}-{number}"
        out.add(name)
    return out


def dead_links(pages: list[Path]) -> list[str]:
    out = []
    for page in pages:
        for target in LINK.findall(prose(page.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, fragment = unquote(target).partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                out.append(f"{page.name}: {target}: no such file")
            elif fragment and (file.suffix != ".md" or fragment not in anchors(file.read_text())):
                out.append(f"{page.name}: {target}: no such anchor")
    return out


def broken_lines(pages: list[Path]) -> list[str]:
    """Lines that begin with a figure's marker: Markdown takes such a line for HTML and breaks the paragraph."""
    return [
        f"{page.name}:{number}: begins with a marker"
        for page in pages
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if line.lstrip().startswith("<!--=")
    ]


def unused_images(folder: Path, pages: list[Path]) -> list[str]:
    text = "".join(page.read_text() for page in pages)
    return [image.name for image in sorted((folder / "img").iterdir()) if f"img/{image.name}" not in text]


def source_problems(folder: Path, pages: list[Path]) -> list[str]:
    """Sources that are cited and not listed, listed and not cited, or listed without address."""
    listed = {}
    for line in (folder / "appendix/sources.md").read_text().splitlines():
        if found := re.match(r'\| <a id="s\d+"></a>S(\d+) \|', line):
            listed[found[1]] = line
    cited = {n for page in pages if page.name != "sources.md" for n in SOURCE.findall(prose(page.read_text()))}
    out = [f"S{n} is cited but not listed" for n in sorted(cited - listed.keys(), key=int)]
    out += [f"S{n} is listed but not cited" for n in sorted(listed.keys() - cited, key=int)]
    return out + [
        f"S{n} has no address" for n, line in listed.items() if "https://" not in line and "http://" not in line
    ]
