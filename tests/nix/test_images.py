"""What is in the images, and in the documents beside them."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import container
import elf
import hardened
import layer
import oci
import provenance
import pytest

from conftest import IMAGES, SERVICES

KEY = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*[A-Za-z0-9+/]{40}"
    rb"|AKIA(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16}"  # the key of AWS's own documentation, in the help text of rclone
    rb"|ghp_[0-9A-Za-z]{36}"
)
# Program and licence, where they are not the image's name and this project's licence.
OTHERS = {"backup-tools": ("rclone", "MIT AND BSD-3-Clause")}
BUILD_PATH = re.compile(rb"/nix/store/|nix-build")
# Static libraries give themselves away by a text that only they contain.
SIGNS = {"lmdb": b"LMDB 0.9", "grpc": b"grpc-c/", "protobuf-c": b"protobuf-c/protobuf-c.c"}


@pytest.fixture(params=IMAGES)
def image(request, images) -> pathlib.Path:
    return images[request.param]


@pytest.fixture
def unpacked(image, tmp_path) -> tuple[pathlib.Path, dict]:
    config = container.unpack(image, tmp_path / "root")
    return tmp_path / "root", config


def test_only_what_runs_is_in_it(image):
    described = json.loads((image / "image.json").read_bytes())
    for entry in container.members(image):
        assert entry.isfile() or entry.isdir(), f"{entry.name}: neither file nor folder"
        assert entry.mtime == 0 and entry.mode & 0o7022 == 0, entry.name
        folders = ("bin", "lib", "lib64", "etc", "share", "data", "usr", "nix")
        assert entry.name.split("/")[0] in folders, entry.name
    assert [made["name"] for made in described["layers"]] in (["libraries", "program"], ["program"])


def test_nothing_but_its_volumes_is_writable_by_its_user(image):
    volumes = oci.Layout(image / "oci").config()["config"].get("Volumes", {})
    for entry in container.members(image):
        if f"/{entry.name}" in volumes:
            assert (entry.uid, entry.gid, entry.mode) == (65532, 65532, 0o700)
        else:
            assert (entry.uid, entry.gid) == (0, 0) and entry.mode & 0o222 == 0, entry.name


def test_our_programs_are_hardened(image, unpacked):
    root, _ = unpacked
    for program in (root / "bin").iterdir():
        if program.name in SERVICES:
            assert hardened.faults(program) == [], program.name


def test_nothing_is_missing(unpacked):
    root, _ = unpacked
    there = {f"/{path.relative_to(root)}" for path in root.rglob("*") if path.is_file()}
    for program in (root / "bin").iterdir():
        loaded = elf.libraries(program, root)
        assert set(loaded) <= there
    libraries = {path for path in there if ".so" in path}
    needed = set().union(*(elf.libraries(program, root) for program in (root / "bin").iterdir()))
    assert libraries == needed, "a library that no program loads"


def test_no_secret_and_no_path_of_the_build(image, unpacked):
    root, _ = unpacked
    own = {root / "bin" / name for name in SERVICES}
    for path in (path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        # gRPC and OpenSSL contain the marks of a key, to look for them; a key follows the mark at once.
        assert KEY.search(data) is None, path
        if path in own:
            assert BUILD_PATH.search(data) is None, path


def test_its_configuration(image):
    config = oci.Layout(image / "oci").config()
    run = config["config"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in run["Labels"].items()}
    assert config["created"] == labels["created"] == "1970-01-01T00:00:00Z"
    assert run["User"] == "65532:65532"
    program, licence = OTHERS.get(labels["title"], (labels["title"], "Apache-2.0"))
    assert run["Entrypoint"] == [f"/bin/{program}"]
    assert labels["version"] and labels["source"].startswith("https://") and labels["licenses"] == licence
    assert "revision" not in labels, "it would rebuild every image with every commit"


def test_other_tools_read_it(image, tmp_path):
    """skopeo reads the layout, and the archive that the stream writes: with the same layers."""
    layout = oci.Layout(image / "oci")
    described = json.loads((image / "image.json").read_bytes())
    inspected = skopeo("inspect", "--format", "{{.Digest}}", f"oci:{image}/oci")
    assert inspected == described["digest"]
    archive = tmp_path / "archive.tar"
    with archive.open("wb") as out:
        stream = [shutil.which("python3"), pathlib.Path(oci.__file__).with_name("stream.py"), image]
        subprocess.run([*stream, "--repo_tag", "example.org/x:1"], check=True, stdout=out)
    config = json.loads(skopeo("inspect", "--config", f"docker-archive:{archive}"))
    assert config["rootfs"]["diff_ids"] == layout.config()["rootfs"]["diff_ids"]
    for entry, diff_id in zip(layout.manifest()["layers"], config["rootfs"]["diff_ids"], strict=True):
        assert layer.sha256(layer.decompress(layout.read(entry))) == diff_id


def skopeo(*args: str) -> str:
    return subprocess.run(["skopeo", *args], check=True, capture_output=True, text=True).stdout.strip()


# ---- bill of materials, provenance ----


def bill_of(image: pathlib.Path) -> dict:
    return json.loads((image / "sbom.cdx.json").read_bytes())


def test_bill_is_valid(image):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str((image / "sbom.cdx.json").read_text())
    assert error is None, error


def test_a_bill_that_is_not_valid_is_seen(images):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bill = bill_of(images[SERVICES[0]])
    bill["components"][0]["licenses"] = [{"license": {"id": "No-Such-License"}}]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is not None


def test_bill_has_names_that_vulnerability_databases_know(image):
    """CPE for what is no Go module: to them a purl of Nix says nothing."""
    import sbom

    for component in bill_of(image)["components"]:
        if component["purl"].startswith("pkg:golang/"):
            continue
        product = sbom.PRODUCTS[re.sub(r"-[\d.]+$", "", component["name"])]
        assert product is None or component["cpe"].startswith(f"cpe:2.3:a:{product}:")
        assert product is None or re.match(r"[\w.\\-]+$", component["cpe"].split(":")[5]), component["cpe"]


def test_bill_names_what_is_in_the_image(image, unpacked):
    root, _ = unpacked
    bill = bill_of(image)
    named = {}
    for component in bill["components"]:
        assert component["name"] and component["version"] and component["purl"]
        if not component["purl"].startswith("pkg:golang/"):  # a Go program names its modules, not their licences
            assert component["licenses"]
        for file in component.get("components", []):
            named[file["name"]] = file["hashes"][0]["content"]
    ours = {f"/bin/{name}" for name in SERVICES}
    there = {f"/{path.relative_to(root)}": path for path in root.rglob("*") if path.is_file()}
    parts = {at for at in there if (".so" in at or at.startswith("/bin/")) and at not in ours}
    assert set(named) == parts
    for at, digest in named.items():
        assert "sha256:" + digest == layer.sha256(there[at].read_bytes())
    assert (
        bill["metadata"]["component"]["hashes"][0]["content"]
        in json.loads((image / "image.json").read_bytes())["digest"]
    )


@pytest.mark.parametrize("name", SERVICES)
def test_bill_names_the_static_libraries(images, name, tmp_path):
    container.unpack(images[name], tmp_path / "root")
    data = (tmp_path / f"root/bin/{name}").read_bytes()
    bill = {component["name"]: component for component in bill_of(images[name])["components"]}
    for library, sign in SIGNS.items():
        contained = sign in data
        assert contained == (library in bill), library
    assert bill["glibc"]["version"] and bill["openssl"]["version"]
    if "grpc" in bill:
        assert {"abseil", "c-ares", "re2", "gcc-12"} <= set(bill)


def test_provenance_names_the_image_and_what_it_was_made_of(image, tree):
    statement = json.loads((image / "provenance.intoto.json").read_bytes())
    described = json.loads((image / "image.json").read_bytes())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [
        {"name": described["name"], "digest": {"sha256": described["digest"].removeprefix("sha256:")}}
    ]
    definition = statement["predicate"]["buildDefinition"]
    named = {dependency["name"] for dependency in definition["resolvedDependencies"]}
    assert {component["name"] for component in bill_of(image)["components"]} | {"nixpkgs"} <= named
    own = {f"source of {described['name']}", "source of library"}
    assert (own <= named) == (described["name"] in SERVICES)


def test_the_source_in_the_provenance_is_what_nix_hashes(tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/program").write_text("#!/bin/sh\n")
    (folder / "sub/program").chmod(0o755)
    (folder / "a").write_bytes(b"odd length")
    (folder / "link").symlink_to("a")
    command = ["nix", "--extra-experimental-features", "nix-command", "hash", "path", folder]
    assert (
        provenance.nar_hash(folder)
        == subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    )


def test_go_modules_are_named(images):
    names = {component["name"] for component in bill_of(images["etcd"])["components"]}
    assert {"go.etcd.io/bbolt", "google.golang.org/grpc"} <= names


# ---- our reader of ELF files against the C library's ----


@pytest.mark.parametrize("program", ["bash", "git", "skopeo", "protoc-c", "python3"])
def test_libraries_are_those_of_ldd(program):
    path = pathlib.Path(shutil.which(program, path=f"/usr/bin:/bin:{os.environ['PATH']}"))
    ldd = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    theirs = {pathlib.Path(found).resolve() for found in re.findall(r"(/\S+) \(", ldd)}
    assert {file.resolve() for file in elf.libraries(path).values()} == theirs


def test_a_missing_library_is_named(tmp_path):
    root = tmp_path / "root"
    for path, file in elf.libraries(pathlib.Path("/usr/bin/git")).items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / path.lstrip("/"))
    elf.libraries(pathlib.Path("/usr/bin/git"), root)
    gone = next(root.rglob("libz.so*"))
    gone.unlink()
    with pytest.raises(elf.NotFound, match="libz.so.1"):
        elf.libraries(pathlib.Path("/usr/bin/git"), root)
