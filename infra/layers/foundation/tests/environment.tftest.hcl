# With an environment's values: terraform test -var-file=../../environments/ENV/{backend,environment,foundation}.tfvars
mock_provider "google" {
  mock_resource "google_artifact_registry_repository" {
    override_during = plan
    defaults        = { project = "project" }
  }
}

run "foundation" {
  command = plan

  assert {
    condition     = output.registry == "${var.environment.region}-docker.pkg.dev/project/slipway"
    error_message = "images are in the environment's region"
  }
}
