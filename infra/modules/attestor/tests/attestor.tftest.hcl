mock_provider "google" {
  mock_data "google_kms_crypto_key_version" {
    # The provider's data source prefixes its id: https://github.com/hashicorp/terraform-provider-google,
    # google/services/kms/data_source_google_kms_crypto_key_version.go.
    defaults = { id = "//cloudkms.googleapis.com/v1/projects/p/cryptoKeyVersions/1", public_key = [{ algorithm = "x", pem = "PEM" }] }
  }
}

variables {
  name     = "slipway"
  project  = "slipway-test"
  key      = "projects/slipway-test/locations/europe-west1/keyRings/slipway/cryptoKeys/attestations"
  attester = "serviceAccount:ci-deploy@slipway-test.iam.gserviceaccount.com"
}

run "attestor" {
  command = plan

  assert {
    condition     = one(one(google_binary_authorization_attestor.attestor.attestation_authority_note).public_keys).id == "//cloudkms.googleapis.com/v1/projects/p/cryptoKeyVersions/1"
    error_message = "the attestor trusts the key in KMS"
  }
  assert {
    condition     = output.key_version == "projects/p/cryptoKeyVersions/1"
    error_message = "the key version is named as gcloud names it"
  }
  assert {
    condition     = one(one(one(google_binary_authorization_attestor.attestor.attestation_authority_note).public_keys).pkix_public_key).public_key_pem == "PEM"
    error_message = "the attestor has the key's public part"
  }
  assert {
    condition     = one(one(one(google_binary_authorization_attestor.attestor.attestation_authority_note).public_keys).pkix_public_key).signature_algorithm == "ECDSA_P256_SHA256"
    error_message = "the attestor expects the key's algorithm"
  }
  assert {
    condition     = [for grant in google_container_analysis_note_iam_member.attester : grant.role] == ["roles/containeranalysis.notes.attacher", "roles/containeranalysis.notes.occurrences.viewer"]
    error_message = "who attests may attach to the note and list what is attached, and not change the note"
  }
  assert {
    condition     = google_project_iam_member.attester.role == "roles/containeranalysis.occurrences.editor"
    error_message = "who attests may store attestations"
  }
  assert {
    condition     = google_binary_authorization_attestor_iam_member.attester.role == "roles/binaryauthorization.attestorsVerifier"
    error_message = "who attests may read the attestor and have it verify, and not change it"
  }
  assert {
    condition = toset(concat(
      [google_binary_authorization_attestor_iam_member.attester.member, google_project_iam_member.attester.member],
      [for grant in google_container_analysis_note_iam_member.attester : grant.member],
    )) == toset([var.attester])
    error_message = "all of it is granted to one account"
  }
}
