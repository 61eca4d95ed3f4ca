"""The library as other repositories get it by `meson install`: headers, archive, shared library, pkg-config files, programs. The
service of scripts/templates/repository is built against it, and its own tests run. Of the folder $SLIPWAY_BUILD, or build."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("SLIPWAY_BUILD", "build")
TEMPLATE = ROOT / "scripts/templates/repository"
VERSION = (ROOT / "VERSION").read_text().strip()
OF_MESSAGES = {"health.pb-c.h", "health.rpc_client.h"}
API = re.compile(r"#pragma redefine_extname (\w+) (\w+)")
ALSO_EXPORTED = re.compile(r"grpc__health__v1__\w+|h2o_hpack_parse_headers")


def run(*command: str | Path, cwd: Path = ROOT, **env: str | Path) -> str:
    variables = os.environ | {name: str(value) for name, value in env.items()}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


class Installed:
    """What `meson install` made. A folder of its own stands for the root of a system."""

    def __init__(self, folder: Path) -> None:
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--tags", "devel,runtime", DESTDIR=folder)
        (found,) = folder.rglob("slipway-static.pc")
        self.folder, self.pkgconfig, self.libraries = folder, found.parent, found.parent.parent
        (self.headers,) = folder.rglob("include/slipway")

    def config(self, *options: str) -> list[str]:
        return run("pkg-config", *options, PKG_CONFIG_PATH=self.pkgconfig).split()

    def names(self) -> dict[str, str]:
        return dict(API.findall((self.headers / "names.h").read_text()))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def needs_shared(installed: Installed) -> Path:
    shared = installed.libraries / "libslipway.so"
    if not shared.exists():
        pytest.skip("libh2o cannot be part of a shared library here")
    return shared


def symbols(file: Path, *options: str) -> set[str]:
    return {
        line.split()[0] for line in run("nm", "--format=posix", *options, file).splitlines() if len(line.split()) > 1
    }


def test_the_library_is_installed_and_no_service(installed: Installed) -> None:
    prefix = installed.headers.parent.parent
    assert {folder.name for folder in prefix.iterdir()} == {"include", "lib", "libexec"}
    assert {program.name for program in (prefix / "libexec/slipway").iterdir()} == {
        "describe",
        "embed",
        "proto",
        "rpc-stubs",
    }
    listed = run(ROOT / "scripts/public", "headers").split()
    wanted = {Path(header).name for header in listed} | OF_MESSAGES | {"names.h"}
    assert {header.name for header in installed.headers.iterdir()} == wanted


def test_the_version_is_that_of_the_tree(installed: Installed) -> None:
    assert installed.config("--modversion", "slipway-static") == [VERSION]
    dynamic = run("readelf", "--dynamic", needs_shared(installed))
    major, minor, _ = VERSION.split(".")
    assert f"soname: [libslipway.so.{f'0.{minor}' if major == '0' else major}]" in dynamic
    assert installed.config("--modversion", "slipway") == [VERSION]


@pytest.mark.parametrize("options", [("-std=c17", "-Wpedantic"), ("-std=gnu17",)])
def test_every_header_compiles_alone(installed: Installed, tmp_path: Path, options: tuple[str, ...]) -> None:
    flags = installed.config("--cflags", "slipway-static")
    for header in installed.headers.iterdir():
        (tmp_path / "one.c").write_text(f"#include <slipway/{header.name}>\nextern int one;\n")
        run("cc", *options, "-Wall", "-Wextra", "-Werror", *flags, "-fsyntax-only", tmp_path / "one.c")


def test_headers_and_libraries_agree_on_names(installed: Installed) -> None:
    names = installed.names()
    assert len(names) > 100 and all(symbol == f"slipway_{name}" for name, symbol in names.items())
    assert set(names.values()) <= symbols(installed.libraries / "libslipway.a", "--extern-only", "--defined-only")


def test_the_shared_library_exports_the_api_alone(installed: Installed) -> None:
    exported = symbols(needs_shared(installed), "--dynamic", "--defined-only")
    rest = exported - set(installed.names().values())
    assert set(installed.names().values()) <= exported
    assert sorted(symbol for symbol in rest if not ALSO_EXPORTED.fullmatch(symbol)) == []


def test_every_declared_function_has_a_name_in_object_files(installed: Installed, tmp_path: Path) -> None:
    headers = [header.name for header in installed.headers.iterdir() if header.name not in OF_MESSAGES]
    (tmp_path / "all.c").write_text("".join(f"#include <slipway/{header}>\n" for header in headers))
    flags = installed.config("--cflags", "slipway-static")
    run("gcc", *flags, "-fsyntax-only", "-aux-info", "declared", "all.c", cwd=tmp_path)
    lines = [line for line in (tmp_path / "declared").read_text().splitlines() if "/slipway/" in line]
    declared = {match[1] for line in lines if (match := re.search(r"extern .*?\b(\w+) \(", line))}
    assert len(declared) > 100 and declared - set(installed.names()) == set()


def built(installed: Installed, folder: Path, *, shared: bool) -> Path:
    """The template's service, built and tested. Returns the program."""
    shutil.copytree(TEMPLATE, folder)
    if shared:
        text = (folder / "meson.build").read_text()
        (folder / "meson.build").write_text(text.replace("dependency('slipway-static'", "dependency('slipway'"))
    env = {"PKG_CONFIG_PATH": installed.pkgconfig, "LD_LIBRARY_PATH": installed.libraries}
    run("meson", "setup", "build", cwd=folder, **env)
    run("meson", "test", "-C", "build", "--print-errorlogs", cwd=folder, **env)
    return folder / "build/hello"


