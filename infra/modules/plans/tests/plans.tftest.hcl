mock_provider "google" {}

variables {
  project        = "slipway-test"
  project_number = 123456789012
  environment    = "prod"
  repository     = "example/slipway"
  repository_id  = 987654321
  bucket         = "states"
}

run "reads" {
  command = plan

  assert {
    condition     = google_iam_workload_identity_pool_provider.plans.attribute_condition == "assertion.repository == 'example/slipway' && assertion.repository_id == '987654321' && assertion.environment == 'plan-prod' && assertion.event_name == 'pull_request'"
    error_message = "only pull requests of the repository are believed, in the environment for plans"
  }
  assert {
    condition     = google_service_account_iam_member.plans.member == "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/pull-requests/*"
    error_message = "the account is for every job that the pool believes, whatever the format of its subject"
  }
  assert {
    condition     = [for grant in google_project_iam_member.plans : grant.role] == ["roles/cloudkms.publicKeyViewer", "roles/iam.securityReviewer", "roles/serviceusage.serviceUsageConsumer", "roles/viewer"]
    error_message = "who plans only reads"
  }
  assert {
    condition     = google_storage_bucket_iam_member.plans.bucket == "states" && google_storage_bucket_iam_member.plans.role == "roles/storage.objectViewer"
    error_message = "who plans reads the states, and locks none"
  }
}
