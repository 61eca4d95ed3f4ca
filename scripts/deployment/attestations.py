"""attestations -- what binary authorization asks of an image that is to start: that the CI of the environment has verified
it. Made after verification, by a key in KMS that only the deploying account may use (infra/modules/keys, attestor)."""

from __future__ import annotations

from deployment.images import Images
from deployment.shell import need, run, say

GROUP = ("container", "binauthz", "attestations")


def attest(images: Images, project: str, region: str) -> None:
    """Once for each digest: a second time there is nothing left to do."""
    need("gcloud")
    attestor = f"projects/{project}/attestors/slipway"
    ring = f"projects/{project}/locations/{region}/keyRings/slipway"
    key = f"{ring}/cryptoKeys/attestations/cryptoKeyVersions/1"
    made = 0
    for reference in images.values():
        about = (f"--attestor={attestor}", f"--artifact-url={reference}")
        if run("gcloud", *GROUP, "list", *about, "--format=value(name)", timeout=60).strip():
            continue
        run("gcloud", "beta", *GROUP, "sign-and-create", *about, f"--keyversion={key}", timeout=60)
        made += 1
    say(f"{len(images)} images are attested, {made} of them now")
