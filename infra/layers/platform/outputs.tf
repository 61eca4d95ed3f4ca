output "address" {
  description = "The Gateway's address."
  value       = module.edge.address
}

output "name_servers" {
  description = "For the NS records of the environment's domain, in its parent's zone."
  value       = module.edge.name_servers
}

output "ds_record" {
  description = "For the DS record of the environment's domain, in its parent's zone."
  value       = module.edge.ds_record
}

output "urls" {
  description = "Where the services are."
  value       = module.edge.urls
}

output "backups" {
  description = "The bucket with the backups."
  value       = module.backups.bucket
}
