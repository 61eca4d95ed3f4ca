bucket = "slipway-example-prod-states"
