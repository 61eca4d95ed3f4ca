# What stands before the Gateway: an address, names, a certificate for all of them, and what is let through. The
# Gateway's manifests refer to the address, the certificate map and both policies by var.name.
locals {
  domains = [var.domain, "*.${var.domain}"]

  # The order is that of their priorities. Rule sets for PHP, Java and Node.js are left out: nothing of these runs here. So is
  # methodenforcement: its signature 911100 refuses PUT, PATCH and DELETE, which notes serves.
  waf_rules = [
    "sqli-v33-stable",
    "xss-v33-stable",
    "lfi-v33-stable",
    "rfi-v33-stable",
    "rce-v33-stable",
    "scannerdetection-v33-stable",
    "protocolattack-v33-stable",
    "sessionfixation-v33-stable",
    "cve-canary",
  ]
}

resource "google_compute_global_address" "gateway" {
  name = var.name
}

resource "google_dns_managed_zone" "zone" {
  name        = var.name
  dns_name    = "${var.domain}."
  description = "Public names. The parent's NS records have to name this zone's servers (output name_servers)."

  dnssec_config {
    state = "on"
  }
}

# Resolvers validate the zone's signatures only when the parent's zone has this key's digest (output ds_record).
data "google_dns_keys" "zone" {
  managed_zone = google_dns_managed_zone.zone.name
}

resource "google_dns_record_set" "hosts" {
  for_each     = var.hosts
  managed_zone = google_dns_managed_zone.zone.name
  name         = "${each.value}.${var.domain}."
  type         = "A"
  ttl          = 300
  rrdatas      = [google_compute_global_address.gateway.address]
}

# One certificate for every host there will be, so that a new service waits for none. Proof by DNS works before the
# first deployment, and renews itself.
resource "google_certificate_manager_dns_authorization" "domain" {
  name   = var.name
  domain = var.domain
}

resource "google_dns_record_set" "authorization" {
  managed_zone = google_dns_managed_zone.zone.name
  name         = google_certificate_manager_dns_authorization.domain.dns_resource_record[0].name
  type         = google_certificate_manager_dns_authorization.domain.dns_resource_record[0].type
  ttl          = 300
  rrdatas      = [google_certificate_manager_dns_authorization.domain.dns_resource_record[0].data]
}

resource "google_certificate_manager_certificate" "certificate" {
  name = var.name

  managed {
    domains            = local.domains
    dns_authorizations = [google_certificate_manager_dns_authorization.domain.id]
  }
}

resource "google_certificate_manager_certificate_map" "map" {
  name = var.name
}

resource "google_certificate_manager_certificate_map_entry" "domains" {
  for_each     = { apex = local.domains[0], wildcard = local.domains[1] }
  name         = "${var.name}-${each.key}"
  map          = google_certificate_manager_certificate_map.map.name
  hostname     = each.value
  certificates = [google_certificate_manager_certificate.certificate.id]
}

resource "google_compute_ssl_policy" "modern" {
  name            = var.name
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
}

resource "google_compute_security_policy" "edge" {
  name        = var.name
  description = "What of the internet reaches the services."
  type        = "CLOUD_ARMOR"

  # The services' admin listener is not routed at all; this holds where one serves such a path on its public port.
  rule {
    action      = "deny(404)"
    priority    = 1000
    preview     = false
    description = "Health and metrics are nobody's business outside."
    match {
      expr {
        expression = "request.path.lower().urlDecode().matches('^/+(metrics|healthz|readyz)(/|$)')"
      }
    }
  }

  rule {
    action      = "throttle"
    priority    = 2000
    preview     = false
    description = "So many requests a minute from one address."
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"
      rate_limit_threshold {
        count        = var.requests_per_minute
        interval_sec = 60
      }
    }
  }

  rule {
    action      = "allow"
    priority    = 2147483647
    preview     = false
    description = "The default rule, which must be there; it never matches."
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
  }

  # Preconfigured rules of the OWASP Core Rule Set, at the sensitivity that has the fewest false positives. They see the
  # fields of JSON bodies, not the bodies as one text.
  advanced_options_config {
    json_parsing = "STANDARD"
  }

  dynamic "rule" {
    for_each = local.waf_rules
    content {
      action      = "deny(403)"
      priority    = 1100 + rule.key
      preview     = var.waf_preview
      description = rule.value
      match {
        expr {
          expression = "evaluatePreconfiguredWaf('${rule.value}', {'sensitivity': 1})"
        }
      }
    }
  }

  adaptive_protection_config {
    layer_7_ddos_defense_config {
      enable = true # reports; it blocks nothing by itself
    }
  }
}
