output "address" {
  description = "The Gateway's address."
  value       = module.edge.address
}

output "name_servers" {
  description = "For the NS records of the environment's domain, in its parent's zone."
  value       = module.edge.name_servers
}

output "urls" {
  description = "Where the services are."
  value       = module.edge.urls
}
