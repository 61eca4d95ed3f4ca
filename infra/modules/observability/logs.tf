# Every line goes to the project's bucket _Default, where the logs explorer looks, by the sink that every project has. No
# sink here excludes anything, and nothing else may: the line of a request is what joins two services by its trace. What
# there is beside it are copies and views.
resource "google_logging_project_bucket_config" "default" {
  project          = var.project
  location         = "global"
  bucket_id        = "_Default"
  retention_days   = var.log_days
  enable_analytics = true
}

# What developers may read: what containers print, and neither audit logs nor those of the platform's services.
resource "google_logging_log_view" "services" {
  name        = "services"
  bucket      = google_logging_project_bucket_config.default.id
  description = "Lines of all services, one a request."
  filter      = "resource.type = \"k8s_container\"" # of filters for views the API takes only a few kinds
}

resource "google_logging_log_view_iam_member" "readers" {
  for_each = var.log_readers
  parent   = google_logging_log_view.services.parent
  location = google_logging_log_view.services.location
  bucket   = google_logging_log_view.services.bucket
  name     = google_logging_log_view.services.name
  role     = "roles/logging.viewAccessor"
  member   = each.value
}

# A copy for as long as the law or the curious want it, where keeping is cheap.
resource "google_storage_bucket" "archive" {
  count                       = var.archive_days > 0 ? 1 : 0
  name                        = "${var.project}-log-archive"
  location                    = var.region
  storage_class               = "COLDLINE"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = var.archive_days
    }
  }
}

resource "google_logging_project_sink" "archive" {
  count                  = var.archive_days > 0 ? 1 : 0
  name                   = "archive"
  description            = "A copy of the services' lines; the originals go where they went."
  destination            = "storage.googleapis.com/${google_storage_bucket.archive[0].name}"
  filter                 = "resource.type=\"k8s_container\" AND resource.labels.namespace_name=\"${var.namespace}\""
  unique_writer_identity = true
}

resource "google_storage_bucket_iam_member" "archive" {
  count  = var.archive_days > 0 ? 1 : 0
  bucket = google_storage_bucket.archive[0].name
  role   = "roles/storage.objectCreator"
  member = google_logging_project_sink.archive[0].writer_identity
}
