mock_provider "google" {
  mock_resource "google_compute_global_address" {
    override_during = plan
    defaults        = { address = "203.0.113.7" }
  }
  mock_resource "google_certificate_manager_dns_authorization" {
    override_during = plan
    defaults = {
      id                  = "projects/example/locations/global/dnsAuthorizations/slipway"
      dns_resource_record = [{ name = "_acme-challenge.example.com.", type = "CNAME", data = "1.authorize.example.com." }]
    }
  }
}

# What is known only after an apply.
mock_provider "google" {
  alias = "applied"

  mock_resource "google_certificate_manager_dns_authorization" {
    defaults = { dns_resource_record = [{ name = "_acme-challenge.example.com.", type = "CNAME", data = "1.authorize.example.com." }] }
  }
  mock_data "google_dns_keys" {
    defaults = { key_signing_keys = [{ ds_record = "12345 8 2 ABCD" }] }
  }
}

variables {
  name   = "slipway"
  domain = "example.com"
  hosts  = ["demo", "notes"]
}

run "public" {
  command = plan

  assert {
    condition     = { for host, record in google_dns_record_set.hosts : host => record.name } == { demo = "demo.example.com.", notes = "notes.example.com." }
    error_message = "every host has a name"
  }
  assert {
    condition     = alltrue([for record in google_dns_record_set.hosts : record.type == "A" && record.rrdatas == tolist(["203.0.113.7"])])
    error_message = "every name leads to the Gateway's address"
  }
  assert {
    condition     = google_dns_managed_zone.zone.dnssec_config[0].state == "on"
    error_message = "the zone is signed"
  }
  assert {
    condition     = toset(google_certificate_manager_certificate.certificate.managed[0].domains) == toset(["example.com", "*.example.com"])
    error_message = "one certificate covers the domain and every host"
  }
  assert {
    condition     = google_certificate_manager_certificate.certificate.managed[0].dns_authorizations == tolist(["projects/example/locations/global/dnsAuthorizations/slipway"])
    error_message = "the certificate is proved by DNS"
  }
  assert {
    condition     = google_dns_record_set.authorization.rrdatas == tolist(["1.authorize.example.com."])
    error_message = "the proof is published"
  }
  assert {
    condition     = toset(values(google_certificate_manager_certificate_map_entry.domains)[*].hostname) == toset(["example.com", "*.example.com"])
    error_message = "the map has the domain and every host"
  }
  assert {
    condition     = google_compute_ssl_policy.modern.min_tls_version == "TLS_1_2"
    error_message = "TLS 1.2 at least"
  }
}

run "signed" {
  command   = apply
  providers = { google = google.applied }

  assert {
    condition     = output.ds_record == "12345 8 2 ABCD"
    error_message = "the DS record for the parent's zone is known"
  }
}

run "let_through" {
  command = plan
  variables {
    requests_per_minute = 120
  }

  assert {
    condition = anytrue([
      for rule in google_compute_security_policy.edge.rule :
      rule.action == "deny(404)" && strcontains(try(rule.match[0].expr[0].expression, ""), "metrics|healthz|readyz")
    ])
    error_message = "health and metrics cannot be reached"
  }
  assert {
    condition = anytrue([
      for rule in google_compute_security_policy.edge.rule : rule.action == "throttle" &&
      try(rule.rate_limit_options[0].rate_limit_threshold[0] == { count = 120, interval_sec = 60 }, false)
    ])
    error_message = "an address has its limit"
  }
  assert {
    condition = length(setsubtract(["sqli", "xss", "lfi", "rfi", "rce", "protocolattack", "scannerdetection"], [
      for rule in google_compute_security_policy.edge.rule :
      try(regex("^evaluatePreconfiguredWaf\\('([a-z]+)-v33-stable', \\{'sensitivity': 1\\}\\)$", rule.match[0].expr[0].expression)[0], "")
      if rule.action == "deny(403)" && rule.preview == false
    ])) == 0
    error_message = "the WAF refuses the usual attacks"
  }
  assert {
    condition = alltrue([
      for rule in google_compute_security_policy.edge.rule : !strcontains(try(rule.match[0].expr[0].expression, ""), "methodenforcement")
    ])
    error_message = "PUT, PATCH and DELETE are let through"
  }
  assert {
    condition     = one(google_compute_security_policy.edge.advanced_options_config).json_parsing == "STANDARD"
    error_message = "the WAF reads JSON bodies field by field"
  }
  assert {
    condition     = length(google_compute_security_policy.edge.rule) == length(distinct([for rule in google_compute_security_policy.edge.rule : rule.priority]))
    error_message = "no two rules have one priority"
  }
  assert {
    condition     = contains([for rule in google_compute_security_policy.edge.rule : rule.priority], 2147483647)
    error_message = "the default rule is there"
  }
}

run "preview" {
  command = plan
  variables {
    waf_preview = true
  }

  assert {
    condition     = alltrue([for rule in google_compute_security_policy.edge.rule : rule.preview if rule.action == "deny(403)"])
    error_message = "in preview the WAF only logs"
  }
}

run "rejects_a_domain_with_a_dot_at_its_end" {
  command = plan
  variables {
    domain = "example.com."
  }
  expect_failures = [var.domain]
}

run "rejects_a_host_below_a_host" {
  command = plan
  variables {
    hosts = ["a.b"]
  }
  expect_failures = [var.hosts]
}
