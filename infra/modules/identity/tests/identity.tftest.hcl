mock_provider "google" {}

variables {
  project        = "slipway-test"
  project_number = 123456789012
  environment    = "prod"
  ci = {
    repository    = "example/slipway"
    repository_id = 987654321
    ref           = "refs/heads/main"
    workflows     = { deploy = "deploy.yaml" }
  }
}

run "one_branch" {
  command = plan

  assert {
    condition     = strcontains(google_iam_workload_identity_pool_provider.ci.attribute_condition, "assertion.repository == 'example/slipway' && ")
    error_message = "only jobs of the repository are believed"
  }
  assert {
    condition     = strcontains(google_iam_workload_identity_pool_provider.ci.attribute_condition, "assertion.repository_id == '987654321' && ")
    error_message = "the repository is meant by number, too"
  }
  assert {
    condition     = strcontains(google_iam_workload_identity_pool_provider.ci.attribute_condition, "assertion.environment == 'prod'")
    error_message = "the job runs in the environment, where its reviewers have to agree"
  }
  assert {
    condition     = endswith(google_iam_workload_identity_pool_provider.ci.attribute_condition, " && assertion.ref == 'refs/heads/main'")
    error_message = "the job runs on the branch that is named"
  }
  assert {
    condition     = !strcontains(google_iam_workload_identity_pool_provider.ci.attribute_condition, "||")
    error_message = "every part of the condition must hold"
  }
  assert {
    condition     = one(google_iam_workload_identity_pool_provider.ci.oidc).issuer_uri == "https://token.actions.githubusercontent.com"
    error_message = "tokens of one issuer are believed"
  }
  assert {
    condition = alltrue([
      for binding in google_service_account_iam_member.ci :
      binding.member == "principalSet://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/ci-jobs/attribute.workflow/example/slipway/.github/workflows/deploy.yaml@refs/heads/main"
    ])
    error_message = "an account is for the jobs of one workflow, as it is on the branch"
  }
  assert {
    condition     = google_iam_workload_identity_pool_provider.ci.attribute_mapping["attribute.workflow"] == "assertion.job_workflow_ref"
    error_message = "the workflow is the one that the job itself is in"
  }
  assert {
    condition     = toset(keys(google_service_account.ci)) == toset(["deploy", "images"])
    error_message = "nobody owns the project where no workflow changes the infrastructure"
  }
  assert {
    condition     = [for key in keys(google_project_iam_member.ci) : key if startswith(key, "deploy ")] == ["deploy roles/container.developer"]
    error_message = "who deploys can do nothing else"
  }
  assert {
    condition     = [for key in keys(google_project_iam_member.ci) : key if startswith(key, "images ")] == []
    error_message = "who pushes images can do nothing else"
  }
  assert {
    condition     = google_project_iam_member.nodes.role == "roles/container.defaultNodeServiceAccount"
    error_message = "a node has what a node needs"
  }
  assert {
    condition     = keys(google_service_account_iam_member.smoke) == ["ci"]
    error_message = "nobody but the CI tests as smoke unless named"
  }
  assert {
    condition     = google_service_account_iam_member.smoke["ci"].role == "roles/iam.serviceAccountTokenCreator"
    error_message = "who tests may impersonate smoke as gcloud does it: an access token, then an identity token"
  }
  assert {
    condition     = length(google_project_iam_member.next) == 0 && keys(output.image_readers) == ["nodes"]
    error_message = "nobody of another project comes in unless named"
  }
}

run "owned" {
  command = plan
  variables {
    ci = {
      repository    = "example/slipway"
      repository_id = 987654321
      ref           = "refs/heads/main"
      workflows     = { deploy = "deploy.yaml", infra = "infra.yaml" }
    }
  }

  assert {
    condition     = { for name, binding in google_service_account_iam_member.ci : name => split("/", binding.member)[14] } == { images = "deploy.yaml@refs", deploy = "deploy.yaml@refs", infra = "infra.yaml@refs" }
    error_message = "who deploys does not own the project"
  }
  assert {
    condition     = [for grant in google_project_iam_member.ci : grant.role if strcontains(grant.role, "owner") && grant.role != "roles/certificatemanager.owner" || strcontains(grant.role, "editor")] == []
    error_message = "nobody is owner or editor"
  }
  assert {
    condition     = contains(keys(google_project_iam_member.ci), "infra roles/cloudkms.publicKeyViewer")
    error_message = "who plans the infrastructure reads the public key of attestations"
  }
}

run "deployers" {
  command = plan
  variables {
    deployers = { operators = "group:operators@example.com" }
  }

  assert {
    condition     = google_service_account_iam_member.smoke["operators"].member == "group:operators@example.com"
    error_message = "people who deploy test as the CI does"
  }
}

run "developers" {
  command = plan
  variables {
    developers = { developers = "group:developers@example.com" }
  }

  assert {
    condition     = { for name, grant in google_project_iam_member.developers : name => "${grant.role} ${grant.member}" } == { developers = "roles/container.clusterViewer group:developers@example.com" }
    error_message = "developers may connect to the cluster, and nothing else"
  }
}

run "promoted" {
  command = plan
  variables {
    environment  = "dev"
    next_project = "slipway-next"
  }

  assert {
    condition     = one(google_project_iam_member.next).project == "slipway-test" && one(google_project_iam_member.next).role == "roles/container.viewer"
    error_message = "who promotes may look, and nothing else"
  }
  assert {
    condition     = one(google_project_iam_member.next).member == "serviceAccount:ci-deploy@slipway-next.iam.gserviceaccount.com"
    error_message = "who deploys in the next environment sees what runs here"
  }
  assert {
    condition     = output.image_readers["next"] == "serviceAccount:ci-images@slipway-next.iam.gserviceaccount.com"
    error_message = "who pushes there pulls here"
  }
  assert {
    condition     = keys(output.image_writers) == ["ci"]
    error_message = "nobody else pushes here"
  }
}

run "rejects_a_wildcard" {
  command = plan
  variables {
    ci = {
      repository    = "example/*"
      repository_id = 987654321
      ref           = "refs/heads/main"
      workflows     = { deploy = "deploy.yaml" }
    }
  }
  expect_failures = [var.ci]
}

run "rejects_a_branch_by_its_short_name" {
  command = plan
  variables {
    ci = {
      repository    = "example/slipway"
      repository_id = 987654321
      ref           = "main"
      workflows     = { deploy = "deploy.yaml" }
    }
  }
  expect_failures = [var.ci]
}

run "rejects_a_workflow_elsewhere" {
  command = plan
  variables {
    ci = {
      repository    = "example/slipway"
      repository_id = 987654321
      ref           = "refs/heads/main"
      workflows     = { deploy = "../deploy.yaml" }
    }
  }
  expect_failures = [var.ci]
}

run "rejects_one_workflow_for_both" {
  command = plan
  variables {
    ci = {
      repository    = "example/slipway"
      repository_id = 987654321
      ref           = "refs/heads/main"
      workflows     = { deploy = "deploy.yaml", infra = "deploy.yaml" }
    }
  }
  expect_failures = [var.ci]
}

run "rejects_a_next_that_is_no_project" {
  command = plan
  variables { next_project = "*" }
  expect_failures = [var.next_project]
}

run "rejects_itself_as_next" {
  command = plan
  variables { next_project = "slipway-test" }
  expect_failures = [var.next_project]
}
