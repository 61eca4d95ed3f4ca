output "provider" {
  description = "What a job that plans names when it shows its token."
  value       = google_iam_workload_identity_pool_provider.plans.name
}

output "account" {
  description = "Who plans: an e-mail address."
  value       = google_service_account.plans.email
}
