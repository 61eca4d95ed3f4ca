"""NAME [--repo_tag NAME:TAG] > archive.tar      for docker load, ctr images import, skopeo's docker-archive
NAME --oci FOLDER [--label KEY=VALUE]...         for a registry: skopeo copy --preserve-digests oci:FOLDER docker://REF

An image, as its build made it. --label adds labels: the layers stay the same, bit for bit."""

import argparse
import io
import json
import pathlib
import sys
import tarfile

import layer
import oci


def docker_archive(image: pathlib.Path, repo_tag: str, out: io.BufferedIOBase) -> None:
    layout = oci.Layout(image)
    manifest = layout.manifest()
    config = layout.read(manifest["config"])
    config_name = manifest["config"]["digest"].removeprefix("sha256:") + ".json"
    layers = []
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for entry in manifest["layers"]:
            data = layer.decompress(layout.read(entry))
            layers.append(layer.sha256(data).removeprefix("sha256:") + "/layer.tar")
            _add(tar, layers[-1], data)
        _add(tar, config_name, config)
        listing = [{"Config": config_name, "RepoTags": [repo_tag], "Layers": layers}]
        _add(tar, "manifest.json", json.dumps(listing).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o444
    tar.addfile(info, io.BytesIO(data))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--repo_tag", "-t", metavar="NAME:TAG")
    parser.add_argument("--oci", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    if args.oci is not None:
        labels = dict(label.split("=", 1) for label in args.label)
        print(oci.relabel(args.image / "oci", args.oci, labels))
        return 0
    if sys.stdout.isatty():
        parser.error("standard output is a terminal: send the archive to a file or a pipe")
    info = json.loads((args.image / "image.json").read_bytes())
    docker_archive(args.image / "oci", args.repo_tag or f"{info['name']}:{info['tag']}", sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
