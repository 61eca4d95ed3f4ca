output "name" {
  description = "The cluster's name."
  value       = module.gke.name
}

output "location" {
  description = "Where it is."
  value       = module.gke.location
}
