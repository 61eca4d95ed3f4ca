# How the services are reached, and where backups go. Deployments need what is here.
locals {
  # Those that have a route in k8s/overlays/ENV.
  hosts = toset([
    for name, service in yamldecode(file("${path.module}/../../services.yaml")) :
    name if !contains(service.not_in, var.environment.name)
  ])
}

module "edge" {
  source              = "../../modules/dns-and-certificates"
  name                = "slipway"
  domain              = var.environment.domain
  hosts               = local.hosts
  requests_per_minute = var.requests_per_minute
  waf_preview         = var.waf_preview
}

module "backups" {
  source          = "../../modules/backups"
  bucket          = "${var.environment.project}-backups"
  project         = var.environment.project
  project_number  = var.environment.project_number
  location        = var.backup_location
  namespace       = "slipway"
  service_account = "etcd-backup"
  readers         = var.backup_readers
}

# Who passes the identity-aware proxy to notes. The account smoke-test is made by layers/foundation.
resource "google_iap_web_iam_member" "notes" {
  for_each = merge({ smoke = "serviceAccount:smoke-test@${var.environment.project}.iam.gserviceaccount.com" }, var.notes_users)
  role     = "roles/iap.httpsResourceAccessor"
  member   = each.value
}
