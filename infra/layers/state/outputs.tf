output "bucket" {
  description = "The bucket with the environment's states."
  value       = module.state.bucket
}
