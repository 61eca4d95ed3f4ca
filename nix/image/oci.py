"""OCI image layouts: a folder with oci-layout, index.json and blobs/sha256/. Same content, same bytes."""

import json
import os
import pathlib

import layer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def encode(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def descriptor(media_type: str, data: bytes, **more: object) -> dict:
    return {"mediaType": media_type, "digest": layer.sha256(data), "size": len(data), **more}


class Layout:
    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def add(self, data: bytes) -> None:
        blob = self.blob(layer.sha256(data))
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)

    def blob(self, digest: str) -> pathlib.Path:
        return self.folder / "blobs" / digest.replace(":", "/")

    def read(self, entry: dict) -> bytes:
        data = self.blob(entry["digest"]).read_bytes()
        if layer.sha256(data) != entry["digest"]:
            raise ValueError(f"{self.folder}: {entry['digest']} does not have that digest")
        return data

    def finish(self, manifests: list[dict]) -> None:
        (self.folder / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        (self.folder / "index.json").write_bytes(encode(index))

    def index(self) -> dict:
        return json.loads((self.folder / "index.json").read_bytes())

    def manifest_entry(self) -> dict:
        """The descriptor of the one image that a layout of ours holds."""
        (entry,) = self.index()["manifests"]
        return entry

    def manifest(self) -> dict:
        return json.loads(self.read(self.manifest_entry()))

    def config(self) -> dict:
        return json.loads(self.read(self.manifest()["config"]))

    def images(self) -> list[tuple[dict, dict]]:
        """Descriptor and configuration of the image, or of every image of an index."""
        entry = self.manifest_entry()
        entries = json.loads(self.read(entry))["manifests"] if entry["mediaType"] == INDEX else [entry]
        return [(each, json.loads(self.read(json.loads(self.read(each))["config"]))) for each in entries]


def write(folder: pathlib.Path, config: dict, layers: list[tuple[str, bytes]], architecture: str) -> str:
    """Writes a layout with one image whose layers are (digest, blob); returns the manifest's digest."""
    layout = Layout(folder)
    config_data = encode(config)
    layout.add(config_data)
    for _, blob in layers:
        layout.add(blob)
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config_data),
            "layers": [{"mediaType": LAYER, "digest": digest, "size": len(blob)} for digest, blob in layers],
        }
    )
    layout.add(manifest)
    platform = {"architecture": architecture, "os": "linux"}
    layout.finish([descriptor(MANIFEST, manifest, platform=platform)])
    return layer.sha256(manifest)


def relabel(source: pathlib.Path, folder: pathlib.Path, labels: dict[str, str]) -> str:
    """The image in source with further labels, written to folder; its layers stay as they are, bit for bit."""
    layout = Layout(source)
    manifest, config = layout.manifest(), layout.config()
    if labels:
        config["config"]["Labels"] = {**config["config"].get("Labels", {}), **labels}
    layers = [(entry["digest"], layout.read(entry)) for entry in manifest["layers"]]
    os.makedirs(folder, exist_ok=True)
    return write(folder, config, layers, config["architecture"])


def merge(sources: list[pathlib.Path], folder: pathlib.Path) -> str:
    """An index of the images in sources, one an architecture, written to folder; returns its digest."""
    layout = Layout(folder)
    entries = []
    for source in map(Layout, sources):
        entries.append(source.manifest_entry())
        for blob in (source.folder / "blobs/sha256").iterdir():
            layout.add(blob.read_bytes())
    entries.sort(key=lambda entry: entry["platform"]["architecture"])
    architectures = [entry["platform"]["architecture"] for entry in entries]
    if len(set(architectures)) != len(architectures):
        raise ValueError(f"an index of {architectures}: not one image an architecture")
    index = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    layout.add(index)
    layout.finish([descriptor(INDEX, index)])
    return layer.sha256(index)
