"""The traceability table: every requirement points to its diagram, flow, data, objective and problems."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .documents import TABLE
from .slo import Slo, Threshold

COLUMNS = ("id", "requirement", "diagram", "flow", "data", "objective", "problems")
# What the requirements must cover, whatever their wording: the brief's list.
REQUIRED = (
    "sign-in",
    "authorisation",
    "save",
    "rate",
    "friend",
    "push",
    "billing",
    "accounting",
    "A/B",
    "monitoring",
    "alerting",
    "ingest",
    "transcod",
    "DRM",
    "CDN",
    "playback",
    "search",
    "profiles",
    "deletion",
    "export",
    "regions",
    "abuse",
    "support",
)


@dataclass(frozen=True)
class Row:
    cells: dict[str, str]

    @property
    def id(self) -> str:
        return self.cells["id"]


def rows(page: str) -> list[Row]:
    """The rows of the table whose first column is headed id."""
    out: list[Row] = []
    inside = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif tuple(cells) == COLUMNS:
            inside = True
        elif inside and not set(line) <= set("|-: "):
            out.append(Row(dict(zip(COLUMNS, cells + [""] * (len(COLUMNS) - len(cells))))))
    return out


PROMISE = re.compile(r"(?:\band|[,:]|\bwhich|\bwe)\s+(?:page|pages)\b(?!\s+(?:beyond|and|or|of|that))", re.IGNORECASE)


def promises(pages: list[Path], thresholds: list[Threshold]) -> list[str]:
    """A page that is promised without a link to its alert; a threshold that names a place which does not link to it."""
    out = []
    for page in pages:
        if page.name not in ("runbooks.md", "operations.md"):
            out += [f"{page.name}: no link to the alert: {m[0]}" for m in PROMISE.finditer(page.read_text())]
    texts = {page.name: page.read_text() for page in pages}
    for t in thresholds:
        names = {place.partition("#")[0].rpartition("/")[2] for place in t.promised}
        out += [f"{name} does not link to {t.id}" for name in sorted(names) if f"#{t.id.lower()})" not in texts[name]]
    return out


def owner_problems(folder: Path, owners: set[str]) -> list[str]:
    """Owners of objectives and thresholds that the first release's table gives to no team, or to two."""
    page = (folder / "appendix/first-release.md").read_text().partition("| team | owner of |")[2].partition("\n\n")[0]
    named = [name for line in page.splitlines()[2:] for name in line.strip("| ").split(" | ")[1].split(", ")]
    twice = sorted({name for name in named if named.count(name) > 1})
    wrong = sorted(owners ^ set(named))
    return [f"owned by no team, or no owner: {name}" for name in wrong] + [f"owned twice: {name}" for name in twice]


NO_WAY_BACK = "**No way back after this"
MOVES = "## Stages and triggers"  # the memo's table, whose last column holds the moves


def procedure_problems(folder: Path) -> list[str]:
    """A procedure that does not name the step after which there is no way back; a move of the memo without a procedure."""
    page = (folder / "appendix/procedures.md").read_text()
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    numbered = [s for s in sections if re.search(r"^1\. ", s, re.MULTILINE)]
    out = [
        f"no step is named after which there is no way back: {s.splitlines()[0]}"
        for s in numbered
        if NO_WAY_BACK not in " ".join(s.split())
    ]
    memo = (folder / "README.md").read_text().partition(MOVES)[2].partition("\n## ")[0]
    for line in [line for line in memo.splitlines() if line.startswith("| ")][2:]:
        for move in line.strip("| ").split(" | ")[-1].split(";"):
            out += [] if "](appendix/procedures.md#" in move else [f"a move without a procedure: {move.strip()}"]
    return out or ([] if numbered else ["no procedure has steps"])


