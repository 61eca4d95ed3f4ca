"""The layers of src/lib are what src/lib/layers says, and their symbols have the library's prefix. Of the folder
$SLIPWAY_BUILD, or build."""

import functools
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LIBRARY = ROOT / "src/lib"
BUILD = ROOT / os.environ.get("SLIPWAY_BUILD", "build")


def table() -> dict[str, list[str]]:
    """What each layer sees; "services" is what services see."""
    lines = [line for line in (LIBRARY / "layers").read_text().splitlines() if not line.startswith("#")]
    return {name: sees.split() for name, sees in (line.split(":") for line in lines)}


LAYERS = table()


def own(layer: str) -> set[str]:
    """The headers of a layer that its .c files may include by name: public ones, and those beside them."""
    return {file.name for file in [*(LIBRARY / layer).glob("*.h"), *(LIBRARY / layer).glob("include/*.h")]}


def public(layer: str) -> set[str]:
    return {file.name for file in (LIBRARY / layer).glob("include/*.h")} - {"names.h"}


def sources(layer: str) -> list[Path]:
    return sorted((ROOT / "src/demo" if layer == "services" else LIBRARY / layer).glob("*.c"))


@functools.cache
def commands() -> dict[str, list[str]]:
    """How the build compiles each file for the library and for services."""
    listed = json.loads((BUILD / "compile_commands.json").read_text())
    own_targets = [one for one in listed if one["output"].startswith(("libslipway-", "libparts-"))]
    return {os.path.normpath(BUILD / one["file"]): shlex.split(one["command"]) for one in own_targets}


def compiles(layer: str, text: str, option: str) -> subprocess.CompletedProcess[str]:
    """Compiles text the way a file of that layer is compiled."""
    command = commands()[str(sources(layer)[0])]
    command = command[: command.index("-MD")]
    beside = [] if layer == "services" else [f"-iquote{LIBRARY / layer}"]
    return subprocess.run([*command, *beside, option, "-x", "c", "-"], input=text, cwd=BUILD, capture_output=True,
                          text=True, check=False)  # fmt: skip


WITH_SOURCES = [layer for layer in LAYERS if sources(layer)]
HEADERS = {header for layer in LAYERS for header in own(layer)} - {"names.h"}


def test_the_table_names_every_folder_once():
    folders = {str(path.parent.relative_to(LIBRARY)) for path in LIBRARY.rglob("*.[ch]")}
    assert {folder.removesuffix("/include") for folder in folders} == set(LAYERS) - {"services"}


def test_a_layer_sees_lower_ones_only():
    below: set[str] = set()
    for layer, seen in LAYERS.items():
        assert set(seen) <= below, layer
        below.add(layer)


def test_http_and_rpc_do_not_see_each_other():
    for layer, seen in LAYERS.items():
        for one, other in (("http", "rpc"), ("rpc", "http")):
            assert not (layer.startswith(f"{one}/") and any(name.startswith(f"{other}/") for name in seen))


def test_only_the_engine_of_etcd_sees_the_rpc_client():
    assert [layer for layer, seen in LAYERS.items() if "rpc/client" in seen] == ["store/etcd", "services"]


def test_headers_have_names_of_their_own():
    names = [header for layer in LAYERS for header in own(layer) - {"names.h"}]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("layer", WITH_SOURCES)
def test_what_a_layer_may_include_compiles(layer):
    allowed = set().union(own(layer), *(public(other) for other in LAYERS[layer])) - {"names.h"}
    done = compiles(layer, "".join(f'#include "{header}"\n' for header in sorted(allowed)), "-fsyntax-only")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("layer", WITH_SOURCES)
def test_what_a_layer_may_not_include_does_not_compile(layer):
    forbidden = HEADERS - own(layer) - set().union(*(public(other) for other in LAYERS[layer]))
    asked = "".join(f'#if __has_include("{header}")\nfound {header}\n#endif\n' for header in sorted(forbidden))
    done = compiles(layer, asked, "-E")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^found (.*)", done.stdout, re.MULTILINE) == []
    done = compiles(layer, f'#include "{min(forbidden)}"\n', "-fsyntax-only")
    assert done.returncode != 0
    assert "No such file" in done.stderr or "not found" in done.stderr


def test_external_symbols_have_the_prefix():
    done = subprocess.run([ROOT / "scripts/symbols", BUILD], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [], "names.h lacks them: run scripts/symbols --write"
    assert done.returncode == 0


def symbols_of(archive: Path) -> list[tuple[str, str, str]]:
    """File, name and nm's letter of each symbol."""
    command = ["nm", "--format=posix", "--print-file-name", archive]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.findall(r"^.*\[(.*)\]: (\S+) (\S)", lines, re.MULTILINE)


def uses(archive: Path) -> dict[str, set[str]]:
    """For each file of an archive the other files of it that define what it calls."""
    symbols = symbols_of(archive)
    home = {symbol: file for file, symbol, kind in symbols if kind in "TDRBV"}
    graph: dict[str, set[str]] = {file: set() for file, _, _ in symbols}
    for file, symbol, kind in symbols:
        if kind == "U" and home.get(symbol, file) != file:
            graph[file].add(home[symbol])
    return graph


def circle(graph: dict[str, set[str]]) -> set[str]:
    """The files that remain when those which use none of the others are taken away, again and again."""
    left = dict(graph)
    while ends := [file for file, used in left.items() if not used & left.keys()]:
        for file in ends:
            del left[file]
    return set(left)


@pytest.mark.parametrize("layer", [layer for layer in WITH_SOURCES if layer != "services"])
def test_no_files_use_each_other_in_a_circle(layer):
    assert sorted(circle(uses(BUILD / f"libslipway-{layer.replace('/', '-')}.a"))) == []


OF_THE_WORLD = re.compile(
    r"(slipway_)?(clock_\w+|uuid_new|thread_\w+|rpc_(?!client_check_target)\w+|nanosleep|clock_nanosleep|clock_gettime|time|gettimeofday|rand\w*|getrandom"
    r"|pthread_create|pthread_join|pthread_cond_(wait|timedwait|signal|broadcast|init)|sem_(wait|timedwait|post)|poll|usleep|sleep)"
)


def test_the_engine_of_etcd_reaches_time_threads_and_the_network_by_its_world():
    """So that it can run in a simulated one. Formatting a time is no use of the clock."""
    symbols = symbols_of(BUILD / "libslipway-store-etcd.a")
    used = [(file, name) for file, name, kind in symbols if kind in "Uvw" and OF_THE_WORLD.fullmatch(name)]
    assert any(file.endswith("world.c.o") for file, _ in used)
    assert [one for one in used if not one[0].endswith("world.c.o")] == []
