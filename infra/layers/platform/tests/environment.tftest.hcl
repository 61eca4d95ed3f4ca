# With an environment's values: terraform test -var-file=../../environments/ENV/{backend,environment,platform}.tfvars
mock_provider "google" {}

run "platform" {
  command = plan

  assert {
    condition     = output.urls["countries"] == "https://countries.${var.environment.domain}"
    error_message = "services are below the environment's domain"
  }
  assert {
    condition     = google_iap_web_iam_member.notes["smoke"].member == "serviceAccount:smoke-test@${var.environment.project}.iam.gserviceaccount.com"
    error_message = "a release can test notes"
  }
}

run "rejects_backups_beside_the_cluster" {
  command = plan
  variables {
    backup_location = "EUROPE-WEST1"
  }
  expect_failures = [var.backup_location]
}
