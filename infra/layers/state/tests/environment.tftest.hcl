# With an environment's values: terraform test -var-file=../../environments/ENV/{backend,environment}.tfvars
mock_provider "google" {}

run "state" {
  command = plan

  assert {
    condition     = output.bucket == var.bucket
    error_message = "the bucket is the one that all layers name"
  }
}

run "rejects_a_name_with_capitals" {
  command = plan
  variables {
    environment = { name = "Prod", project = "p", project_number = 1, region = "europe-west1", domain = "example.com" }
  }
  expect_failures = [var.environment]
}
