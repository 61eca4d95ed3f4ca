mock_provider "google" {}

variables {
  bucket          = "slipway-test-backups"
  project         = "slipway-test"
  project_number  = 123456789012
  location        = "EU"
  namespace       = "slipway"
  service_account = "etcd-backup"
  readers         = { operators = "group:operators@example.com" }
}

run "kept" {
  command = plan

  assert {
    condition     = google_storage_bucket.backups.location == "EU"
    error_message = "backups are where told"
  }
  assert {
    condition     = tostring(one(google_storage_bucket.backups.retention_policy).retention_period) == "2592000"
    error_message = "nobody deletes a backup within 30 days"
  }
  assert {
    condition     = one(one(google_storage_bucket.backups.lifecycle_rule).condition).age == 35
    error_message = "a backup is deleted after 35 days"
  }
  assert {
    condition     = google_storage_bucket.backups.public_access_prevention == "enforced"
    error_message = "backups are never public"
  }
  assert {
    condition     = !google_storage_bucket.backups.force_destroy
    error_message = "a bucket with backups in it cannot be destroyed"
  }
}

run "access" {
  command = plan

  assert {
    condition     = google_storage_bucket_iam_member.writer.role == "roles/storage.objectCreator"
    error_message = "the job adds backups, and neither reads nor deletes any"
  }
  assert {
    condition     = google_storage_bucket_iam_member.writer.member == "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/slipway-test.svc.id.goog/subject/ns/slipway/sa/etcd-backup"
    error_message = "only the job writes backups"
  }
  assert {
    condition     = { for name, grant in google_storage_bucket_iam_member.readers : grant.member => grant.role } == { "group:operators@example.com" = "roles/storage.objectViewer" }
    error_message = "who restores may read, and neither change nor delete"
  }
}

run "rejects_retaining_for_longer_than_keeping" {
  command = plan
  variables {
    retain_days = 35
  }
  expect_failures = [var.retain_days]
}
