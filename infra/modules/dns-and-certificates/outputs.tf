output "address" {
  description = "The Gateway's."
  value       = google_compute_global_address.gateway.address
}

output "name_servers" {
  description = "For the NS records of the domain, in its parent's zone."
  value       = google_dns_managed_zone.zone.name_servers
}

output "ds_record" {
  description = "For the DS record of the domain, in its parent's zone: key tag, algorithm, digest type, digest."
  value       = try(data.google_dns_keys.zone.key_signing_keys[0].ds_record, null)
}

output "urls" {
  description = "Where the services are: host => URL."
  value       = { for host in var.hosts : host => "https://${host}.${var.domain}" }
}
