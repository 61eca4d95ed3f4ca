output "network" {
  description = "The network's id."
  value       = google_compute_network.network.id
}

output "subnetwork" {
  description = "The subnetwork's id; its secondary ranges are called pods and services."
  value       = google_compute_subnetwork.nodes.id
}
