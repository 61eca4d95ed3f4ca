"""The IAM permissions that each program needs, and those that roles contain: Terraform's schema knows neither.

ROLES: from https://docs.cloud.google.com/iam/docs/roles-permissions, as of 2026-08; of each role only what NEEDS names. An
account in Google Cloud prints a role with `gcloud iam roles describe ROLE`.
"""

from __future__ import annotations

from dataclasses import dataclass

ROLES: dict[str, set[str]] = {
    "roles/binaryauthorization.attestorsVerifier": {
        "binaryauthorization.attestors.get",
        "binaryauthorization.attestors.verifyImageAttested",
    },
    "roles/binaryauthorization.attestorsViewer": {"binaryauthorization.attestors.get"},
    "roles/cloudkms.publicKeyViewer": {"cloudkms.cryptoKeyVersions.viewPublicKey"},
    "roles/cloudkms.signerVerifier": {
        "cloudkms.cryptoKeyVersions.useToSign",
        "cloudkms.cryptoKeyVersions.viewPublicKey",
    },
    "roles/container.clusterViewer": {"container.clusters.connect", "container.clusters.get"},
    "roles/container.developer": {
        "container.clusters.connect",
        "container.clusters.get",
        "container.deployments.update",
    },
    "roles/container.viewer": {"container.clusters.connect", "container.clusters.get"},
    "roles/containeranalysis.notes.attacher": {"containeranalysis.notes.attachOccurrence"},
    "roles/containeranalysis.notes.occurrences.viewer": {"containeranalysis.notes.listOccurrences"},
    "roles/containeranalysis.occurrences.editor": {"containeranalysis.occurrences.create"},
    "roles/iam.serviceAccountOpenIdTokenCreator": {"iam.serviceAccounts.getOpenIdToken"},
    "roles/iam.serviceAccountTokenCreator": {
        "iam.serviceAccounts.getAccessToken",
        "iam.serviceAccounts.getOpenIdToken",
    },
    "roles/viewer": {
        "binaryauthorization.attestors.get",
        "cloudkms.cryptoKeyVersions.get",
        "container.clusters.get",
    },
}


@dataclass(frozen=True)
class Need:
    command: str
    grants: str  # a pattern of the addresses of the resources that grant roles to who runs it
    permissions: frozenset[str]


# The permissions follow from the calls in gcloud's own source (lib/surface, lib/googlecloudsdk) and in the provider's.
NEEDS = (
    Need(
        "gcloud container binauthz attestations list --attestor",  # attestors.get, notes.occurrences.list
        r"module\.(attestor|keys)\..*\.attester\b",
        frozenset({"binaryauthorization.attestors.get", "containeranalysis.notes.listOccurrences"}),
    ),
    Need(
        # attestors.get, getPublicKey, asymmetricSign, validateAttestationOccurrence, occurrences.create
        "gcloud beta container binauthz attestations sign-and-create --validate",
        r"module\.(attestor|keys)\..*\.attester\b",
        frozenset(
            {
                "binaryauthorization.attestors.get",
                "binaryauthorization.attestors.verifyImageAttested",
                "cloudkms.cryptoKeyVersions.useToSign",
                "cloudkms.cryptoKeyVersions.viewPublicKey",
                "containeranalysis.notes.attachOccurrence",
                "containeranalysis.occurrences.create",
            }
        ),
    ),
    Need(
        # generateAccessToken, then generateIdToken
        "gcloud auth print-identity-token --impersonate-service-account",
        r'module\.identity\.google_service_account_iam_member\.smoke\["ci"\]',
        frozenset({"iam.serviceAccounts.getAccessToken", "iam.serviceAccounts.getOpenIdToken"}),
    ),
    Need(
        "terraform plan of foundation, by ci-plan",  # data.google_kms_crypto_key_version reads .../publicKey
        r"module\.plans\.google_project_iam_member\.",
        frozenset(
            {
                "binaryauthorization.attestors.get",
                "cloudkms.cryptoKeyVersions.get",
                "cloudkms.cryptoKeyVersions.viewPublicKey",
            }
        ),
    ),
    Need(
        "kubectl through the control plane's DNS name, by ci-deploy",
        r'module\.identity\.google_project_iam_member\.ci\["deploy ',
        frozenset({"container.clusters.get", "container.clusters.connect", "container.deployments.update"}),
    ),
    Need(
        "kubectl through the control plane's DNS name, by developers",
        r"module\.identity\.google_project_iam_member\.developers\[",
        frozenset({"container.clusters.get", "container.clusters.connect"}),
    ),
)
