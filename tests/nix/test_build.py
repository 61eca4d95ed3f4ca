"""What is built again when, and that it comes out the same."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import IMAGES, NIX_CONFIG, OVERRIDE, SERVICES, Tree

SYSTEMS = ["x86_64-linux", "aarch64-linux", "aarch64-darwin"]


def test_images_are_a_stream_each_and_an_index(tree, images):
    folder = tree.build(".#images")
    index = json.loads((folder / "index.json").read_bytes())
    assert sorted(image["name"] for image in index) == sorted(IMAGES)
    for image in index:
        described = json.loads((images[image["name"]] / "image.json").read_bytes())
        assert image["tag"] == described["digest"].removeprefix("sha256:")[:32]
        assert image["size"] == sum(layer["size"] for layer in described["layers"])
        assert os.access(folder / image["name"], os.X_OK)
        for document in ("sbom.cdx.json", "provenance.intoto.json"):
            assert (folder / f"{image['name']}.{document}").exists()


def test_a_second_build_does_nothing(tree, images):
    assert "will be built" not in tree.nix("build", "--dry-run", ".#images").stderr


@pytest.mark.parametrize("system", SYSTEMS)
def test_everything_evaluates(tree, system):
    outputs = ["packages"] + ([] if "darwin" in system else ["checks"])
    for output in [*outputs, "devShells"]:
        paths = "all: builtins.mapAttrs (name: one: one.drvPath) all"
        found = json.loads(tree.nix("eval", "--json", f".#{output}.{system}", "--apply", paths).stdout)
        assert found and all(path.endswith(".drv") for path in found.values())
    tree.nix("eval", "--raw", f".#formatter.{system}.drvPath")


def test_the_check_of_the_manifests(tree):
    tree.nix("build", "--no-link", f".#checks.{SYSTEMS[0]}.manifests")


def default_configuration(tree: Tree, command: str) -> str:
    """What a command prints where no experimental feature of Nix is enabled."""
    config = "".join(line + "\n" for line in NIX_CONFIG.splitlines() if not line.startswith("experimental"))
    done = subprocess.run(["sh", "-c", command], cwd=tree.folder, env={**os.environ, "NIX_CONFIG": config},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_needs_experimental_features(tree):
    """By default.nix and by the flake come the same derivations; nix/build enables by itself what it uses."""
    flake = tree.nix("eval", "--raw", ".#images.drvPath").stdout
    classic = "nix-instantiate -A images --arg nixpkgs ./tests/nix/hostpkgs"
    assert default_configuration(tree, classic) == flake
    shell = default_configuration(tree, "nix-instantiate -A devShell --arg nixpkgs ./tests/nix/hostpkgs")
    assert shell == tree.nix("eval", "--raw", f".#devShells.{SYSTEMS[0]}.default.drvPath").stdout
    built = default_configuration(tree, "SLIPWAY_NIX_OVERRIDE=./tests/nix/hostpkgs nix/build .#images.users")
    assert built.startswith("/nix/store/")


def test_the_readmes_commands_need_no_configuration(tree, images):
    """Every command of the README that builds, as it stands there, with the stand-in for nixpkgs."""
    lines = (tree.folder / "README.md").read_text().splitlines()
    commands = [line.split(" #")[0].strip() for line in lines if line.startswith(("nix-build ", "nix "))]
    assert any(command.startswith("nix-build ") for command in commands)
    for command in commands:
        override = "--arg nixpkgs ./tests/nix/hostpkgs --no-out-link" if command.startswith("nix-build") else " ".join(
            [*OVERRIDE, "--no-link"])  # fmt: skip
        default_configuration(tree, f"{command} {override}")


def test_without_git(tree, tmp_path):
    """A release's archive builds the same."""
    archive = tmp_path / "source"
    archive.mkdir()
    subprocess.run(f"git archive HEAD | tar -x -C {archive}", shell=True, cwd=tree.folder, check=True)
    command = f"nix-instantiate {archive} -A images --arg nixpkgs {archive}/tests/nix/hostpkgs"
    assert default_configuration(tree, command) == tree.nix("eval", "--raw", ".#images.drvPath").stdout


