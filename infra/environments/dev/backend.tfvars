bucket = "slipway-example-dev-states"
