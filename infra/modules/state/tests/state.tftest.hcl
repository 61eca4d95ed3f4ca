mock_provider "google" {}

variables {
  bucket = "slipway-test-states"
  region = "europe-west1"
}

run "bucket" {
  command = plan

  assert {
    condition     = google_storage_bucket.states.public_access_prevention == "enforced"
    error_message = "states are never public"
  }
  assert {
    condition     = google_storage_bucket.states.uniform_bucket_level_access
    error_message = "access is by IAM alone"
  }
  assert {
    condition     = one(google_storage_bucket.states.versioning).enabled
    error_message = "a state that was overwritten can be had again"
  }
  assert {
    condition     = one(google_storage_bucket.states.soft_delete_policy).retention_duration_seconds >= 604800
    error_message = "a state that was deleted can be had again"
  }
  assert {
    condition     = !google_storage_bucket.states.force_destroy
    error_message = "a bucket with states in it cannot be destroyed"
  }
  assert {
    condition     = alltrue([for rule in google_storage_bucket.states.lifecycle_rule : one(rule.condition).with_state == "ARCHIVED"])
    error_message = "no rule deletes a state that is in use"
  }
}

run "rejects_a_name_with_capitals" {
  command = plan
  variables { bucket = "States" }
  expect_failures = [var.bucket]
}
