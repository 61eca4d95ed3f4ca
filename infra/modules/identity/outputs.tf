output "provider" {
  description = "What the CI names when it shows its token."
  value       = google_iam_workload_identity_pool_provider.ci.name
}

output "accounts" {
  description = "The CI's accounts: job => e-mail address."
  value       = { for name, account in google_service_account.ci : name => account.email }
}

output "members" {
  description = "The same as members of IAM policies, and the nodes'."
  value = merge(
    { nodes = google_service_account.nodes.member },
    { for name, account in google_service_account.ci : name => account.member },
  )
}

output "node_service_account" {
  description = "The nodes' identity: its e-mail address."
  value       = google_service_account.nodes.email
}
