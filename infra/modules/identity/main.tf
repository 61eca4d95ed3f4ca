# Who the CI and the nodes are. There are no keys: the CI shows a token that its platform signs for each job. Which jobs are
# believed at all is decided by local.condition, before anything else; as which account, by the workflow that they are in.
locals {
  # By number, too: a name that was given up can be taken by somebody else.
  condition = join(" && ", [
    "assertion.repository == '${var.ci.repository}'",
    "assertion.repository_id == '${var.ci.repository_id}'",
    "assertion.environment == '${var.environment}'",
    "assertion.ref == '${var.ci.ref}'",
  ])

  # Each job of the CI has an account with what it needs, in this project alone; but see google_project_iam_member.next.
  # An account that no workflow is named for is not made.
  accounts = { for name, account in local.possible : name => account if account.workflow != null }

  possible = {
    images = {
      description = "Pushes images."
      workflow    = var.ci.workflows.deploy
      roles       = []
    }
    deploy = {
      description = "Deploys to the cluster."
      workflow    = var.ci.workflows.deploy
      roles       = ["roles/container.developer"]
    }
    infra = {
      description = "Plans and applies the infrastructure. Who may act for it owns the project."
      workflow    = var.ci.workflows.infra
      roles = [
        "roles/artifactregistry.admin",
        "roles/binaryauthorization.attestorsAdmin",
        "roles/binaryauthorization.policyAdmin",
        "roles/certificatemanager.owner",
        "roles/cloudkms.admin",
        "roles/cloudkms.publicKeyViewer", # modules/attestor reads the public key, which admins may not
        "roles/cloudquotas.admin",
        "roles/compute.loadBalancerAdmin",
        "roles/compute.networkAdmin",
        "roles/compute.securityAdmin",
        "roles/container.admin",
        "roles/containeranalysis.admin",
        "roles/dns.admin",
        "roles/iam.serviceAccountAdmin",
        "roles/iam.serviceAccountUser",
        "roles/iam.workloadIdentityPoolAdmin",
        "roles/iap.admin",
        "roles/logging.admin",
        "roles/monitoring.admin",
        "roles/resourcemanager.projectIamAdmin",
        "roles/serviceusage.serviceUsageAdmin",
        "roles/storage.admin",
      ]
    }
  }

  grants = merge([
    for name, account in local.accounts : { for role in account.roles : "${name} ${role}" => { account = name, role = role } }
  ]...)
}

resource "google_iam_workload_identity_pool" "ci" {
  workload_identity_pool_id = "ci-jobs"
  display_name              = "CI"
  description               = "Jobs of ${var.ci.repository}."
}

resource "google_iam_workload_identity_pool_provider" "ci" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.ci.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"
  attribute_condition                = local.condition

  attribute_mapping = {
    "google.subject"     = "assertion.sub"
    "attribute.workflow" = "assertion.job_workflow_ref" # OWNER/NAME/.github/workflows/FILE@REF
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "ci" {
  for_each     = local.accounts
  account_id   = "ci-${each.key}"
  display_name = "CI: ${each.key}"
  description  = each.value.description
}

resource "google_service_account_iam_member" "ci" {
  for_each           = local.accounts
  service_account_id = google_service_account.ci[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member = join("/", [
    "principalSet://iam.googleapis.com/projects/${var.project_number}/locations/global/workloadIdentityPools",
    "${google_iam_workload_identity_pool.ci.workload_identity_pool_id}/attribute.workflow",
    "${var.ci.repository}/.github/workflows/${each.value.workflow}@${var.ci.ref}",
  ])
}

resource "google_project_iam_member" "ci" {
  for_each = local.grants
  project  = var.project
  role     = each.value.role
  member   = google_service_account.ci[each.value.account].member
}

# People who look at the cluster. This role lets them connect to the control plane and read nothing in it: what they may read is
# RBAC's (k8s/cluster/developers.yaml).
resource "google_project_iam_member" "developers" {
  for_each = var.developers
  project  = var.project
  role     = "roles/container.clusterViewer"
  member   = each.value
}

# What is tried here goes on to the next environment: its CI sees which images serve here, and no Secret, and pulls them
# (outputs.tf). It is granted here, by whose it is, so the next environment's accounts must be there first.
resource "google_project_iam_member" "next" {
  count   = var.next_project == null ? 0 : 1
  project = var.project
  role    = "roles/container.viewer"
  member  = "serviceAccount:ci-deploy@${var.next_project}.iam.gserviceaccount.com"
}

resource "google_service_account" "nodes" {
  account_id   = "gke-nodes"
  display_name = "Nodes"
  description  = "What a node needs: write logs and metrics, pull images."
}

resource "google_project_iam_member" "nodes" {
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

# The account that calls notes from outside during a release, through the identity-aware proxy (granted in layers/platform). It
# has no other right. The CI's deploying account and the people in var.deployers impersonate it. gcloud gets an access token of an
# impersonated account before any identity token, so the role for identity tokens alone
# (roles/iam.serviceAccountOpenIdTokenCreator) does not suffice.
resource "google_service_account" "smoke" {
  account_id   = "smoke-test"
  display_name = "Smoke tests"
  description  = "As whom a release is tested from outside."
}

resource "google_service_account_iam_member" "smoke" {
  for_each           = merge({ ci = google_service_account.ci["deploy"].member }, var.deployers)
  service_account_id = google_service_account.smoke.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.value
}
