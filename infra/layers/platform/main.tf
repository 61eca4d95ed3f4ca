# What the services need around the cluster: how they are reached, and how they are watched.
data "terraform_remote_state" "cluster" {
  backend = "gcs"

  config = {
    bucket = var.bucket
    prefix = "cluster"
  }
}

locals {
  # The public services, for HTTP with what is asked from outside. What is promised of them is the same in every
  # environment, so that what is promised in prod has been kept elsewhere before.
  services = {
    countries   = { protocol = "http", probe = "/countries?user_id=1234" }
    demo        = { protocol = "http", probe = "/demo/hello", not_counted = ["/demo/random-error"] }
    notes       = { protocol = "http", probe = "/v1/notes?limit=1", door = var.door }
    route-guide = { protocol = "grpc" }
  }

  # The alerts of the clusters' own Prometheus. Those of requests are promises, which the module has; and it has restarts
  # from the platform, which sees those, too, that come before the first metric.
  groups = yamldecode(file("${path.module}/../../../k8s/components/monitoring/rules.yml")).groups
  rules = {
    for rule in flatten([for group in local.groups : group.rules if group.name != "requests"]) : rule.alert => {
      expr     = rule.expr
      for_s    = 60 * tonumber(trimsuffix(try(rule.for, "0m"), "m"))
      severity = rule.labels.severity
      summary  = rule.annotations.summary
    } if rule.alert != "Restarts"
  }
}

module "edge" {
  source              = "../../modules/dns-and-certificates"
  name                = "slipway"
  domain              = var.environment.domain
  hosts               = keys(local.services)
  requests_per_minute = var.requests_per_minute
}

module "observability" {
  source       = "../../modules/observability"
  project      = var.environment.project
  region       = var.environment.region
  cluster      = data.terraform_remote_state.cluster.outputs.name
  namespace    = "slipway"
  domain       = var.environment.domain
  services     = local.services
  rules        = local.rules
  emails       = var.emails
  log_days     = var.log_days
  archive_days = var.archive_days
  log_readers  = var.log_readers
}
