# With an environment's values: terraform test -var-file=../../environments/ENV/{backend,environment,cluster}.tfvars
mock_provider "google" {}

override_data {
  target = data.terraform_remote_state.foundation
  values = {
    outputs = {
      network              = "projects/p/global/networks/slipway"
      subnetwork           = "projects/p/regions/r/subnetworks/slipway"
      node_service_account = "nodes@p.iam.gserviceaccount.com"
      secrets_key          = "projects/p/locations/r/keyRings/slipway/cryptoKeys/secrets"
      attestor             = "projects/p/attestors/slipway"
    }
  }
}

run "cluster" {
  command = plan

  assert {
    condition     = output.location == var.environment.region
    error_message = "the cluster is spread over the region"
  }
}

run "rejects_prod_with_any_image" {
  command = plan
  variables {
    environment     = { name = "prod", project = "p", project_number = 1, region = "europe-west1", domain = "example.com" }
    only_own_images = false
  }
  expect_failures = [var.only_own_images]
}
