"""assemble.py SPEC OUT -- makes an image: the programs that SPEC names, the libraries that they load, their data.

OUT/oci is an OCI layout, OUT/image.json says what is in it; beside it the bill of materials and the provenance."""

import json
import pathlib
import sys

import elf
import guard
import layer
import oci
import provenance
import sbom

EPOCH = "1970-01-01T00:00:00Z"
USER = 65532
# Without it the C library asks DNS first, also for localhost.
NSSWITCH = b"hosts: files dns\n"


def shared_libraries(spec: dict) -> dict[str, pathlib.Path]:
    found = {}
    for program in spec["programs"]:
        found.update(elf.libraries(pathlib.Path(program["source"]), preferred=spec["preferred"]))
    return found


def library_layer(spec: dict, shared: dict[str, pathlib.Path]) -> layer.Layer | None:
    if not shared:
        return None
    entries = [layer.Entry(path, file.resolve(), mode=0o555) for path, file in shared.items()]
    entries.append(layer.Entry("/etc/nsswitch.conf", content=NSSWITCH))
    packed = pathlib.Path(spec["packed"]) if spec["packed"] else None
    return layer.make("libraries", entries, packed)


def program_layer(spec: dict) -> layer.Layer:
    entries = [layer.Entry(p["path"], pathlib.Path(p["source"]).resolve(), mode=0o555) for p in spec["programs"]]
    for tree in spec["trees"]:
        source = pathlib.Path(tree["source"])
        for file in sorted(source.rglob("*")):
            if file.is_file():
                mode = 0o555 if file.stat().st_mode & 0o100 else 0o444
                entries.append(layer.Entry(f"{tree['path']}/{file.relative_to(source)}", file, mode=mode))
    for folder in spec["volumes"]:
        entries.append(layer.Entry(folder, mode=0o700, owner=USER))
    return layer.make("program", entries)


def image_config(spec: dict, layers: list[layer.Layer]) -> dict:
    labels = {
        "title": spec["name"],
        "description": spec["description"],
        "source": spec["source_url"],
        "version": spec["version"],
        "licenses": spec["license"],
        "created": EPOCH,
    }
    config = {
        "Entrypoint": [spec["programs"][0]["path"]],
        "User": f"{USER}:{USER}",
        "WorkingDir": "/",
        "ExposedPorts": {f"{port}/tcp": {} for port in spec["ports"]},
        "Env": [f"{name}={value}" for name, value in sorted(spec["env"].items())],
        "Labels": {f"org.opencontainers.image.{key}": value for key, value in labels.items()},
    }
    if spec["volumes"]:
        config["Volumes"] = {folder: {} for folder in spec["volumes"]}
    return {
        "architecture": spec["architecture"],
        "os": "linux",
        "created": EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [made.tar_digest for made in layers]},
        "history": [{"created": EPOCH, "created_by": made.name} for made in layers],
    }


def parts(spec: dict, shared: dict[str, pathlib.Path]) -> list[sbom.Part]:
    """All that others wrote: libraries, archives that were linked in, and the programs that we only pack."""
    found = [sbom.Part("shared", path, file) for path, file in shared.items()]
    for listing in spec["archives"]:
        for name in pathlib.Path(listing).read_text().split():
            found.append(sbom.Part("static", name, pathlib.Path(name)))
    if not spec["own"]:
        found += [sbom.Part("program", p["path"], pathlib.Path(p["source"]).resolve()) for p in spec["programs"]]
    return found


def bound_of(spec: dict, found: list[sbom.Part]) -> int:
    """The most that the image may weigh: with gRPC it may be more."""
    packages = {sbom.owners.owner(part.file, spec["components"]).name for part in found}
    return spec["bounds"]["grpc" if "grpc" in packages else "plain"]


def describe(spec: dict, digest: str, layers: list[layer.Layer], bound: int) -> dict:
    return {
        "name": spec["name"],
        "tag": digest.removeprefix("sha256:")[:32],
        "digest": digest,
        "architecture": spec["architecture"],
        "version": spec["version"],
        "size": sum(len(made.blob) for made in layers),
        "bound": bound,
        "layers": [
            {
                "name": made.name,
                "digest": made.digest,
                "size": len(made.blob),
                "files": {entry.path: len(entry.read()) for entry in made.entries if entry.is_file},
            }
            for made in layers
        ],
    }


def main(spec_file: str, out_folder: str) -> None:
    spec, out = json.loads(pathlib.Path(spec_file).read_text()), pathlib.Path(out_folder)
    shared = shared_libraries(spec)
    layers = [made for made in (library_layer(spec, shared), program_layer(spec)) if made is not None]
    entries = [entry for made in layers for entry in made.entries]
    own = {program["path"] for program in spec["programs"]} if spec["own"] else set()
    found = parts(spec, shared)
    bound = bound_of(spec, found)
    guard.check(entries, own, sum(len(made.blob) for made in layers), bound)
    config = image_config(spec, layers)
    digest = oci.write(out / "oci", config, [(made.digest, made.blob) for made in layers], spec["architecture"])
    bill = sbom.make(spec, digest, found)
    documents = {
        "image.json": describe(spec, digest, layers, bound),
        "sbom.cdx.json": bill,
        "provenance.intoto.json": provenance.make(spec, digest, bill),
    }
    for name, document in documents.items():
        (out / name).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (elf.NotFound, guard.Refused, sbom.owners.Unknown) as error:
        sys.exit(f"assemble: {error}")
