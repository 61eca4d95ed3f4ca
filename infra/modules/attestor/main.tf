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
      id = "//cloudkms.googleapis.com/v1/${data.google_kms_crypto_key_version.attestations.id}"
      pkix_public_key {
        public_key_pem      = data.google_kms_crypto_key_version.attestations.public_key[0].pem
        signature_algorithm = "ECDSA_P256_SHA256"
      }
    }
  }
}

# What gcloud beta container binauthz attestations sign-and-create needs besides the key: find the attestor, attach to the note,
# store the attestation.
resource "google_binary_authorization_attestor_iam_member" "attester" {
  attestor = google_binary_authorization_attestor.attestor.name
  role     = "roles/binaryauthorization.attestorsViewer"
  member   = var.attester
}

resource "google_container_analysis_note_iam_member" "attester" {
  note   = google_container_analysis_note.attestor.name
  role   = "roles/containeranalysis.notes.attacher"
  member = var.attester
}

resource "google_project_iam_member" "attester" {
  project = var.project
  role    = "roles/containeranalysis.occurrences.editor"
  member  = var.attester
}
