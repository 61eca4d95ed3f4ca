# With an environment's values: terraform test -var-file=../../environments/ENV/{backend,environment,foundation}.tfvars
mock_provider "google" {}

run "foundation" {
  command = plan

  assert {
    condition     = output.registry == "${var.environment.region}-docker.pkg.dev/${var.environment.project}/slipway"
    error_message = "images are in the environment's region"
  }
}

run "rejects_prod_with_a_next" {
  command = plan
  variables {
    environment = { name = "prod", project = "p", project_number = 1, region = "europe-west1", domain = "example.com" }
    ci = {
      repository    = "example/slipway"
      repository_id = 1
      ref           = "refs/heads/main"
      workflows     = { deploy = "promote.yaml" }
    }
    next_project = "slipway-after"
  }
  expect_failures = [var.next_project]
}

run "rejects_quotas_without_a_contact" {
  command = plan
  variables {
    quotas  = { CPUS-per-project-region = 100 }
    contact = null
  }
  expect_failures = [var.contact]
}
