mock_provider "google" {
  mock_resource "google_monitoring_notification_channel" {
    override_during = plan
    defaults        = { id = "projects/slipway-test/notificationChannels/1" }
  }
}

variables {
  project   = "slipway-test"
  region    = "europe-west1"
  cluster   = "slipway"
  namespace = "slipway"
  domain    = "example.com"
  probes    = { demo = "/demo/hello", notes = "/openapi.json" }
  guarded   = { notes = "/v1/notes" }
  rules = {
    Old = {
      expr     = "age_seconds > 30"
      for_s    = 60
      severity = "page"
      summary  = "{{ $labels.instance }}: not for {{ $value | humanizeDuration }}, {{ $value | humanizePercentage }}"
    }
    Slow = { expr = "slow > 1", for_s = 0, severity = "ticket", summary = "slow" }
  }
}

run "logs" {
  command = plan
  variables {
    archive_days = 400
    log_days     = 60
    log_readers  = { developers = "group:developers@example.com" }
  }

  assert {
    condition     = length(google_logging_project_sink.archive[0].exclusions) == 0
    error_message = "no sink excludes a line"
  }
  assert {
    condition     = google_logging_project_sink.archive[0].filter == "resource.type=\"k8s_container\" AND resource.labels.namespace_name=\"slipway\""
    error_message = "the archive takes all lines of the services"
  }
  assert {
    condition     = google_logging_project_bucket_config.default.bucket_id == "_Default" && google_logging_project_bucket_config.default.retention_days == 60
    error_message = "lines stay in the explorer's bucket as long as told"
  }
  assert {
    condition     = google_logging_log_view.services.filter == "resource.type = \"k8s_container\""
    error_message = "the view shows what containers print"
  }
  assert {
    condition     = google_logging_log_view_iam_member.readers["developers"].role == "roles/logging.viewAccessor"
    error_message = "who reads the view reads no other logs"
  }
  assert {
    condition     = google_storage_bucket.archive[0].public_access_prevention == "enforced"
    error_message = "the archive is never public"
  }
  assert {
    condition     = one(one(google_storage_bucket.archive[0].lifecycle_rule).condition).age == 400
    error_message = "the archive forgets when told"
  }
  assert {
    condition     = google_storage_bucket_iam_member.archive[0].role == "roles/storage.objectCreator"
    error_message = "the sink can write, and neither read nor delete"
  }
}

run "no_archive" {
  command = plan

  assert {
    condition     = length(google_logging_project_sink.archive) == 0
    error_message = "no archive unless asked for"
  }
}

run "told" {
  command = plan
  variables {
    emails = ["ops@example.com"]
  }

  assert {
    condition = alltrue([
      for policy in concat(
        values(google_monitoring_alert_policy.limits),
        values(google_monitoring_alert_policy.rules),
        values(google_monitoring_alert_policy.outside),
        [google_monitoring_alert_policy.crashes],
      ) :
      policy.notification_channels == tolist(["projects/slipway-test/notificationChannels/1"])
    ])
    error_message = "somebody is told of every alert"
  }
}

run "rules" {
  command = plan

  assert {
    condition     = { for name, policy in google_monitoring_alert_policy.rules : name => policy.severity } == { Old = "CRITICAL", Slow = "WARNING" }
    error_message = "each rule is an alert, as urgent as it says"
  }
  assert {
    condition     = one(one(google_monitoring_alert_policy.rules["Old"].conditions).condition_prometheus_query_language).query == "age_seconds > 30"
    error_message = "the rule's own expression is asked"
  }
  assert {
    condition     = one(one(google_monitoring_alert_policy.rules["Old"].conditions).condition_prometheus_query_language).duration == "60s"
    error_message = "it must hold as long as the rule says"
  }
  assert {
    condition     = one(one(google_monitoring_alert_policy.rules["Old"].conditions).condition_prometheus_query_language).disable_metric_validation
    error_message = "an alert can be made before its metric is there"
  }
  assert {
    condition     = startswith(one(google_monitoring_alert_policy.rules["Old"].documentation).content, "$${metric_or_resource.label.instance}: not for $${metric.label.value} s, $${metric.label.value}\n")
    error_message = "what is said names instance and value"
  }
}

run "crashed" {
  command = plan

  assert {
    condition     = endswith(one(one(google_monitoring_alert_policy.crashes.conditions).condition_matched_log).filter, "resource.labels.namespace_name=\"slipway\" AND jsonPayload.crash.signal:*")
    error_message = "a crash report of a service is told"
  }
}

run "seen_from_outside" {
  command = plan

  assert {
    condition     = toset(keys(google_monitoring_uptime_check_config.services)) == toset(["demo", "notes", "notes guarded"])
    error_message = "what is named is asked from outside"
  }
}

run "answered" {
  command = plan

  assert {
    condition     = alltrue([for check in google_monitoring_uptime_check_config.services : one(check.http_check).validate_ssl]) && one(google_monitoring_uptime_check_config.services["demo"].monitored_resource).labels.host == "demo.example.com"
    error_message = "the check goes by the public name and looks at the certificate"
  }
  assert {
    condition     = length(one(google_monitoring_uptime_check_config.services["notes"].http_check).accepted_response_status_codes) == 0 && one(google_monitoring_uptime_check_config.services["notes"].http_check).path == "/openapi.json"
    error_message = "a guarded service has to answer, too: 401 of the proxy is no sign of life"
  }
  assert {
    condition     = one(one(google_monitoring_uptime_check_config.services["notes guarded"].http_check).accepted_response_status_codes).status_value == 401 && one(google_monitoring_uptime_check_config.services["notes guarded"].http_check).path == "/v1/notes"
    error_message = "without a token there is 401"
  }
  assert {
    condition     = one(google_monitoring_uptime_check_config.services["notes guarded"].http_check).headers == tomap({ X-Requested-With = "XMLHttpRequest" })
    error_message = "the proxy is asked as a program does"
  }
  assert {
    condition     = { for key, alert in google_monitoring_alert_policy.outside : key => alert.display_name } == { demo = "demo cannot be reached", notes = "notes cannot be reached", "notes guarded" = "notes does not ask for a token" }
    error_message = "an outage and a missing guard are different alerts"
  }
}

run "rejects_an_unknown_severity" {
  command = plan
  variables {
    rules = { Old = { expr = "age_seconds > 30", for_s = 60, severity = "loud", summary = "old" } }
  }
  expect_failures = [var.rules]
}

run "rejects_forgetting_at_once" {
  command = plan
  variables {
    log_days = 0
  }
  expect_failures = [var.log_days]
}

run "dashboards" {
  command = plan
  variables {
    dashboards = { demo = "{\"displayName\": \"Demo\"}" }
  }

  assert {
    condition     = jsondecode(google_monitoring_dashboard.dashboards["demo"].dashboard_json).displayName == "Demo"
    error_message = "a dashboard is made of its JSON"
  }
}

run "rejects_a_dashboard_that_is_none" {
  command = plan
  variables {
    dashboards = { demo = "{\"title\": \"Demo\"}" }
  }
  expect_failures = [var.dashboards]
}
