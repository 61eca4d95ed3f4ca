output "address" {
  description = "What stands before an image's name."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${var.name}"
}
