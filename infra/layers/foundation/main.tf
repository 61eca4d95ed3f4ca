# What changes seldom and everything else stands on: APIs, network, registry, identities, quotas, a budget.
locals {
  apis = toset([
    "artifactregistry.googleapis.com",
    "billingbudgets.googleapis.com",
    "binaryauthorization.googleapis.com",
    "certificatemanager.googleapis.com",
    "cloudkms.googleapis.com",
    "cloudquotas.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "containeranalysis.googleapis.com",
    "dns.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "iap.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
  ])
}

resource "google_project_service" "apis" {
  for_each           = local.apis
  service            = each.value
  disable_on_destroy = false
}

module "network" {
  source        = "../../modules/network"
  name          = "slipway"
  region        = var.environment.region
  ranges        = var.ranges
  flow_sampling = var.flow_sampling

  node_service_account = module.identity.node_service_account

  depends_on = [google_project_service.apis]
}

module "identity" {
  source         = "../../modules/identity"
  project        = var.environment.project
  project_number = var.environment.project_number
  environment    = var.environment.name
  ci             = var.ci
  next_project   = var.next_project
  deployers      = var.deployers
  developers     = var.developers
  depends_on     = [google_project_service.apis]
}

module "plans" {
  source         = "../../modules/plans"
  project        = var.environment.project
  project_number = var.environment.project_number
  environment    = var.environment.name
  repository     = var.ci.repository
  repository_id  = var.ci.repository_id
  bucket         = var.bucket
  depends_on     = [google_project_service.apis]
}

module "keys" {
  source         = "../../modules/keys"
  name           = "slipway"
  project_number = var.environment.project_number
  region         = var.environment.region
  attester       = module.identity.deployer
  depends_on     = [google_project_service.apis]
}

module "attestor" {
  source     = "../../modules/attestor"
  name       = "slipway"
  project    = var.environment.project
  key        = module.keys.attestation_key
  attester   = module.identity.deployer
  depends_on = [google_project_service.apis]
}

module "registry" {
  source     = "../../modules/registry"
  name       = "slipway"
  project    = var.environment.project
  region     = var.environment.region
  keep       = var.keep_images
  readers    = module.identity.image_readers
  writers    = module.identity.image_writers
  depends_on = [google_project_service.apis]
}

# Asked for, not taken: the platform grants it or not. Autoscaling stops at the quota, so it is part of the design.
resource "google_cloud_quotas_quota_preference" "quotas" {
  for_each      = var.quotas
  parent        = "projects/${var.environment.project}"
  service       = "compute.googleapis.com"
  quota_id      = each.key
  name          = lower(each.key)
  dimensions    = { region = var.environment.region }
  contact_email = var.contact

  quota_config {
    preferred_value = each.value
  }

  depends_on = [google_project_service.apis]
}

resource "google_billing_budget" "budget" {
  count           = var.budget == null ? 0 : 1
  billing_account = var.budget.billing_account
  display_name    = var.environment.project

  budget_filter {
    projects = ["projects/${var.environment.project_number}"]
  }

  amount {
    specified_amount {
      units = var.budget.amount
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  depends_on = [google_project_service.apis]
}
