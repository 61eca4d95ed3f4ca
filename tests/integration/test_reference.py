"""The reference pages of docs/: written from the programs and the sources, or holding what these hold and nothing else."""

from __future__ import annotations

import math
import re
import subprocess
import textwrap
from pathlib import Path

from harness import BUILD, ROOT, START_S

# Values and options that docs/log-fields.md names.
PLAIN = {"OK", "NOT_FOUND", "GOOGLE_CLOUD_PROJECT", "TRUSTED_PROXIES", "0.000085s", "projects/PROJECT/traces/ID"}
SOURCES = {path: path.read_text() for path in (ROOT / "src").rglob("*.c")}


def names_in(page: str) -> set[str]:
    """What the page's tables name in backquotes in their rows, but for spans of several words."""
    rows = re.findall(r"^\|.*\|$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    return set(re.findall(r"`([\w./-]+)`", "\n".join(rows)))


def test_written_pages_are_what_the_programs_say() -> None:
    done = subprocess.run(
        [ROOT / "scripts/reference", "--check", "--build", BUILD],
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_member_of_log_lines_is_described() -> None:
    """And no others: docs/log-fields.md."""
    members = {name for text in SOURCES.values() for name in re.findall(r'LOG_(?:STR|CSTR|INT)\("(\w+)"', text)}
    for name in ("log_line.c", "crash.c"):
        members |= set(re.findall(r'\\"([A-Za-z_./]+)\\":', SOURCES[ROOT / "src/lib/obs" / name]))
    assert len(members) > 50
    said = names_in("log-fields.md")
    assert not members - said
    everywhere = "".join(SOURCES.values())
    assert not [name for name in said - members if f'"{name}"' not in everywhere and name not in PLAIN]


def test_each_message_of_log_lines_is_described() -> None:
    page = (ROOT / "docs/log-fields.md").read_text()
    calls = "".join(SOURCES.values())
    messages = re.findall(r'log_fields(?:_always)?\(\s*[^;"]*?LOG_[A-Z]+,\s*NULL,\s*"((?:[^"\\]|\\.)+)"', calls)
    assert len(messages) > 12
    assert [text for text in messages if f"`{text.partition(':')[0]}" not in page] == []


def test_each_attribute_of_spans_is_described() -> None:
    """And no others: docs/spans.md."""
    made = {
        name for text in SOURCES.values() for name in re.findall(r'(?:SPAN_STR|SPAN_INT)\("([a-z_.]+)"', text)
    } | set(re.findall(r'add_resource\(&resource, STR\("([a-z._]+)"\)', "".join(SOURCES.values())))
    assert len(made) > 20
    said = {name for name in names_in("spans.md") if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name)}
    assert made == said


def test_limits_of_stores_are_the_headers() -> None:
    """docs/store-format.md has each STORE_MAX_ of store.h with its value."""
    header = (ROOT / "src/lib/store/include/store.h").read_text()
    defined = re.findall(r"^#define (STORE_MAX_\w+) +(\d+|\([\d *]+\))", header, re.MULTILINE)
    assert len(defined) > 5
    limits = {name: math.prod(int(factor) for factor in re.findall(r"\d+", value)) for name, value in defined}
    rows = re.findall(r"^\| `(STORE_MAX_\w+)` \| (\d+) \|", (ROOT / "docs/store-format.md").read_text(), re.MULTILINE)
    assert {name: int(value) for name, value in rows} == limits


def test_limits_of_propagation_are_the_headers() -> None:
    page = (ROOT / "docs/spans.md").read_text()
    header = (ROOT / "src/lib/obs/include/span.h").read_text()
    for name, kind in (("STATE", "tracestate"), ("BAGGAGE", "baggage")):
        limit = re.search(rf"#define SPAN_MAX_{name} +(\d+)", header)[1]
        assert re.search(rf"`{kind}` \((?:at most )?{int(limit):,} bytes\)", page), kind


def test_the_index_of_decisions_has_their_titles() -> None:
    folder = ROOT / "docs/decisions"
    titles = {}
    for path in folder.glob("[0-9]*.md"):
        number, title = re.match(r"# (\d+)\. (.+)\n", path.read_text()).groups()
        assert int(path.name[:4]) == int(number)
        titles[path.name] = (number, title)
    listed = re.findall(r"^(\d+)\. \[(.+)\]\((.+)\)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert len(listed) > 50
    assert {name: (number, title) for number, title, name in listed} == titles


def pages() -> dict[Path, str]:
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return {path: path.read_text() for path in found if "streaming-platform" not in path.parts}


def test_commands_can_be_pasted() -> None:
    """Every block of commands is syntax that bash takes."""
    blocks = [
        (path, textwrap.dedent(block))
        for path, text in pages().items()
        for block in re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    ]
    assert len(blocks) > 100
    for path, block in blocks:
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, timeout=START_S, check=False)
        assert done.returncode == 0, f"{path}: {done.stderr}{block}"


def test_recipes_that_pages_name_are_there() -> None:
    justfiles = [ROOT / "Justfile", *ROOT.glob("*/*.just"), *ROOT.glob("*/*/*.just")]
    recipes = {
        name
        for path in justfiles
        for name in re.findall(r"^([a-z][a-z0-9-]*)[^:\n]*:(?!=)", path.read_text(), re.MULTILINE)
    }
    named = [
        (path, name)
        for path, text in pages().items()
        for name in re.findall(r"(?:`|^)(?:\./dev|just) ([a-z][a-z-]*)\b", text, re.MULTILINE)
    ]
    assert len(named) > 200
    assert [(str(path), name) for path, name in named if name not in recipes] == []


def test_the_figures_of_the_readme_are_those_of_the_measurements() -> None:
    readme = (ROOT / "README.md").read_text()
    figures = readme.split("\n## Figures\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (?!measure|---)(.+) \| (.+) \| (.+) \|$", figures, re.MULTILINE)
    assert len(rows) > 5
    measured = "".join((ROOT / "docs" / name).read_text() for name in ("benchmarks.md", "images.md"))
    for _, ours, peers in rows:
        for figure in re.findall(r"(?<![\w.])\d+(?:[.,]\d+)*", ours + " " + peers):
            assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d,])", measured), figure
    table = readme.split("\n## Failures\n")[1].split("\n## ")[0]
    failures = [re.findall(r"\d+", row) for row in re.findall(r"^\| [^|]+ \|((?: \d+ \|){5})$", table, re.MULTILINE)]
    drill = (
        (ROOT / "docs/briefs/route-guide.md").read_text().split("event                      seconds")[1].split("```")[0]
    )
    assert len(failures) > 5
    assert failures == [re.findall(r"\d+", row)[-5:] for row in drill.splitlines()[1:]]
