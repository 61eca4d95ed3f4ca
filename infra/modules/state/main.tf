# The bucket with all states of an environment. Its own state is in it, too: `scripts/infra bootstrap` puts it there.
resource "google_storage_bucket" "states" {
  name                        = var.bucket
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  # Every state there ever was can be had again: the last 100 versions, and those of the last 90 days.
  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      num_newer_versions         = 100
      days_since_noncurrent_time = 90
      with_state                 = "ARCHIVED"
    }
  }

  soft_delete_policy {
    retention_duration_seconds = 30 * 24 * 60 * 60
  }

  lifecycle {
    prevent_destroy = true
  }
}
