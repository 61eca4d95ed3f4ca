# Keys in Cloud KMS: one encrypts the cluster's Secrets, one signs attestations. The private parts never leave KMS. A key
# ring cannot be deleted, and a key whose versions are destroyed takes what it encrypted with it.
locals {
  # GKE's own account in the project; it exists as soon as container.googleapis.com is enabled.
  gke = "serviceAccount:service-${var.project_number}@container-engine-robot.iam.gserviceaccount.com"
}

resource "google_kms_key_ring" "ring" {
  name     = var.name
  location = var.region
}

resource "google_kms_crypto_key" "secrets" {
  name            = "secrets"
  key_ring        = google_kms_key_ring.ring.id
  purpose         = "ENCRYPT_DECRYPT"
  rotation_period = "${90 * 24 * 60 * 60}s"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "secrets" {
  crypto_key_id = google_kms_crypto_key.secrets.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = local.gke
}

# An attestation says: the CI of this environment has verified signature, bill of materials and provenance of this digest.
resource "google_kms_crypto_key" "attestations" {
  name     = "attestations"
  key_ring = google_kms_key_ring.ring.id
  purpose  = "ASYMMETRIC_SIGN"

  version_template {
    algorithm = "EC_SIGN_P256_SHA256"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "attester" {
  crypto_key_id = google_kms_crypto_key.attestations.id
  role          = "roles/cloudkms.signerVerifier"
  member        = var.attester
}
