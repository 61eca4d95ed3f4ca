environment = {
  name           = "dev"
  project        = "slipway-example-dev"
  project_number = 100000000001
  region         = "europe-west1"
  domain         = "dev.slipway.example"
}
