output "secrets_key" {
  description = "The id of the key that encrypts the cluster's Secrets."
  value       = google_kms_crypto_key.secrets.id
}

output "attestation_key" {
  description = "The id of the key that signs attestations."
  value       = google_kms_crypto_key.attestations.id
}
