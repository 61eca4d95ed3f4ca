mock_provider "google" {
  mock_resource "google_monitoring_slo" {
    override_during = plan
    defaults        = { id = "projects/slipway-test/services/x/serviceLevelObjectives/availability" }
  }
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
  services = {
    demo  = { protocol = "http", goal = 0.99, not_counted = ["/demo/random-error"], probe = "/demo/hello" }
    notes = { protocol = "http", probe = "/v1/notes", door = true }
    route = { protocol = "grpc" }
  }
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

run "promises" {
  command = plan
  variables {
    emails = ["ops@example.com"]
  }

  assert {
    condition     = google_monitoring_slo.availability["demo"].goal == 0.99 && google_monitoring_slo.availability["route"].goal == 0.995
    error_message = "each service has its goal"
  }
  assert {
    condition     = strcontains(one(one(google_monitoring_slo.availability["demo"].request_based_sli).good_total_ratio).bad_service_filter, "metric.labels.status=monitoring.regex.full_match(\"5..\")")
    error_message = "over HTTP a 5xx is a failure"
  }
  assert {
    condition     = strcontains(one(one(google_monitoring_slo.availability["route"].request_based_sli).good_total_ratio).bad_service_filter, "\"UNAVAILABLE\"")
    error_message = "over gRPC UNAVAILABLE is a failure"
  }
  assert {
    condition = alltrue([
      for filter in [
        one(one(google_monitoring_slo.availability["route"].request_based_sli).good_total_ratio).total_service_filter,
        one(one(google_monitoring_slo.latency["route"].request_based_sli).distribution_cut).distribution_filter,
      ] : strcontains(filter, "metric.labels.grpc_service!=\"grpc.health.v1.Health\"")
    ])
    error_message = "a probe is no request"
  }
  assert {
    condition     = one(one(one(google_monitoring_slo.latency["demo"].request_based_sli).distribution_cut).range).max == 0.5 && google_monitoring_slo.latency["demo"].goal == 0.99
    error_message = "99 % are answered within 0.5 s"
  }
  assert {
    condition     = endswith(one(one(google_monitoring_slo.latency["route"].request_based_sli).distribution_cut).distribution_filter, " AND metric.labels.grpc_type=\"unary\"")
    error_message = "a stream may last"
  }
  assert {
    condition     = strcontains(one(one(google_monitoring_slo.availability["demo"].request_based_sli).good_total_ratio).total_service_filter, "metric.labels.path!=\"/demo/random-error\"")
    error_message = "what fails on purpose is not counted"
  }
  assert {
    condition     = strcontains(one(one(google_monitoring_slo.availability["route"].request_based_sli).good_total_ratio).total_service_filter, "metric.labels.top_level_controller_name=\"route\"")
    error_message = "a service is measured by its own series"
  }
  assert {
    condition = toset(keys(google_monitoring_alert_policy.burn)) == toset([
      for of in setproduct(["demo", "notes", "route"], ["availability", "latency"], ["fast", "slow"]) : join(" ", of)
    ])
    error_message = "each promise has a fast and a slow alert"
  }
  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.burn : policy.combiner == "AND" && length(policy.conditions) == 2])
    error_message = "an alert needs both windows"
  }
  assert {
    condition     = alltrue([for condition in google_monitoring_alert_policy.burn["demo availability fast"].conditions : one(condition.condition_threshold).threshold_value == 14.4])
    error_message = "2 % of the budget in an hour is fast"
  }
  assert {
    condition = alltrue([
      for policy in concat(
        values(google_monitoring_alert_policy.burn),
        values(google_monitoring_alert_policy.limits),
        values(google_monitoring_alert_policy.rules),
        values(google_monitoring_alert_policy.unreachable),
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

run "seen_from_outside" {
  command = plan

  assert {
    condition     = toset(keys(google_monitoring_uptime_check_config.services)) == toset(["demo", "notes"])
    error_message = "what has a probe is probed"
  }
  assert {
    condition     = one(google_monitoring_uptime_check_config.services["demo"].http_check).validate_ssl && one(google_monitoring_uptime_check_config.services["demo"].monitored_resource).labels.host == "demo.example.com"
    error_message = "the probe goes by the public name and checks the certificate"
  }
  assert {
    condition     = length(one(google_monitoring_uptime_check_config.services["demo"].http_check).accepted_response_status_codes) == 0
    error_message = "a service without a door has to answer"
  }
  assert {
    condition     = one(one(google_monitoring_uptime_check_config.services["notes"].http_check).accepted_response_status_codes).status_value == 401
    error_message = "a door has to be shut"
  }
  assert {
    condition     = one(google_monitoring_uptime_check_config.services["notes"].http_check).headers == tomap({ X-Requested-With = "XMLHttpRequest" })
    error_message = "the door is asked as a program does"
  }
  assert {
    condition     = keys(google_monitoring_alert_policy.unreachable) == keys(google_monitoring_uptime_check_config.services)
    error_message = "a failing probe is an alert"
  }
}

run "rejects_an_unknown_protocol" {
  command = plan
  variables {
    services = { demo = { protocol = "soap" } }
  }
  expect_failures = [var.services]
}

run "rejects_perfection" {
  command = plan
  variables {
    services = { demo = { protocol = "http", goal = 1 } }
  }
  expect_failures = [var.services]
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
