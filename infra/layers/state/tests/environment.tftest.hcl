# With an environment's values: terraform test -var-file=../../environments/ENV/{backend,environment}.tfvars
mock_provider "google" {}

run "state" {
  command = plan

  assert {
    condition     = output.bucket == var.bucket
    error_message = "the bucket is the one that all layers name"
  }
}