def test_the_templates_service_with_the_archive(installed: Installed, tmp_path: Path) -> None:
    program = built(installed, tmp_path / "hello", shared=False)
    needed = run("readelf", "--dynamic", program)
    assert "libslipway" not in needed and "libgrpc" not in needed  # the client of gRPC is what needs gRPC C-core
    assert program.name in run(program, "--version")


def test_the_templates_service_with_the_shared_library(installed: Installed, tmp_path: Path) -> None:
    needs_shared(installed)
    program = built(installed, tmp_path / "hello", shared=True)
    assert "[libslipway.so." in run("readelf", "--dynamic", program)
    env = {"LD_LIBRARY_PATH": installed.libraries, "LD_DEBUG": "bindings", "LD_BIND_NOW": "1"}
    done = subprocess.run([program, "--version"], env=os.environ | {k: str(v) for k, v in env.items()},
                          capture_output=True, text=True, check=True)  # fmt: skip
    # The library stands between h2o and its decoder of header blocks: h2o's calls of it go to the library.
    found = re.findall(r"file (\S*libh2o-evloop\S*) \[0\] to (\S+) \[0\]: .*`h2o_hpack_parse_headers'", done.stderr)
    assert "libh2o-evloop" not in done.stderr or [Path(to).name.split(".so")[0] for _, to in found] == ["libslipway"]


def test_files_can_be_a_part_of_the_program(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www/index.html").write_text("<!doctype html><title>Hello</title>\n")
    (embed,) = installed.config("--variable=embed", "slipway-static")
    run(embed, "www", "hello_www", "hello_www.c", "hello_www.h", "slipway/", cwd=tmp_path)
    flags = installed.config("--cflags", "slipway-static")
    run("cc", "-Wall", "-Wextra", "-Werror", *flags, "-c", "hello_www.c", cwd=tmp_path)


PAGE = ROOT / "docs/use-from-another-repository.md"
EXAMPLE = re.compile(
    r"^`hello\.c`:\n\n```c\n(?P<source>.*?)```\n\n```sh\nexport PKG_CONFIG_PATH=\S+\n(?P<commands>.*?)```\n```text\n(?P<output>.*?)```",
    re.MULTILINE | re.DOTALL,
)


def test_the_example_of_the_page(installed: Installed, tmp_path: Path) -> None:
    example = EXAMPLE.search(PAGE.read_text())
    assert example
    (tmp_path / "hello.c").write_text(example["source"])
    printed = run("sh", "-euc", example["commands"], cwd=tmp_path, PKG_CONFIG_PATH=installed.pkgconfig)
    assert printed == example["output"]


def test_the_page_and_the_template_name_this_version() -> None:
    files = [PAGE, *(path for path in TEMPLATE.rglob("*") if path.is_file())]
    named = {(file.name, found) for file in files
             for found in re.findall(r"(?:slipway/|ref[:=] ?|branch )v([\d.]+\d)", file.read_text())}  # fmt: skip
    assert {name for name, _ in named} >= {PAGE.name, "flake.nix", "kustomization.yaml", "skaffold.yaml"}
    assert {found for _, found in named} == {VERSION}


def test_the_templates_base_follows_from_its_declaration() -> None:
    run(ROOT / "scripts/manifests", "hello", "--ref", f"v{VERSION}", "--check", cwd=TEMPLATE)


def test_a_manifest_that_no_longer_follows_is_removed(tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE, tmp_path, dirs_exist_ok=True)
    declaration, base = tmp_path / "src/service.toml", tmp_path / "k8s/base"
    fewer, before = declaration.read_text(), {path.name for path in base.iterdir()}
    command = (ROOT / "scripts/manifests", "hello", "--ref", f"v{VERSION}")
    declaration.write_text(f"replicas = {{ min = 2, max = 5 }}\n{fewer}")
    run(*command, cwd=tmp_path)
    assert {path.name for path in base.iterdir()} == before | {"autoscaler.yaml"}
    (base / "own.yaml").write_text("# not Slipway's\n")
    declaration.write_text(fewer)
    checked = subprocess.run([*command, "--check"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 1 and "k8s/base/autoscaler.yaml: " in checked.stdout
    run(*command, cwd=tmp_path)
    assert {path.name for path in base.iterdir()} == before | {"own.yaml"}
    run(*command, "--check", cwd=tmp_path)
