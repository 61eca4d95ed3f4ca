# Images of the services. A tag is the revision that an image was built of or, where it was promoted to, the beginning of its
# digest; it never moves, and whoever pushes cannot change what was pushed.
locals {
  # An image that is deployed is a version of its name; so are its signature, its bill of materials and its provenance.
  versions_an_image = 4
}

resource "google_artifact_registry_repository" "images" {
  repository_id          = var.name
  location               = var.region
  description            = "Images of the services; tags never move."
  format                 = "DOCKER"
  cleanup_policy_dry_run = false

  docker_config {
    immutable_tags = true
  }

  # What is kept wins over what is deleted: the last images of each name stay, however old, with all that belongs to them.
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = var.keep.images * local.versions_an_image
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "${var.keep.days * 24 * 60 * 60}s"
    }
  }
}

resource "google_artifact_registry_repository_iam_member" "readers" {
  for_each   = var.readers
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.reader"
  member     = each.value
}

resource "google_artifact_registry_repository_iam_member" "writers" {
  for_each   = var.writers
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = each.value
}
