# How the services are watched. It is applied after the first deployment: before that every alert of something that is
# missing would fire.
data "terraform_remote_state" "cluster" {
  backend = "gcs"

  config = {
    bucket = var.bucket
    prefix = "cluster"
  }
}

locals {
  services = yamldecode(file("${path.module}/../../services.yaml"))

  # The alerts of k8s/components/monitoring, but Restarts: the platform counts those of containers that die before their
  # first metric, too.
  all_rules = flatten([for group in yamldecode(file("${path.module}/../../../k8s/components/monitoring/rules.yml")).groups : group.rules])
  records   = { for rule in local.all_rules : rule.record => rule.expr if can(rule.record) }

  # Recorded series exist only where Prometheus evaluates the rules. Here their expressions are put in their place.
  rules = {
    for rule in local.all_rules : rule.alert => {
      expr = join("", [
        for part in regexall("service:[a-z0-9_:]+|[\\s\\S]", rule.expr) :
        can(local.records[part]) ? "(${trimspace(local.records[part])})" : part
      ])
      for_s    = 60 * tonumber(trimsuffix(try(rule.for, "0m"), "m"))
      severity = rule.labels.severity
      summary  = rule.annotations.summary
    } if can(rule.alert) && try(rule.alert != "Restarts", false)
  }
}

module "observability" {
  source    = "../../modules/observability"
  project   = var.environment.project
  region    = var.environment.region
  cluster   = data.terraform_remote_state.cluster.outputs.name
  namespace = "slipway"
  domain    = var.environment.domain
  rules     = local.rules

  dashboards = {
    for name in fileset("${path.module}/../../dashboards", "*.json") :
    trimsuffix(name, ".json") => file("${path.module}/../../dashboards/${name}")
  }

  # A path that needs no token shows whether a service can be reached. One that is guarded must answer 401 to whoever has none.
  probes  = { for name, service in local.services : name => service.probe if service.probe != "" }
  guarded = { for name, service in local.services : name => service.guarded if service.guarded != "" }

  emails       = var.emails
  log_days     = var.log_days
  archive_days = var.archive_days
  log_readers  = var.log_readers
}
