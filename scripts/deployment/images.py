"""images -- built by the flake, pushed, signed, checked, and copied between registries: always by digest."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from deployment import trees
from deployment.shell import ROOT, Failure, Json, need, run, say

Images = dict[str, str]  # name: REPOSITORY@sha256:DIGEST
BY_DIGEST = re.compile(r"[a-z0-9][^\s@]*@sha256:[0-9a-f]{64}")
ATTESTED = ("cyclonedx", "slsaprovenance1")
SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
SIGNATURES = "-signatures"  # what follows a registry's name where its signatures are: modules/registry makes both
ISSUER = "https://token.actions.githubusercontent.com"


@dataclass(frozen=True)
class Registry:
    address: str
    plain_http: bool

    def flags(self, *sides: str) -> list[str]:
        """For skopeo."""
        return [f"--{side}-tls-verify=false" for side in sides] if self.plain_http else []


@dataclass(frozen=True)
class Signer:
    """Whose signature an image must have. With a key: made and checked by it. Without: the CI's, which has no key but an
    identity (keyless), known by its repository."""

    sign_key: str  # a file or what cosign takes for one (gcpkms://...)
    verify_key: str
    repository: str
    plain_http: bool

    def cosign(self, verb: str, *args: str) -> str:
        """The last argument is the image."""
        # Where a key is given nothing is told to a public log: whoever has the public key can check.
        key = self.verify_key or self.sign_key
        signing = verb in ("sign", "attest")
        flags = ["--allow-insecure-registry", "--allow-http-registry"] if self.plain_http else []
        if signing and self.sign_key:
            flags += ["--key", self.sign_key, "--tlog-upload=false", "--use-signing-config=false"]
        elif not signing and key:
            flags += ["--key", key, "--insecure-ignore-tlog"]
        elif not signing:
            flags += ["--certificate-oidc-issuer", ISSUER, "--certificate-identity-regexp", self.identity()]
        beside = {"COSIGN_REPOSITORY": signatures_of(args[-1])}
        return run("cosign", verb, *flags, *(["--yes"] if signing else []), *args, timeout=180, env=beside)

    def identity(self) -> str:
        """The workflows that deploy, as they are on main: what a branch or another workflow signs is worth nothing."""
        workflows = re.escape(f"https://github.com/{self.repository}/.github/workflows/")
        return rf"^{workflows}(deploy|promote)\.yaml@refs/heads/main$"

    def verify(self, images: Images) -> None:
        """Signature, bill of materials and provenance of each."""
        need_cosign()
        for reference in images.values():
            self.verify_signature(reference)
            for kind in ATTESTED:
                self.attested(kind, reference)
        say(f"{len(images)} images: signature, bill of materials and provenance are as they must be")

    def verify_signature(self, reference: str) -> None:
        """cosign counts an attestation as a signature, too: ours must be among what it found."""
        found = json.loads(self.cosign("verify", reference))
        if not any(each["critical"]["type"] == SIGNATURE for each in found):
            raise Failure(f"{reference} is attested, but not signed")

    def attested(self, kind: str, reference: str) -> Json:
        """The predicate of that kind about an image, checked."""
        newest = self.cosign("verify-attestation", "--type", kind, reference).splitlines()[-1]
        statement: Json = json.loads(base64.b64decode(json.loads(newest)["payload"]))
        return statement["predicate"]

    def sign(self, reference: str, predicates: dict[str, Json]) -> None:
        """Once: a second time there is nothing left to do. The signature comes last, so it says that all is there."""
        with contextlib.suppress(Failure):
            self.verify_signature(reference)
            return
        for kind, predicate in predicates.items():
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(predicate, file)
                file.flush()
                self.cosign("attest", "--type", kind, "--predicate", file.name, reference)
        self.cosign("sign", reference)


def need_cosign() -> None:
    """Version 3: older ones know neither --use-signing-config nor what cosign 3 stores."""
    need("cosign")
    version = json.loads(run("cosign", "version", "--json"))["gitVersion"]
    if re.match(r"v?[012]\.", version):
        raise Failure(f"needs cosign 3; this is {version}")


def signatures_of(reference: str) -> str:
    """The repository of an image's signature and attestations. Where a registry does not list what refers to an image
    (Artifact Registry does not), cosign keeps that list in a tag that moves with every attestation, and the tags of the
    images' own registry never move."""
    address, _, name = reference.split("@")[0].rpartition("/")
    host, slash, path = address.partition("/")
    return f"{host}/{path}{SIGNATURES}/{name}" if slash else f"{host}/signatures/{name}"


