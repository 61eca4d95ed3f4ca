output "name" {
  description = "The cluster's name."
  value       = google_container_cluster.cluster.name
}

output "location" {
  description = "Where it is."
  value       = google_container_cluster.cluster.location
}