CHECK = f".#checks.{SYSTEMS[0]}.integration"


def inputs(tree: Tree, attribute: str) -> set[str]:
    """The derivations that this one is built from."""
    drv = tree.nix("eval", "--raw", f"{attribute}.drvPath").stdout
    (shown,) = json.loads(tree.nix("show-derivation", drv, override=[]).stdout).values()
    return set(shown["inputDrvs"])


def test_the_integration_check_tests_the_programs_of_the_images(tree):
    for name in SERVICES:
        program = tree.nix("eval", "--raw", f".#{name}.drvPath").stdout
        assert program in inputs(tree, CHECK) & inputs(tree, f".#images.{name}.layout")


def test_the_integration_check(tree, images):
    """Some of its tests; all of them run in the group debug, and with nixpkgs' libraries where those are."""
    tree.nix("build", "--no-link", f"{CHECK}.some")


def test_the_integration_check_fails_with_a_test(scratch, images):
    scratch.append(
        "tests/integration/test_demo.py", "\n\ndef test_vulnerabilities_of_the_future():\n    assert False\n"
    )
    done = scratch.nix("build", "--no-link", f"{CHECK}.some", check=False)
    assert done.returncode != 0 and "test_vulnerabilities_of_the_future" in done.stderr


def changed(tree: Tree, path: str, text: str) -> set[str]:
    before = tree.derivations()
    tree.append(path, text) if (tree.folder / path).exists() else tree.write(path, text)
    after = tree.derivations()
    return {name for name in after if before[name] != after[name]}


@pytest.mark.parametrize("name", SERVICES)
def test_an_edit_of_a_service_rebuilds_its_image_alone(scratch, name):
    assert changed(scratch, f"src/{name}/main.c", "/* edited */\n") == {name}


@pytest.mark.parametrize(
    "path", ["README.md", "docs/a.md", "tests/unit/test_base.c", "k8s/base/a.yaml", "tests/nix/a.md"]
)
def test_an_edit_of_what_is_not_in_an_image_rebuilds_nothing(scratch, path):
    assert changed(scratch, path, "\n") == set()


def test_a_commit_rebuilds_nothing(scratch):
    before = scratch.derivations()
    scratch.commit("Another revision")
    assert scratch.derivations() == before


def test_an_edit_of_the_shared_library_rebuilds_every_service(scratch):
    assert changed(scratch, "src/lib/base/buf.c", "/* edited */\n") == set(SERVICES)


def test_a_library_rebuilds_those_that_include_it(scratch):
    scratch.write("src/other/other.h", "#pragma once\n")
    scratch.write("src/between/between.h", '#pragma once\n#include "other.h"\n')
    main = (scratch.folder / f"src/{SERVICES[0]}/main.c").read_text()
    scratch.write(f"src/{SERVICES[0]}/main.c", '#include "between.h"\n' + main)
    assert changed(scratch, "src/other/other.h", "/* edited */\n") == {SERVICES[0]}


def test_data_rebuilds_its_service(scratch):
    assert changed(scratch, "share/route-guide/README.md", "\n") == {"route-guide"}


def test_a_new_service_needs_no_word_in_the_flake(scratch):
    scratch.write("src/fresh/main.c", (scratch.folder / "src/users/main.c").read_text().replace('"users"', '"fresh"'))
    names = json.loads(scratch.nix("eval", "--json", ".#images.layouts", "--apply", "builtins.attrNames").stdout)
    assert "fresh" in names


def test_the_flake_sees_what_the_list_of_attributes_says(scratch):
    """flake.nix hands on those of nixpkgs that the list names: one that is not there cannot be used."""
    path = "nix/nixpkgs-attributes.nix"
    text = (scratch.folder / path).read_text()
    without, count = re.subn(r"^ *lmdb = \[[^]]*\];\n", "", text, flags=re.MULTILINE)
    assert count == 1
    scratch.write(path, without)
    done = scratch.nix("eval", "--raw", ".#images.layouts.users.drvPath", check=False)
    assert done.returncode != 0 and "lmdb" in done.stderr
    others = [nix for nix in (scratch.folder / "nix").rglob("*.nix") if "legacyPackages" in nix.read_text()]
    assert others == []