def ranking_problems(folder: Path) -> list[str]:
    """Whether the problems are ranked by harm times likelihood, and each says how it shows, what it takes, why left."""
    page = (folder / "problems.md").read_text()
    ranks = [
        [int(n) for n in row] for row in re.findall(r"^\| \[P(\d+)\].*\| (\d) \| (\d) \| (\d+) \|$", page, re.MULTILINE)
    ]
    out = [
        f"P{n}: {harm} times {likely} is not {product}"
        for n, harm, likely, product in ranks
        if harm * likely != product
    ]
    if sorted(r[0] for r in ranks) != list(range(1, len(ranks) + 1)) or len(ranks) < 12:
        out.append("the table does not hold P1, P2, ... and at least twelve of them")
    if [r[3] for r in ranks] != sorted((r[3] for r in ranks), reverse=True):
        out.append("the table is not in the order of the products")
    sections = re.split(r"^## P\d+ ", page, flags=re.MULTILINE)[1:]
    out += [f"{len(ranks)} problems in the table, {len(sections)} sections"] * (len(ranks) != len(sections))
    for number, section in enumerate(sections, 1):
        words = " ".join(section.split())
        out += [
            f"P{number} lacks: {need}"
            for need in ("**Shows as**", "**Would take**", "**Left because**")
            if need not in words
        ]
    return out


def drill_problems(pages: list[Path]) -> list[str]:
    """A drill that is spoken of without a link to the list of drills; one of the list without the procedure it follows."""
    out = []
    for page in pages:
        text = TABLE.sub("", page.read_text())
        if page.name == "runbooks.md":
            rows = text.partition("| drill | how often |")[2].partition("\n\n")[0].splitlines()[2:]
            out += ["no drill is listed"] if not rows else []
            out += [f"a drill without a procedure: {row}" for row in rows if "](" not in row]
        else:
            lines = [line for line in text.splitlines() if re.search(r"\bdrill(s|ed)?\b", line)]
            out += [
                f"{page.name}: no link to the drills: {line.strip()}"
                for line in lines
                if "#drills)" not in line and "published drill" not in line
            ]
    return out


TOP = 12  # harm times likelihood from which the memo must name a problem


def risk_problems(folder: Path) -> list[str]:
    """Whether the memo's top risks are the problems that rank highest, in their order, and nothing else."""
    page = (folder / "problems.md").read_text()
    table = re.findall(r"^\| \[P(\d+)\].*\| (\d+) \|$", page, re.MULTILINE)
    product = {int(n): int(p) for n, p in table}
    memo = (folder / "README.md").read_text().partition("## The top risks")[2].partition("\n## ")[0]
    lines = re.findall(r"^\d+\. .*(?:\n {2,}.*)*", memo, re.MULTILINE)
    named = [[int(n) for n in re.findall(r"\]\(problems\.md#p(\d+)\)", line)] for line in lines]
    out = [f"a risk that is no problem of the list: {line}" for line, ids in zip(lines, named, strict=True) if not ids]
    missing = {n for n, p in product.items() if p >= TOP} - {n for ids in named for n in ids}
    out += [f"P{n} ranks among the top and is no risk of the memo" for n in sorted(missing)]
    first = [max(product.get(n, 0) for n in ids) for ids in named if ids]
    return out + (["the risks are not in the order of the list"] if first != sorted(first, reverse=True) else [])


def problems(folder: Path, slos: list[Slo]) -> list[str]:
    """What is missing or wrong in the table."""
    page = (folder / "requirements.md").read_text()
    table, out = rows(page), []
    if [r.id for r in table] != [f"R{n}" for n in range(1, len(table) + 1)] or not table:
        out.append(f"ids are not R1, R2, ...: {[r.id for r in table]}")
    patterns = {
        "diagram": r"\]\(.*\.svg\)",
        "flow": r"\]\(flows\.md#",
        "data": r"\]\((data|security)\.md#",
        "problems": r"\]\(problems\.md#",
    }
    for row in table:
        for column, pattern in patterns.items():
            if not re.search(pattern, row.cells[column]):
                out.append(f"{row.id}: no link in column {column}")
        if not any(s.id in row.cells["objective"] for s in slos):
            out.append(f"{row.id}: no objective of slo.toml")
    covered = " ".join(r.cells["requirement"] for r in table).lower()
    out += [f"no requirement mentions {word}" for word in REQUIRED if word.lower() not in covered]
    used = " ".join(" ".join(r.cells.values()) for r in table)
    out += [f"objective {s.id} belongs to no requirement" for s in slos if s.id not in used]
    for name, file in (("flow", "flows.md"), ("problem", "problems.md")):
        ids = re.findall(r'<a id="([fp]\d+)">', (folder / file).read_text())
        out += [f"{name} {i} belongs to no requirement" for i in ids if f"{file}#{i})" not in used]
    return out
