# The cluster. It can be replaced without touching what it stands on.
data "terraform_remote_state" "foundation" {
  backend = "gcs"

  config = {
    bucket = var.bucket
    prefix = "foundation"
  }
}

locals {
  foundation = data.terraform_remote_state.foundation.outputs
}

module "gke" {
  source               = "../../modules/gke"
  name                 = "slipway"
  project              = var.environment.project
  region               = var.environment.region
  network              = local.foundation.network
  subnetwork           = local.foundation.subnetwork
  node_service_account = local.foundation.node_service_account
  secrets_key          = local.foundation.secrets_key
  attestor             = local.foundation.attestor
  foreign_images       = var.foreign_images
  security_group       = var.security_group
  protected            = var.environment.name == "prod"
  only_own_images      = var.only_own_images
  autopilot            = var.autopilot
  nodes                = var.nodes
  authorized_networks  = var.authorized_networks
  channel              = var.channel
  maintenance          = var.maintenance
}
