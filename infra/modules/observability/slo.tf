# What is promised of each service, over 28 days, counted from its own metrics; and two alerts for each promise, by how
# fast its budget burns: at 14.4 times the allowed rate 2 % of it are gone in an hour, which pages; at 6 times 5 % in six
# hours. The second, short window ends an alert soon after the trouble ends.
locals {
  metrics = {
    http = { total = "http_requests_total", bad = "metric.labels.status=monitoring.regex.full_match(\"5..\")" }
    grpc = {
      total = "grpc_server_handled_total"
      bad   = "metric.labels.grpc_code=one_of(\"UNKNOWN\",\"DEADLINE_EXCEEDED\",\"INTERNAL\",\"UNAVAILABLE\",\"DATA_LOSS\")"
    }
  }

  series = {
    for name, service in var.services : name => join(" AND ", concat(
      [
        "metric.type=\"prometheus.googleapis.com/${local.metrics[service.protocol].total}/counter\"",
        "resource.type=\"prometheus_target\"",
        "resource.labels.cluster=\"${var.cluster}\"",
        "resource.labels.namespace=\"${var.namespace}\"",
        "metric.labels.top_level_controller_name=\"${name}\"",
      ],
      [for path in service.not_counted : "metric.labels.path!=\"${path}\""],
    ))
  }

  burns = {
    fast = { rate = 14.4, long = "3600s", short = "300s", severity = "CRITICAL" }
    slow = { rate = 6, long = "21600s", short = "1800s", severity = "WARNING" }
  }

  alerts = merge([
    for name, service in var.services : { for speed, burn in local.burns : "${name} ${speed}" => merge(burn, { service = name, speed = speed }) }
  ]...)
}

resource "google_monitoring_custom_service" "services" {
  for_each     = var.services
  service_id   = each.key
  display_name = each.key
}

resource "google_monitoring_slo" "availability" {
  for_each            = var.services
  service             = google_monitoring_custom_service.services[each.key].service_id
  slo_id              = "availability"
  display_name        = "${each.value.goal * 100} % of requests do not fail"
  goal                = each.value.goal
  rolling_period_days = 28

  request_based_sli {
    good_total_ratio {
      total_service_filter = local.series[each.key]
      bad_service_filter   = "${local.series[each.key]} AND ${local.metrics[each.value.protocol].bad}"
    }
  }
}

resource "google_monitoring_alert_policy" "burn" {
  for_each              = local.alerts
  display_name          = "${each.value.service} burns its error budget (${each.value.speed})"
  combiner              = "AND"
  severity              = each.value.severity
  notification_channels = local.channels

  dynamic "conditions" {
    for_each = toset([each.value.long, each.value.short])
    content {
      display_name = "over ${conditions.value}"
      condition_threshold {
        filter          = "select_slo_burn_rate(\"${google_monitoring_slo.availability[each.value.service].id}\", \"${conditions.value}\")"
        comparison      = "COMPARISON_GT"
        threshold_value = each.value.rate
        duration        = "0s"
      }
    }
  }

  documentation {
    content = local.runbook
  }
}
