# A service that dies of a signal or a failed assertion writes a line that says where (docs/runbook.md, After a crash).
resource "google_monitoring_alert_policy" "crashes" {
  display_name          = "A service has crashed"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels

  conditions {
    display_name = "A crash report"
    condition_matched_log {
      filter = join(" AND ", [
        "resource.type=\"k8s_container\"",
        "resource.labels.cluster_name=\"${var.cluster}\"",
        "resource.labels.namespace_name=\"${var.namespace}\"",
        "jsonPayload.crash.signal:*",
      ])
      label_extractors = {
        service = "EXTRACT(jsonPayload.serviceContext.service)"
        signal  = "EXTRACT(jsonPayload.crash.signal)"
      }
    }
  }

  alert_strategy {
    auto_close = "1800s"
    notification_rate_limit { # a service may crash again and again
      period = "300s"
    }
  }

  documentation {
    content = "$${log.extracted_label.service} died of $${log.extracted_label.signal}\n\n${local.runbook}"
  }
}
