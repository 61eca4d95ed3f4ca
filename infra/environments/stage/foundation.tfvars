ranges = {
  nodes    = "10.0.32.0/20"
  pods     = "10.68.0.0/16"
  services = "10.0.48.0/20"
}

ci = {
  repository    = "slipway-example/slipway"
  repository_id = 100000001
  ref           = "refs/heads/main"
  workflows     = { deploy = "promote.yaml" }
}

next_project = "slipway-example-prod"

developers = {
  developers = "group:developers@slipway.example"
}
