only_own_images = true

security_group = "gke-security-groups@slipway.example"
