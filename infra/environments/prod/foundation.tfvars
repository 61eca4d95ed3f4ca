ranges = {
  nodes    = "10.0.64.0/20"
  pods     = "10.72.0.0/14"
  services = "10.0.80.0/20"
}

flow_sampling = 0.1

ci = {
  repository    = "slipway-example/slipway"
  repository_id = 100000001
  ref           = "refs/heads/main"
  workflows     = { deploy = "promote.yaml" }
}

keep_images = {
  images = 50
  days   = 180
}

contact = "ops@slipway.example"

quotas = {
  CPUS-per-project-region             = 200
  SSD-TOTAL-GB-per-project-region     = 2000
  IN-USE-ADDRESSES-per-project-region = 32
}

developers = {
  developers = "group:developers@slipway.example"
}
