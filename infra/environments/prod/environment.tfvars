environment = {
  name           = "prod"
  project        = "slipway-example-prod"
  project_number = 100000000003
  region         = "europe-west1"
  domain         = "slipway.example"
}
