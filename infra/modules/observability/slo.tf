# What is promised of each service, over 28 days, counted from its own metrics; and two alerts for each promise, by how
# fast its budget burns: at 14.4 times the allowed rate 2 % of it are gone in an hour, which pages; at 6 times 5 % in six
# hours. The second, short window ends an alert soon after the trouble ends. The rules of the clusters' own Prometheus
# (k8s/components/monitoring) promise the same, which tests/infra compares.
locals {
  fast_s = 0.5

  # no_request: the kubelet's probes, which are always good, and many. answers: streams last as long as their clients like.
  metrics = {
    http = {
      requests   = "http_requests_total"
      seconds    = "http_request_duration_seconds"
      bad        = "metric.labels.status=monitoring.regex.full_match(\"5..\")"
      no_request = []
      answers    = []
    }
    grpc = {
      requests   = "grpc_server_handled_total"
      seconds    = "grpc_server_handling_seconds"
      bad        = "metric.labels.grpc_code=one_of(\"UNKNOWN\",\"DEADLINE_EXCEEDED\",\"INTERNAL\",\"UNAVAILABLE\",\"DATA_LOSS\")"
      no_request = ["metric.labels.grpc_service!=\"grpc.health.v1.Health\""]
      answers    = ["metric.labels.grpc_type=\"unary\""]
    }
  }

  own = {
    for name, service in var.services : name => concat(
      [
        "resource.type=\"prometheus_target\"",
        "resource.labels.cluster=\"${var.cluster}\"",
        "resource.labels.namespace=\"${var.namespace}\"",
        "metric.labels.top_level_controller_name=\"${name}\"",
      ],
      local.metrics[service.protocol].no_request,
    )
  }

  requests = {
    for name, service in var.services : name => join(" AND ", concat(
      ["metric.type=\"prometheus.googleapis.com/${local.metrics[service.protocol].requests}/counter\""],
      local.own[name],
      [for path in service.not_counted : "metric.labels.path!=\"${path}\""],
    ))
  }

  seconds = {
    for name, service in var.services : name => join(" AND ", concat(
      ["metric.type=\"prometheus.googleapis.com/${local.metrics[service.protocol].seconds}/histogram\""],
      local.own[name],
      local.metrics[service.protocol].answers,
    ))
  }

  burns = {
    fast = { rate = 14.4, long = "3600s", short = "300s", severity = "CRITICAL" }
    slow = { rate = 6, long = "21600s", short = "1800s", severity = "WARNING" }
  }

  promises = {
    availability = google_monitoring_slo.availability
    latency      = google_monitoring_slo.latency
  }

  alerts = merge([
    for of in setproduct(keys(var.services), ["availability", "latency"], keys(local.burns)) :
    { join(" ", of) = merge(local.burns[of[2]], { service = of[0], promise = of[1], speed = of[2] }) }
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
      total_service_filter = local.requests[each.key]
      bad_service_filter   = "${local.requests[each.key]} AND ${local.metrics[each.value.protocol].bad}"
    }
  }
}

resource "google_monitoring_slo" "latency" {
  for_each            = var.services
  service             = google_monitoring_custom_service.services[each.key].service_id
  slo_id              = "latency"
  display_name        = "${each.value.fast_goal * 100} % of requests are answered within ${local.fast_s} s"
  goal                = each.value.fast_goal
  rolling_period_days = 28

  request_based_sli {
    distribution_cut {
      distribution_filter = local.seconds[each.key]
      range {
        max = local.fast_s
      }
    }
  }
}

resource "google_monitoring_alert_policy" "burn" {
  for_each              = local.alerts
  display_name          = "${each.value.service} burns its budget of ${each.value.promise} (${each.value.speed})"
  combiner              = "AND"
  severity              = each.value.severity
  notification_channels = local.channels

  dynamic "conditions" {
    for_each = toset([each.value.long, each.value.short])
    content {
      display_name = "over ${conditions.value}"
      condition_threshold {
        filter          = "select_slo_burn_rate(\"${local.promises[each.value.promise][each.value.service].id}\", \"${conditions.value}\")"
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
