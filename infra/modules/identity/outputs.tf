output "provider" {
  description = "What the CI names when it shows its token."
  value       = google_iam_workload_identity_pool_provider.ci.name
}

output "accounts" {
  description = "The CI's accounts: job => e-mail address."
  value       = { for name, account in google_service_account.ci : name => account.email }
}

output "image_readers" {
  description = "Who pulls images: name => member."
  value = merge(
    { nodes = google_service_account.nodes.member },
    var.next_project == null ? {} : { next = "serviceAccount:ci-images@${var.next_project}.iam.gserviceaccount.com" },
  )
}

output "image_writers" {
  description = "Who pushes images: name => member."
  value       = { ci = google_service_account.ci["images"].member }
}

output "deployer" {
  description = "The CI's account that deploys: an IAM member."
  value       = google_service_account.ci["deploy"].member
}

output "node_service_account" {
  description = "The nodes' identity: its e-mail address."
  value       = google_service_account.nodes.email
}
