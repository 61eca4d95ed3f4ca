environment = {
  name           = "stage"
  project        = "slipway-example-stage"
  project_number = 100000000002
  region         = "europe-west1"
  domain         = "stage.slipway.example"
}
