channel         = "STABLE"
only_own_images = true

authorized_networks = {
  office = "203.0.113.0/24"
}

maintenance = {
  from = "01:00"
  to   = "07:00"
  days = "TU,WE,TH,SA"
}

security_group = "gke-security-groups@slipway.example"
