output "alerts" {
  description = "The names of the alerts that rules.yml defines."
  value       = keys(local.rules)
}
