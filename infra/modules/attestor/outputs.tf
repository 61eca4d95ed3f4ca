output "attestor" {
  description = "The attestor's id."
  value       = google_binary_authorization_attestor.attestor.id
}

output "key_version" {
  description = "The version of the key that signs attestations: projects/..."
  value       = trimprefix(data.google_kms_crypto_key_version.attestations.id, "//cloudkms.googleapis.com/v1/")
}
