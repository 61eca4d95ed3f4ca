# What Prometheus' rules would tell of, asked of the managed one.
locals {
  # Notifications name labels in their own way, and write no number out.
  summaries = {
    for name, rule in var.rules : name => replace(replace(replace(
      rule.summary,
      "/\\{\\{ \\$labels\\.(\\w+) \\}\\}/", "$$${metric_or_resource.label.$1}"),
      "{{ $value | humanizeDuration }}", "$${metric.label.value} s"),
    "/\\{\\{ \\$value[^}]*\\}\\}/", "$$${metric.label.value}")
  }
}

resource "google_monitoring_alert_policy" "rules" {
  for_each              = var.rules
  display_name          = each.key
  combiner              = "OR"
  severity              = each.value.severity == "page" ? "CRITICAL" : "WARNING"
  notification_channels = local.channels

  conditions {
    display_name = each.key
    condition_prometheus_query_language {
      query                     = each.value.expr
      duration                  = "${each.value.for_s}s"
      evaluation_interval       = "30s"
      disable_metric_validation = true # the first metric comes with the first deployment, which is later
    }
  }

  documentation {
    content = "${local.summaries[each.key]}\n\n${local.runbook}"
  }
}
