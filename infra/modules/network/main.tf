# A network of our own with one subnetwork, and NAT: nodes have no addresses of their own, and reach the outside by it.
resource "google_compute_network" "network" {
  name                    = var.name
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
}

resource "google_compute_subnetwork" "nodes" {
  name                     = var.name
  network                  = google_compute_network.network.id
  region                   = var.region
  ip_cidr_range            = var.ranges.nodes
  private_ip_google_access = true # the registry, logging and monitoring without NAT

  secondary_ip_range {
    range_name    = "pods"
    ip_cidr_range = var.ranges.pods
  }

  secondary_ip_range {
    range_name    = "services"
    ip_cidr_range = var.ranges.services
  }

  dynamic "log_config" {
    for_each = var.flow_sampling > 0 ? [var.flow_sampling] : []
    content {
      aggregation_interval = "INTERVAL_1_MIN"
      flow_sampling        = log_config.value
      metadata             = "INCLUDE_ALL_METADATA"
    }
  }
}

resource "google_compute_router" "router" {
  name    = var.name
  network = google_compute_network.network.id
  region  = var.region
}

resource "google_compute_router_nat" "nat" {
  name                                = var.name
  router                              = google_compute_router.router.name
  region                              = var.region
  nat_ip_allocate_option              = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat  = "ALL_SUBNETWORKS_ALL_IP_RANGES"
  enable_dynamic_port_allocation      = true # a busy node takes more than the 64 ports it begins with
  enable_endpoint_independent_mapping = false
  min_ports_per_vm                    = 64
  max_ports_per_vm                    = 4096

  log_config {
    enable = true
    filter = "ERRORS_ONLY" # ports ran out
  }
}

# GKE's Gateway controller opens the ports that Services target. The health checks ask /readyz on 9090, which no Service
# targets, so that port needs a rule of its own. The ranges are those of Google's health checkers and front ends.
resource "google_compute_firewall" "health_checks" {
  name                    = "${var.name}-health-checks"
  network                 = google_compute_network.network.id
  direction               = "INGRESS"
  source_ranges           = ["35.191.0.0/16", "130.211.0.0/22"]
  target_service_accounts = [var.node_service_account]

  allow {
    protocol = "tcp"
    ports    = ["9090"]
  }
}
