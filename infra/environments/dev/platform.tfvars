# route-guide takes writes without authentication: not from the internet (k8s/overlays/dev).
hosts = ["countries", "demo", "notes"]

notes_users = {
  developers = "group:developers@slipway.example"
}

backup_readers = {
  operators = "group:operators@slipway.example"
}