def names() -> list[str]:
    """What Skaffold builds, and so what manifests name."""
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    return [artifact["image"] for artifact in skaffold["build"]["artifacts"]]


def build(registry: Registry, signer: Signer | None) -> Images:
    """All images of the revision that is checked out, in the registry: a tag for the revision, which never moves."""
    need("git", "nix", "skopeo")
    if signer:
        need_cosign()
    images, tag = {}, trees.revision()  # the program that pushes takes no tree with changes
    for name in names():
        with tempfile.TemporaryDirectory() as folder:
            plain = ["--plain-http"] if registry.plain_http else []
            reference = f"{registry.address}/{name}:{tag}"
            said = run("nix/images", "push", *plain, "--documents", folder, name, reference, timeout=1800).strip()
            images[name] = f"{registry.address}/{name}@{said.rsplit('@', 1)[1]}"
            if signer:
                signer.sign(images[name], documents(Path(folder)))
        say(f"{name:14} {images[name]}{', signed' if signer else ''}")
    return images


def documents(folder: Path) -> dict[str, Json]:
    bill = json.loads((folder / "sbom.cdx.json").read_bytes())
    return dict(zip(ATTESTED, (bill, json.loads((folder / "provenance.intoto.json").read_bytes())["predicate"])))


def copy(images: Images, registry: Registry, signer: Signer | None, source: Signer | None) -> Images:
    """The same digests in another registry. Who promotes signs there for what was verified here, with the same bill and
    provenance."""
    copied = {}
    for name, reference in images.items():
        digest = reference.rsplit("@", 1)[1]
        copied[name] = f"{registry.address}/{name}@{digest}"
        if copied[name] == reference:
            continue
        tag = f"{registry.address}/{name}:{digest.removeprefix('sha256:')[:12]}"
        run("skopeo", "copy", "--quiet", "--insecure-policy", "--all", "--preserve-digests",
            *registry.flags("src", "dest"), f"docker://{reference}", f"docker://{tag}", timeout=600)  # fmt: skip
        if signer and source:
            signer.sign(copied[name], {kind: source.attested(kind, reference) for kind in ATTESTED})
        say(f"{name:14} {copied[name]}")
    return copied


def read_artifacts(path: Path) -> Images:
    """A file as `skaffold build --file-output` writes it, and `scripts/deploy artifacts ENV` prints it."""
    return from_artifacts(json.loads(path.read_bytes()))


def from_artifacts(data: dict) -> Images:
    images = {}
    for build_ in data["builds"]:
        name, at, digest = build_["tag"].partition("@")
        head, slash, last = name.rpartition("/")
        images[build_["imageName"]] = f"{head}{slash}{last.split(':')[0]}{at}{digest}"
    for name, reference in images.items():
        if not BY_DIGEST.fullmatch(reference):
            raise Failure(f"{name}: {reference} has no digest, so it may be another image tomorrow")
    return images


def must_be_complete(images: Images) -> None:
    """For what this tree deploys. What was released once has the images of its time: services come and go."""
    if missing := set(names()) - set(images):
        raise Failure(f"no image of {', '.join(sorted(missing))}")


def to_artifacts(images: Images) -> dict:
    return {"builds": [{"imageName": name, "tag": reference} for name, reference in sorted(images.items())]}
