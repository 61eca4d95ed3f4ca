mock_provider "google" {}

variables {
  name                 = "slipway"
  region               = "europe-west1"
  node_service_account = "nodes@slipway-test.iam.gserviceaccount.com"
  ranges               = { nodes = "10.0.0.0/20", pods = "10.16.0.0/14", services = "10.0.16.0/20" }
}

run "private" {
  command = plan

  assert {
    condition     = !google_compute_network.network.auto_create_subnetworks
    error_message = "only the subnetworks that are named"
  }
  assert {
    condition     = google_compute_subnetwork.nodes.private_ip_google_access
    error_message = "Google's services are reached without public addresses"
  }
  assert {
    condition     = google_compute_router_nat.nat.source_subnetwork_ip_ranges_to_nat == "ALL_SUBNETWORKS_ALL_IP_RANGES"
    error_message = "nodes and pods reach the outside by NAT"
  }
  assert {
    condition     = { for range in google_compute_subnetwork.nodes.secondary_ip_range : range.range_name => range.ip_cidr_range } == { pods = "10.16.0.0/14", services = "10.0.16.0/20" }
    error_message = "pods and services have ranges of their own"
  }
  assert {
    condition     = google_compute_firewall.health_checks.source_ranges == toset(["35.191.0.0/16", "130.211.0.0/22"])
    error_message = "Google's health checkers reach the nodes, and nobody else"
  }
  assert {
    condition     = [for rule in google_compute_firewall.health_checks.allow : "${rule.protocol} ${join(",", rule.ports)}"] == ["tcp 9090"]
    error_message = "health checks reach the admin port"
  }
  assert {
    condition     = google_compute_firewall.health_checks.target_service_accounts == toset(["nodes@slipway-test.iam.gserviceaccount.com"])
    error_message = "the rule applies to the cluster's nodes"
  }
  assert {
    condition     = length(google_compute_subnetwork.nodes.log_config) == 0
    error_message = "flows are logged where asked for"
  }
}

run "flows" {
  command = plan
  variables { flow_sampling = 0.25 }

  assert {
    condition     = one(google_compute_subnetwork.nodes.log_config).flow_sampling == 0.25
    error_message = "flows are sampled as asked for"
  }
}

run "rejects_public_ranges" {
  command = plan
  variables { ranges = { nodes = "8.8.0.0/20", pods = "10.16.0.0/14", services = "10.0.16.0/20" } }
  expect_failures = [var.ranges]
}

run "rejects_sampling_above_one" {
  command = plan
  variables { flow_sampling = 2 }
  expect_failures = [var.flow_sampling]
}
