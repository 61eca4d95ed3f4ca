# The same panels as Grafana's: scripts/generate makes both of k8s/components/monitoring/dashboards.toml.
resource "google_monitoring_dashboard" "dashboards" {
  for_each       = var.dashboards
  dashboard_json = each.value
}
