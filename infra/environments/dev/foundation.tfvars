ranges = {
  nodes    = "10.0.0.0/20"
  pods     = "10.64.0.0/16"
  services = "10.0.16.0/20"
}

ci = {
  repository    = "slipway-example/slipway"
  repository_id = 100000001
  ref           = "refs/heads/main"
  workflows     = { deploy = "deploy.yaml" }
}

next_project = "slipway-example-stage"

keep_images = {
  days = 14
}

developers = {
  developers = "group:developers@slipway.example"
}
