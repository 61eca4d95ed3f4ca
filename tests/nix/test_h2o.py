"""Which h2o is in an image: nix/h2o.nix takes nixpkgs' or the pinned one, and refuses what is too old."""

import json

import pytest

PINNED = "2.3.0-rolling-2026-06-29"
# h2o.nix with stand-ins that say what they were given.
EVALUATE = """
let
  made = import {path} {{
    stdenv.mkDerivation = given: given;
    cmake = ""; ninja = ""; pkg-config = ""; openssl = ""; zlib = "";
    fetchFromGitHub = source: source.rev;
    h2o = {{ version = "{version}"; src = "theirs"; meta.license = ""; }};
  }};
in {{ inherit (made) version src; }}
"""


def evaluate(tree, version: str, check: bool = True):
    expression = EVALUATE.format(path=tree.folder / "nix/h2o.nix", version=version)
    return tree.nix("eval", "--impure", "--json", "--expr", expression, check=check, override=["--offline"])


@pytest.mark.parametrize("version", [PINNED, "2.3.0-rolling-2026-10-07", "2.4.0", "3.0.0"])
def test_nixpkgs_own_is_taken_if_it_is_new_enough(tree, version):
    assert json.loads(evaluate(tree, version).stdout) == {"version": version, "src": "theirs"}


OLD = ["2.2.6", "2.3.0-beta2", "2.3.0.20250814", "2.3.0-untagged-2027-01-01", "2.3.0-rolling-2026-06-26"]


@pytest.mark.parametrize("version", OLD)
def test_otherwise_the_pinned_one_is(tree, version):
    taken = json.loads(evaluate(tree, version).stdout)
    assert (taken["version"], len(taken["src"])) == (PINNED, 40)


def test_an_old_one_is_refused(scratch):
    text = (scratch.folder / "nix/h2o.nix").read_text()
    scratch.write("nix/h2o.nix", text.replace(PINNED, "2.3.0-rolling-2026-06-28"))
    done = evaluate(scratch, "2.3.0-rolling-2026-05-15", check=False)
    assert done.returncode != 0
    assert "h2o 2.3.0-rolling-2026-06-28 is too old for an image: it must be of 2026-06-29 or newer" in done.stderr


def test_no_image_is_made_with_an_old_one(scratch):
    """The whole flake, with a nixpkgs whose h2o is old, and an old pinned one."""
    text = (scratch.folder / "nix/h2o.nix").read_text()
    scratch.write("nix/h2o.nix", text.replace(PINNED, "2.3.0-rolling-2026-06-28"))
    path = "tests/nix/hostpkgs/default.nix"
    text = (scratch.folder / path).read_text()
    changed = text.replace(
        "h2o.librariesOnly = derivationOf {",
        'h2o = { version = "2.2.6"; src = "x"; meta.license.spdxId = "MIT"; };\n  unused = derivationOf {',
    )
    assert changed != text
    scratch.write(path, changed)
    done = scratch.nix("eval", "--raw", ".#images.layouts.users.drvPath", check=False)
    assert done.returncode != 0 and "too old for an image" in done.stderr
