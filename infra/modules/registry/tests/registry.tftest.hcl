mock_provider "google" {}

variables {
  name    = "slipway"
  project = "slipway-test"
  region  = "europe-west1"
  readers = { nodes = "serviceAccount:nodes@example.iam.gserviceaccount.com" }
  writers = { ci = "serviceAccount:ci@example.iam.gserviceaccount.com" }
}

run "images" {
  command = plan

  assert {
    condition     = one(google_artifact_registry_repository.images.docker_config).immutable_tags
    error_message = "tags never move"
  }
  assert {
    condition = anytrue([
      for policy in google_artifact_registry_repository.images.cleanup_policies :
      policy.action == "KEEP" && try(one(policy.most_recent_versions).keep_count == 80, false)
    ])
    error_message = "20 images are kept, with their signatures and attestations"
  }
  assert {
    condition = anytrue([
      for policy in google_artifact_registry_repository.images.cleanup_policies :
      policy.action == "DELETE" && try(one(policy.condition).older_than == "2592000s", false)
    ])
    error_message = "old images are deleted after 30 days"
  }
  assert {
    condition     = !google_artifact_registry_repository.images.cleanup_policy_dry_run
    error_message = "old images are really deleted"
  }
  assert {
    condition     = google_artifact_registry_repository_iam_member.readers["nodes"].role == "roles/artifactregistry.reader"
    error_message = "who pulls may only read"
  }
  assert {
    condition     = google_artifact_registry_repository_iam_member.writers["ci"].role == "roles/artifactregistry.writer"
    error_message = "who pushes may write, and neither delete nor administer"
  }
}

run "rejects_no_way_back" {
  command = plan
  variables { keep = { images = 9 } }
  expect_failures = [var.keep]
}
