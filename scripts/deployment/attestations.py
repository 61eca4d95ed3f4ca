"""attestations -- Binary Authorization starts only images that the environment's CI has attested. Attestations are made after
verification, with a key in KMS that only the deploying account may use (infra/modules/keys, attestor)."""

from __future__ import annotations

from deployment.images import Images
from deployment.shell import need, run, say

GROUP = ("container", "binauthz", "attestations")


def attest(images: Images, project: str, region: str) -> None:
    """Attests each digest that has no attestation yet.

    gcloud lists and stores attestations in its current project, so each call names the project. If the attestor cannot verify
    what was signed, `--validate` only asks whether to store it anyway, and takes the end of its input for yes: answer no.
    """
    need("gcloud")
    attestor = f"projects/{project}/attestors/slipway"
    ring = f"projects/{project}/locations/{region}/keyRings/slipway"
    key = f"{ring}/cryptoKeys/attestations/cryptoKeyVersions/1"
    made = 0
    for reference in images.values():
        about = (f"--project={project}", f"--attestor={attestor}", f"--artifact-url={reference}")
        if run("gcloud", *GROUP, "list", *about, "--format=value(name)", timeout=60).strip():
            continue
        run("gcloud", "beta", *GROUP, "sign-and-create", *about, f"--keyversion={key}", "--validate",
            stdin="n\n", env={"CLOUDSDK_CORE_DISABLE_PROMPTS": "false"}, timeout=60)  # fmt: skip
        made += 1
    say(f"{len(images)} images are attested, {made} of them now")
