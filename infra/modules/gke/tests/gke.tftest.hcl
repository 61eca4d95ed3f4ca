mock_provider "google" {}

variables {
  name                 = "slipway"
  project              = "slipway-test"
  region               = "europe-west1"
  network              = "projects/slipway-test/global/networks/slipway"
  subnetwork           = "projects/slipway-test/regions/europe-west1/subnetworks/slipway"
  node_service_account = "nodes@slipway-test.iam.gserviceaccount.com"
  secrets_key          = "projects/slipway-test/locations/europe-west1/keyRings/slipway/cryptoKeys/secrets"
  security_group       = "gke-security-groups@example.com"
  attestor             = "projects/slipway-test/attestors/slipway"
  protected            = true
}

run "autopilot" {
  command = plan

  assert {
    condition     = google_container_cluster.cluster.enable_autopilot == true
    error_message = "Autopilot unless told otherwise"
  }
  assert {
    condition     = length(google_container_node_pool.nodes) == 0
    error_message = "Autopilot has no pool of ours"
  }
  assert {
    condition     = one(one(google_container_cluster.cluster.cluster_autoscaling).auto_provisioning_defaults).service_account == "nodes@slipway-test.iam.gserviceaccount.com"
    error_message = "Autopilot's nodes have our identity, not the project's default one"
  }
  assert {
    condition     = one(google_container_cluster.cluster.private_cluster_config).enable_private_nodes
    error_message = "nodes have no public addresses"
  }
  assert {
    condition     = length(one(google_container_cluster.cluster.master_authorized_networks_config).cidr_blocks) == 0
    error_message = "nobody reaches the control plane's address unless named"
  }
  assert {
    condition     = !one(google_container_cluster.cluster.master_authorized_networks_config).gcp_public_cidrs_access_enabled
    error_message = "other people's machines in the same cloud are not trusted"
  }
  assert {
    condition     = one(one(google_container_cluster.cluster.control_plane_endpoints_config).dns_endpoint_config).allow_external_traffic
    error_message = "the CI reaches the control plane by its DNS name"
  }
  assert {
    condition     = !one(one(google_container_cluster.cluster.master_auth).client_certificate_config).issue_client_certificate
    error_message = "no client certificates"
  }
  assert {
    condition     = google_container_cluster.cluster.deletion_protection
    error_message = "protected where asked for"
  }
  assert {
    condition     = one(google_container_cluster.cluster.gateway_api_config).channel == "CHANNEL_STANDARD"
    error_message = "the Gateway API is there"
  }
  assert {
    condition     = contains(one(google_container_cluster.cluster.logging_config).enable_components, "WORKLOADS")
    error_message = "the lines of all containers are collected"
  }
  assert {
    condition     = one(one(google_container_cluster.cluster.monitoring_config).managed_prometheus).enabled
    error_message = "managed Prometheus is there"
  }
  assert {
    condition     = one(google_container_cluster.cluster.security_posture_config).vulnerability_mode == "VULNERABILITY_DISABLED"
    error_message = "no scanning is asked for that GKE no longer has"
  }
  assert {
    condition     = one(google_container_cluster.cluster.database_encryption).state == "ENCRYPTED"
    error_message = "Secrets are encrypted"
  }
  assert {
    condition     = one(google_container_cluster.cluster.database_encryption).key_name == "projects/slipway-test/locations/europe-west1/keyRings/slipway/cryptoKeys/secrets"
    error_message = "Secrets are encrypted with the key that is named"
  }
  assert {
    condition     = one(google_container_cluster.cluster.authenticator_groups_config).security_group == "gke-security-groups@example.com"
    error_message = "RBAC knows Google groups"
  }
  assert {
    condition     = one(google_container_cluster.cluster.binary_authorization).evaluation_mode == "DISABLED" && length(google_binary_authorization_policy.policy) == 0
    error_message = "any image unless told otherwise"
  }
}

