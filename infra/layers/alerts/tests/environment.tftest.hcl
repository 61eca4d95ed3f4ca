# With an environment's values: terraform test -var-file=../../environments/ENV/{backend,environment,alerts}.tfvars
mock_provider "google" {}

override_data {
  target = data.terraform_remote_state.cluster
  values = { outputs = { name = "slipway" } }
}

run "alerts" {
  command = plan

  assert {
    condition     = contains(output.alerts, "RequestsFailing")
    error_message = "budgets that burn are alerts"
  }
}

run "rejects_prod_with_nobody_to_tell" {
  command = plan
  variables {
    environment = { name = "prod", project = "p", project_number = 1, region = "europe-west1", domain = "example.com" }
    emails      = []
  }
  expect_failures = [var.emails]
}
