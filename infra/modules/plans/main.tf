# Who plans what a pull request changes. A pull request's author decides what its jobs run, so they are believed in a pool of their
# own, as one account, which reads the project and the states and changes nothing. Pull requests from forks get no token.
locals {
  condition = join(" && ", [
    "assertion.repository == '${var.repository}'",
    "assertion.repository_id == '${var.repository_id}'",
    "assertion.environment == 'plan-${var.environment}'",
    "assertion.event_name == 'pull_request'",
  ])
  roles = toset([
    "roles/cloudkms.publicKeyViewer", # modules/attestor reads the public key, which viewers may not
    "roles/iam.securityReviewer",
    "roles/serviceusage.serviceUsageConsumer",
    "roles/viewer",
  ])
}

resource "google_iam_workload_identity_pool" "plans" {
  workload_identity_pool_id = "pull-requests"
  display_name              = "Pull requests"
  description               = "Jobs that plan, of ${var.repository}."
}

resource "google_iam_workload_identity_pool_provider" "plans" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.plans.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"
  attribute_condition                = local.condition
  attribute_mapping                  = { "google.subject" = "assertion.sub" }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "plans" {
  account_id   = "ci-plan"
  display_name = "CI: plan"
  description  = "Reads what plans of pull requests need."
}

# For every job that the pool believes: local.condition has named repository, environment and event. The subject is not compared,
# because its format differs: repositories created since 2026-07-15 have repo:OWNER@ID/NAME@ID in it.
resource "google_service_account_iam_member" "plans" {
  service_account_id = google_service_account.plans.name
  role               = "roles/iam.workloadIdentityUser"
  member = join("/", [
    "principalSet://iam.googleapis.com/projects/${var.project_number}/locations/global/workloadIdentityPools",
    "${google_iam_workload_identity_pool.plans.workload_identity_pool_id}/*",
  ])
}

resource "google_project_iam_member" "plans" {
  for_each = local.roles
  project  = var.project
  role     = each.value
  member   = google_service_account.plans.member
}

resource "google_storage_bucket_iam_member" "plans" {
  bucket = var.bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.plans.member
}