run "standard" {
  command = plan
  variables {
    autopilot = false
    nodes     = { min = 3, max = 12 }
  }

  assert {
    condition     = google_container_cluster.cluster.enable_autopilot == null && google_container_cluster.cluster.remove_default_node_pool == true
    error_message = "Standard has no pool but ours"
  }
  assert {
    condition     = google_container_cluster.cluster.datapath_provider == "ADVANCED_DATAPATH"
    error_message = "NetworkPolicies are enforced"
  }
  assert {
    condition     = one(google_container_cluster.cluster.workload_identity_config).workload_pool == "slipway-test.svc.id.goog"
    error_message = "Workload Identity is on"
  }
  assert {
    condition     = one(one(google_container_node_pool.nodes[0].node_config).workload_metadata_config).mode == "GKE_METADATA"
    error_message = "pods do not see the node's identity"
  }
  assert {
    condition     = one(google_container_node_pool.nodes[0].node_config).service_account == "nodes@slipway-test.iam.gserviceaccount.com"
    error_message = "Standard's nodes have our identity, not the project's default one"
  }
  assert {
    condition     = one(one(google_container_node_pool.nodes[0].node_config).shielded_instance_config).enable_secure_boot
    error_message = "nodes boot what is signed"
  }
  assert {
    condition     = one(google_container_node_pool.nodes[0].upgrade_settings).max_unavailable == 0
    error_message = "an upgrade adds a node before it takes one"
  }
  assert {
    condition     = one(google_container_node_pool.nodes[0].autoscaling).total_max_node_count == 12
    error_message = "the pool grows as far as told"
  }
}

run "locked" {
  command = plan
  variables {
    only_own_images     = true
    foreign_images      = ["quay.io/x/y@sha256:0000000000000000000000000000000000000000000000000000000000000000"]
    authorized_networks = { office = "203.0.113.0/24" }
  }

  assert {
    condition     = one(google_container_cluster.cluster.binary_authorization).evaluation_mode == "PROJECT_SINGLETON_POLICY_ENFORCE"
    error_message = "the cluster asks the policy"
  }
  assert {
    condition     = one(google_binary_authorization_policy.policy[0].default_admission_rule).evaluation_mode == "REQUIRE_ATTESTATION"
    error_message = "images without an attestation are refused"
  }
  assert {
    condition     = one(google_binary_authorization_policy.policy[0].default_admission_rule).enforcement_mode == "ENFORCED_BLOCK_AND_AUDIT_LOG"
    error_message = "refusing is not just reporting"
  }
  assert {
    condition     = one(google_binary_authorization_policy.policy[0].default_admission_rule).require_attestations_by == toset(["projects/slipway-test/attestors/slipway"])
    error_message = "it is our attestor that counts"
  }
  assert {
    condition     = google_binary_authorization_policy.policy[0].admission_whitelist_patterns[*].name_pattern == tolist(["quay.io/x/y@sha256:${join("", [for i in range(64) : "0"])}"])
    error_message = "only images that are named start without an attestation"
  }
  assert {
    condition     = one(google_container_cluster.cluster.master_authorized_networks_config).cidr_blocks == toset([{ cidr_block = "203.0.113.0/24", display_name = "office" }])
    error_message = "who is named reaches the control plane's address"
  }
}

run "unprotected" {
  command = plan
  variables {
    protected = false
  }

  assert {
    condition     = !google_container_cluster.cluster.deletion_protection
    error_message = "unprotected where asked for"
  }
}

run "rejects_the_world" {
  command = plan
  variables {
    authorized_networks = { everybody = "0.0.0.0/0" }
  }
  expect_failures = [var.authorized_networks]
}

run "rejects_an_empty_pool" {
  command = plan
  variables {
    nodes = { min = 3, max = 2 }
  }
  expect_failures = [var.nodes]
}

run "rejects_an_unknown_channel" {
  command = plan
  variables {
    channel = "NIGHTLY"
  }
  expect_failures = [var.channel]
}

run "rejects_a_time_that_is_none" {
  command = plan
  variables {
    maintenance = { from = "25:00" }
  }
  expect_failures = [var.maintenance]
}

run "rejects_a_foreign_image_by_tag" {
  command = plan
  variables {
    foreign_images = ["quay.io/x/y:v1"]
  }
  expect_failures = [var.foreign_images]
}

run "rejects_another_security_group" {
  command = plan
  variables {
    security_group = "developers@example.com"
  }
  expect_failures = [var.security_group]
}
