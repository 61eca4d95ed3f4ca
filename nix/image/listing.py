"""listing.py index IMAGE... -- the index.json of all images.
listing.py table [--libraries] [--against FILE] IMAGE... -- the same for people; FILE is an earlier index.json."""

import argparse
import json
import pathlib

import layer
import oci


def load(folder: pathlib.Path) -> dict:
    return json.loads((folder / "image.json").read_bytes())


def index(folders: list[pathlib.Path]) -> list[dict]:
    keys = ("name", "tag", "digest", "architecture", "version", "size")
    return [{key: load(folder)[key] for key in keys} for folder in folders]


def table(folders: list[pathlib.Path], earlier: dict[str, int]) -> None:
    print(f"{'image':16} {'digest':19} {'layers':>6} {'kB':>8} {'of bound':>8} {'change':>8}")
    for folder in folders:
        image = load(folder)
        before = earlier.get(image["name"])
        change = "new" if before is None else f"{100 * (image['size'] - before) / before:+.1f} %"
        share = f"{100 * image['size'] / image['bound']:.0f} %"
        print(
            f"{image['name']:16} {image['digest'][:19]} {len(image['layers']):6} {image['size'] / 1000:8.0f}"
            f" {share:>8} {change if earlier else '':>8}"
        )


def libraries(folders: list[pathlib.Path]) -> None:
    """Every file by itself, compressed: a little more than its part of the layer."""
    for folder in folders:
        image = load(folder)
        print(f"\n{image['name']}")
        layout = oci.Layout(folder / "oci")
        for made, entry in zip(image["layers"], layout.manifest()["layers"], strict=True):
            for path, data in layer.files(layout.read(entry)).items():
                print(
                    f"  {made['name']:10} {len(data) / 1000:8.0f} kB {len(layer.compress(data)) / 1000:8.0f} kB  {path}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["index", "table"])
    parser.add_argument("--libraries", action="store_true")
    parser.add_argument("--against", type=pathlib.Path)
    parser.add_argument("images", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    if args.what == "index":
        print(json.dumps(index(args.images), indent=2))
        return
    earlier = json.loads(args.against.read_bytes()) if args.against else []
    table(args.images, {image["name"]: image["size"] for image in earlier})
    if args.libraries:
        libraries(args.images)


if __name__ == "__main__":
    main()
