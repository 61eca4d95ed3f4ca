output "network" {
  description = "The network's id."
  value       = module.network.network
}

output "subnetwork" {
  description = "The subnetwork's id."
  value       = module.network.subnetwork
}

output "registry" {
  description = "What stands before an image's name."
  value       = module.registry.address
}

output "node_service_account" {
  description = "The nodes' identity."
  value       = module.identity.node_service_account
}

output "ci" {
  description = "What the CI's jobs are configured with: the provider and the accounts."
  value = {
    provider = module.identity.provider
    accounts = module.identity.accounts
  }
}

output "plans" {
  description = "What jobs that plan pull requests name: the provider and the account."
  value       = { provider = module.plans.provider, account = module.plans.account }
}

output "secrets_key" {
  description = "The id of the key that encrypts the cluster's Secrets."
  value       = module.keys.secrets_key
}

output "attestor" {
  description = "The id of the attestor whose attestation an image needs."
  value       = module.attestor.attestor
}

output "attestation_key" {
  description = "The version of the key that signs attestations."
  value       = module.attestor.key_version
}