BUILD_AS_SOMEBODY_ELSE = r"""
set -eu
mount --make-rprivate /
mount --bind "$1/nix" /nix
mount --bind "$1/passwd" /etc/passwd
cd "$1/a/longer/path/slipway"
shift
exec setpriv --reuid=54321 --regid=54321 --clear-groups env -i PATH="$H/bin:/usr/local/bin:/usr/bin:/bin" HOME="$H" USER=other \
    TZ=Asia/Tokyo LANG=C TMPDIR="$T" NIX_CONFIG="$NIX_CONFIG" "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a store and a user of its own")
def test_another_user_builds_the_same_elsewhere_and_later(tree, images, tmp_path_factory):
    """An empty store, another folder, user, PATH, time zone and folder for temporary files; later than the first. Nothing
    below the first user's home can be read: the programs that an image takes from the host are copied."""
    place = tmp_path_factory.mktemp("other")
    for folder in ("nix", "home/bin", "tmp-of-another-name"):
        (place / folder).mkdir(parents=True)
    for program in ("age", "etcd", "etcdctl", "etcdutl", "prometheus", "rclone"):
        shutil.copy(shutil.which(program), place / "home/bin")
    Tree(place / "a/longer/path/slipway", tree.folder)
    passwd = pathlib.Path("/etc/passwd").read_text()
    (place / "passwd").write_text(passwd + f"other:x:54321:54321::{place}/home:/bin/sh\n")
    for parent in [place, *place.parents][:3]:
        parent.chmod(0o755)
    subprocess.run(["chown", "-R", "54321:54321", place], check=True)
    env = {**os.environ, "NIX_CONFIG": NIX_CONFIG, "H": f"{place}/home", "T": f"{place}/tmp-of-another-name"}
    build = ["nix", "build", "--json", "--no-link", *OVERRIDE, *(f".#images.{name}.layout" for name in IMAGES)]
    script = ["unshare", "--mount", "sh", "-c", BUILD_AS_SOMEBODY_ELSE, "sh", str(place), *build]
    done = subprocess.run(script, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert len(json.loads(done.stdout)) == len(images)
    for name, path in images.items():
        theirs = place / str(path).lstrip("/")
        assert (theirs / "oci/index.json").read_bytes() == (path / "oci/index.json").read_bytes(), name
        assert (theirs / "sbom.cdx.json").read_bytes() == (path / "sbom.cdx.json").read_bytes(), name
    subprocess.run(["chmod", "-R", "u+w", place / "nix"], check=True)
    shutil.rmtree(place / "nix")


def test_symbols_are_an_output_of_their_own(tree, images):
    """Found by the build id of the program in the image, which has none; as scripts/symbolize and gdb look for them."""
    (built,) = json.loads(tree.nix("build", "--no-link", "--json", ".#demo.debug").stdout)
    program = tree.build(".#demo") / "bin/demo"
    notes = subprocess.run(["readelf", "--notes", program], capture_output=True, text=True, check=True).stdout
    (build_id,) = re.findall(r"Build ID: ([0-9a-f]{40})", notes)
    symbols = pathlib.Path(built["outputs"]["debug"]) / f"lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    shown = subprocess.run(["nm", symbols], capture_output=True, text=True, check=True).stdout
    (main,) = re.findall(r"^([0-9a-f]+) T main$", shown, re.MULTILINE)
    place = subprocess.run(["addr2line", "-e", symbols, main], capture_output=True, text=True, check=True).stdout
    assert re.search(r"src/demo/main\.c:\d+", place)
    assert "no symbols" in subprocess.run(["nm", program], capture_output=True, text=True, check=False).stderr
