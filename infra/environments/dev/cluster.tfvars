channel = "RAPID"

security_group = "gke-security-groups@slipway.example"
