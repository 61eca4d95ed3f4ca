# A regional cluster: Autopilot, or Standard with one pool of nodes. Either way the nodes have no public addresses, and
# the control plane's address answers to var.authorized_networks alone; everybody else, the CI too, comes in by its DNS
# name, where IAM decides before a byte reaches the API server.
resource "google_container_cluster" "cluster" {
  name                = var.name
  location            = var.region
  deletion_protection = var.protected
  network             = var.network
  subnetwork          = var.subnetwork
  networking_mode     = "VPC_NATIVE"

  # What does not go with Autopilot, or is always so with it, is left out there.
  enable_autopilot         = var.autopilot ? true : null
  initial_node_count       = var.autopilot ? null : 1
  remove_default_node_pool = var.autopilot ? null : true
  enable_shielded_nodes    = var.autopilot ? null : true
  datapath_provider        = var.autopilot ? null : "ADVANCED_DATAPATH" # enforces NetworkPolicies

  dynamic "workload_identity_config" {
    for_each = var.autopilot ? [] : [1]
    content {
      workload_pool = "${var.project}.svc.id.goog"
    }
  }

  dynamic "cluster_autoscaling" {
    for_each = var.autopilot ? [1] : []
    content {
      auto_provisioning_defaults {
        service_account = var.node_service_account
      }
    }
  }

  dynamic "addons_config" {
    for_each = var.autopilot ? [] : [1]
    content {
      dns_cache_config {
        enabled = true
      }
    }
  }

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  private_cluster_config {
    enable_private_nodes    = true
    enable_private_endpoint = false # the address is there, for var.authorized_networks
  }

  master_authorized_networks_config {
    gcp_public_cidrs_access_enabled = false

    dynamic "cidr_blocks" {
      for_each = var.authorized_networks
      content {
        display_name = cidr_blocks.key
        cidr_block   = cidr_blocks.value
      }
    }
  }

  control_plane_endpoints_config {
    dns_endpoint_config {
      allow_external_traffic = true
    }
  }

  # Nobody authenticates with a certificate or a password that does not expire.
  master_auth {
    client_certificate_config {
      issue_client_certificate = false
    }
  }

  binary_authorization {
    evaluation_mode = var.only_own_images ? "PROJECT_SINGLETON_POLICY_ENFORCE" : "DISABLED"
  }

  # Scanning of workloads for vulnerabilities no longer exists in GKE: images are scanned in the CI.
  security_posture_config {
    mode               = "BASIC"
    vulnerability_mode = "VULNERABILITY_DISABLED"
  }

  # Kubernetes Secrets are encrypted with our key before they reach the control plane's etcd.
  database_encryption {
    state    = "ENCRYPTED"
    key_name = var.secrets_key
  }

  # RBAC can name Google groups that are members of this one.
  authenticator_groups_config {
    security_group = var.security_group
  }

  release_channel {
    channel = var.channel
  }

  maintenance_policy {
    recurring_window {
      start_time = "2026-01-03T${var.maintenance.from}:00Z"
      end_time   = "2026-01-03T${var.maintenance.to}:00Z"
      recurrence = "FREQ=WEEKLY;BYDAY=${var.maintenance.days}"
    }
  }

  gateway_api_config {
    channel = "CHANNEL_STANDARD"
  }

  # All lines of all containers: a request's line is found in the logs explorer.
  logging_config {
    enable_components = ["SYSTEM_COMPONENTS", "WORKLOADS"]
  }

  monitoring_config {
    enable_components = ["SYSTEM_COMPONENTS", "STORAGE", "HPA", "POD", "DEPLOYMENT", "STATEFULSET"]

    managed_prometheus {
      enabled = true
    }
  }

  cost_management_config {
    enabled = true
  }

  lifecycle {
    ignore_changes = [initial_node_count] # of the pool that is removed at once
  }
}

resource "google_container_node_pool" "nodes" {
  count    = var.autopilot ? 0 : 1
  name     = "nodes"
  cluster  = google_container_cluster.cluster.id
  location = var.region

  autoscaling {
    total_min_node_count = var.nodes.min
    total_max_node_count = var.nodes.max
    location_policy      = "BALANCED"
  }

  management {
    auto_repair  = true
    auto_upgrade = true
  }

  upgrade_settings {
    strategy        = "SURGE"
    max_surge       = 1
    max_unavailable = 0
  }

  node_config {
    machine_type    = var.nodes.machine_type
    image_type      = "COS_CONTAINERD"
    disk_size_gb    = var.nodes.disk_gb
    disk_type       = "pd-balanced"
    service_account = var.node_service_account
    oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"] # IAM decides, not scopes

    metadata = {
      disable-legacy-endpoints = "true"
    }

    workload_metadata_config {
      mode = "GKE_METADATA"
    }

    shielded_instance_config {
      enable_secure_boot          = true
      enable_integrity_monitoring = true
    }
  }

  lifecycle {
    ignore_changes = [initial_node_count]
  }
}

# Which images may start: those with an attestation, which only the CI can sign, the platform's own, and those that
# var.foreign_images names by digest.
resource "google_binary_authorization_policy" "policy" {
  count                         = var.only_own_images ? 1 : 0
  description                   = "Images with an attestation of the CI, and what the platform itself runs."
  global_policy_evaluation_mode = "ENABLE"

  dynamic "admission_whitelist_patterns" {
    for_each = var.foreign_images
    content {
      name_pattern = admission_whitelist_patterns.value
    }
  }

  default_admission_rule {
    evaluation_mode         = "REQUIRE_ATTESTATION"
    enforcement_mode        = "ENFORCED_BLOCK_AND_AUDIT_LOG"
    require_attestations_by = [var.attestor]
  }
}
