output "address" {
  description = "What stands before an image's name."
  value       = "${var.region}-docker.pkg.dev/${google_artifact_registry_repository.images.project}/${var.name}"
}
