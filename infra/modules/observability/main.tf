# Logs are in logs.tf, the alerts that Prometheus' rules define in rules.tf. Here: whom to tell, what the platform measures
# of pods, and checks from outside.
resource "google_monitoring_notification_channel" "email" {
  for_each     = var.emails
  display_name = each.value
  type         = "email"

  labels = {
    email_address = each.value
  }
}

locals {
  channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  runbook  = "Start at docs/runbook.md in the repository."

  # What the platform measures of our pods; a value above the limit for so long.
  limits = {
    restarts = {
      title   = "A container restarts again and again"
      metric  = "kubernetes.io/container/restart_count"
      aligner = "ALIGN_DELTA"
      limit   = 3
      for     = "0s"
      window  = "600s"
    }
    volume = {
      title   = "A volume is nearly full"
      metric  = "kubernetes.io/pod/volume/utilization"
      aligner = "ALIGN_MEAN"
      limit   = 0.8
      for     = "300s"
      window  = "300s"
    }
    memory = {
      title   = "A container is near its memory limit"
      metric  = "kubernetes.io/container/memory/limit_utilization"
      aligner = "ALIGN_MEAN"
      limit   = 0.9
      for     = "600s"
      window  = "300s"
    }
  }
}

resource "google_monitoring_alert_policy" "limits" {
  for_each              = local.limits
  display_name          = each.value.title
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels

  conditions {
    display_name = each.value.title
    condition_threshold {
      filter = join(" AND ", [
        "metric.type=\"${each.value.metric}\"",
        "resource.type=\"${each.key == "volume" ? "k8s_pod" : "k8s_container"}\"",
        "resource.labels.cluster_name=\"${var.cluster}\"",
        "resource.labels.namespace_name=\"${var.namespace}\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.limit
      duration        = each.value.for
      aggregations {
        alignment_period   = each.value.window
        per_series_aligner = each.value.aligner
      }
    }
  }

  documentation {
    content = local.runbook
  }
}

# Asked from several places in the world, through names, certificate and Gateway: what users see. Where the identity-aware
# proxy stands before a service there are two checks, because the proxy answers 401 by itself, whether the service runs or
# not: one asks what the proxy lets through, and tells an outage; the other asks what it guards, and tells that it does not.
locals {
  checks = merge(
    { for name, path in var.probes : name => {
      name  = name, path = path, statuses = [], headers = null
      title = "${name} cannot be reached"
    } },
    { for name, path in var.guarded : "${name} guarded" => {
      # The proxy sends a browser to a page to sign in, which answers 200; it answers a program with 401.
      name  = name, path = path, statuses = [401], headers = { X-Requested-With = "XMLHttpRequest" }
      title = "${name} does not ask for a token"
    } },
  )
}

resource "google_monitoring_uptime_check_config" "services" {
  for_each     = local.checks
  display_name = each.key
  period       = "60s"
  timeout      = "10s"

  http_check {
    path         = each.value.path
    port         = 443
    use_ssl      = true
    validate_ssl = true
    headers      = each.value.headers

    dynamic "accepted_response_status_codes" {
      for_each = each.value.statuses
      content {
        status_value = accepted_response_status_codes.value
      }
    }
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project
      host       = "${each.value.name}.${var.domain}"
    }
  }
}

resource "google_monitoring_alert_policy" "outside" {
  for_each              = local.checks
  display_name          = each.value.title
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels

  conditions {
    display_name = "Failing from two places or more"
    condition_threshold {
      filter = join(" AND ", [
        "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\"",
        "resource.type=\"uptime_url\"",
        "metric.labels.check_id=\"${google_monitoring_uptime_check_config.services[each.key].uptime_check_id}\"",
      ])
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "120s"

      aggregations {
        alignment_period     = "120s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }

  documentation {
    content = local.runbook
  }
}
