mock_provider "google" {}

variables {
  name           = "slipway"
  project_number = 123456789012
  region         = "europe-west1"
  attester       = "serviceAccount:ci-deploy@slipway-test.iam.gserviceaccount.com"
}

run "secrets" {
  command = plan

  assert {
    condition     = google_kms_key_ring.ring.location == "europe-west1"
    error_message = "the keys are where the cluster is"
  }
  assert {
    condition     = google_kms_crypto_key.secrets.purpose == "ENCRYPT_DECRYPT" && google_kms_crypto_key.secrets.rotation_period == "7776000s"
    error_message = "the key of the Secrets is rotated every 90 days"
  }
  assert {
    condition     = google_kms_crypto_key_iam_member.secrets.member == "serviceAccount:service-123456789012@container-engine-robot.iam.gserviceaccount.com"
    error_message = "GKE itself encrypts, in this project"
  }
  assert {
    condition     = google_kms_crypto_key_iam_member.secrets.role == "roles/cloudkms.cryptoKeyEncrypterDecrypter"
    error_message = "GKE may use the key, and not administer it"
  }
}

run "attestations" {
  command = plan

  assert {
    condition     = google_kms_crypto_key.attestations.purpose == "ASYMMETRIC_SIGN" && one(google_kms_crypto_key.attestations.version_template).algorithm == "EC_SIGN_P256_SHA256"
    error_message = "attestations are signed with ECDSA on P-256"
  }
  assert {
    condition     = google_kms_crypto_key_iam_member.attester.role == "roles/cloudkms.signerVerifier"
    error_message = "who attests may sign, and not administer the key"
  }
}
