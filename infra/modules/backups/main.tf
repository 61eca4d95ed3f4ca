# A bucket for encrypted backups, in another location than the cluster. The job that writes them can add an object and do
# nothing else: it cannot read, overwrite or delete. Nobody can delete one before var.retain_days have passed, its owner
# included, unless they first remove the retention policy, which the audit log records.
resource "google_storage_bucket" "backups" {
  name                        = var.bucket
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  retention_policy {
    retention_period = tostring(var.retain_days * 24 * 60 * 60)
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = var.keep_days
    }
  }

  soft_delete_policy {
    retention_duration_seconds = 7 * 24 * 60 * 60
  }

  lifecycle {
    prevent_destroy = true
  }
}

# The job is a principal by its Kubernetes service account. The cluster's pool of identities is made with the project's
# first cluster: this comes after it.
resource "google_storage_bucket_iam_member" "writer" {
  bucket = google_storage_bucket.backups.name
  role   = "roles/storage.objectCreator"
  member = join("/", [
    "principal://iam.googleapis.com/projects/${var.project_number}/locations/global/workloadIdentityPools",
    "${var.project}.svc.id.goog/subject/ns/${var.namespace}/sa/${var.service_account}",
  ])
}

resource "google_storage_bucket_iam_member" "readers" {
  for_each = var.readers
  bucket   = google_storage_bucket.backups.name
  role     = "roles/storage.objectViewer"
  member   = each.value
}
