# Images of the services. A tag is the revision that an image was built of or, where it was promoted to, the beginning of its
# digest; it never moves, and whoever pushes cannot change what was pushed.
#
# Signatures and attestations have a repository of their own, with the same names: Artifact Registry does not list what
# refers to an image, so cosign keeps that list in a tag, which moves. Each signature is verified, so it may.
#
# Where tags never move, Artifact Registry refuses to delete a tagged image. So the cleanup policies delete untagged images and
# signatures; docs/gke.md (What it costs) says what the rest costs, and how to delete it.
locals {
  repositories = {
    images = {
      id             = var.name
      description    = "Images of the services; tags never move."
      immutable_tags = true
      versions       = 1
    }
    signatures = {
      id             = "${var.name}-signatures"
      description    = "Signatures and attestations of the images in ${var.name}."
      immutable_tags = false
      versions       = 6 # of each image: a signature, two attestations, and the list after each of them
    }
  }
  readers = { for pair in setproduct(keys(local.repositories), keys(var.readers)) : join("/", pair) => pair }
  writers = { for pair in setproduct(keys(local.repositories), keys(var.writers)) : join("/", pair) => pair }
}

resource "google_artifact_registry_repository" "repositories" {
  for_each               = local.repositories
  repository_id          = each.value.id
  location               = var.region
  description            = each.value.description
  format                 = "DOCKER"
  cleanup_policy_dry_run = false

  docker_config {
    immutable_tags = each.value.immutable_tags
  }

  # What is kept wins over what is deleted: the last images of each name stay, however old, with all that belongs to them.
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"
    most_recent_versions {
      keep_count = var.keep.images * each.value.versions
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
  for_each   = local.readers
  repository = google_artifact_registry_repository.repositories[each.value[0]].name
  location   = var.region
  role       = "roles/artifactregistry.reader"
  member     = var.readers[each.value[1]]
}

resource "google_artifact_registry_repository_iam_member" "writers" {
  for_each   = local.writers
  repository = google_artifact_registry_repository.repositories[each.value[0]].name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = var.writers[each.value[1]]
}
