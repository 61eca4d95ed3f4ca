# Whose word counts when an image is to start: binary authorization asks for an attestation that this attestor can check
# with the public part of a key in KMS.
data "google_kms_crypto_key_version" "attestations" {
  crypto_key = var.key
}

resource "google_container_analysis_note" "attestor" {
  name = var.name

  attestation_authority {
    hint {
      human_readable_name = "Verified by the CI"
    }
  }
}

resource "google_binary_authorization_attestor" "attestor" {
  name = var.name

  attestation_authority_note {
    note_reference = google_container_analysis_note.attestor.name

    public_keys {
      id = data.google_kms_crypto_key_version.attestations.id # //cloudkms.googleapis.com/v1/projects/..., which gcloud signs as
      pkix_public_key {
        public_key_pem      = data.google_kms_crypto_key_version.attestations.public_key[0].pem
        signature_algorithm = "ECDSA_P256_SHA256"
      }
    }
  }
}

# What `gcloud container binauthz attestations list` and `sign-and-create --validate` need besides the key: read the attestor and
# ask it to verify an attestation, list what is attached to the note and attach to it, store the attestation. The permissions of
# each command are in tests/infra/permissions.py.
resource "google_binary_authorization_attestor_iam_member" "attester" {
  attestor = google_binary_authorization_attestor.attestor.name
  role     = "roles/binaryauthorization.attestorsVerifier"
  member   = var.attester
}

resource "google_container_analysis_note_iam_member" "attester" {
  for_each = toset(["roles/containeranalysis.notes.attacher", "roles/containeranalysis.notes.occurrences.viewer"])
  note     = google_container_analysis_note.attestor.name
  role     = each.value
  member   = var.attester
}

resource "google_project_iam_member" "attester" {
  project = var.project
  role    = "roles/containeranalysis.occurrences.editor"
  member  = var.attester
}
