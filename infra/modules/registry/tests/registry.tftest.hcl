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
    condition     = one(google_artifact_registry_repository.repositories["images"].docker_config).immutable_tags
    error_message = "tags never move"
  }
  assert {
    condition = anytrue([
      for policy in google_artifact_registry_repository.repositories["images"].cleanup_policies :
      policy.action == "KEEP" && try(one(policy.most_recent_versions).keep_count == 20, false)
    ])
    error_message = "20 images are kept"
  }
  assert {
    condition     = !one(google_artifact_registry_repository.repositories["signatures"].docker_config).immutable_tags
    error_message = "the list of an image's signatures is a tag that moves"
  }
  assert {
    condition     = google_artifact_registry_repository.repositories["signatures"].repository_id == "slipway-signatures"
    error_message = "signatures are where scripts/deploy looks for them"
  }
  assert {
    condition = anytrue([
      for policy in google_artifact_registry_repository.repositories["signatures"].cleanup_policies :
      policy.action == "KEEP" && try(one(policy.most_recent_versions).keep_count == 120, false)
    ])
    error_message = "the signatures and attestations of 20 images are kept"
  }
  assert {
    condition = alltrue([
      for name in ["images/nodes", "signatures/nodes"] : contains(keys(google_artifact_registry_repository_iam_member.readers), name)
    ])
    error_message = "who pulls images may read their signatures"
  }
  assert {
    condition = anytrue([
      for policy in google_artifact_registry_repository.repositories["images"].cleanup_policies :
      policy.action == "DELETE" && try(one(policy.condition).older_than == "2592000s", false)
    ])
    error_message = "old images are deleted after 30 days"
  }
  assert {
    condition     = !google_artifact_registry_repository.repositories["images"].cleanup_policy_dry_run
    error_message = "old images are really deleted"
  }
  assert {
    condition     = google_artifact_registry_repository_iam_member.readers["images/nodes"].role == "roles/artifactregistry.reader"
    error_message = "who pulls may only read"
  }
  assert {
    condition     = google_artifact_registry_repository_iam_member.writers["signatures/ci"].role == "roles/artifactregistry.writer"
    error_message = "who pushes may write, and neither delete nor administer"
  }
}

run "rejects_no_way_back" {
  command = plan
  variables { keep = { images = 9 } }
  expect_failures = [var.keep]
}
