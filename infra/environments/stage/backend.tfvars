bucket = "slipway-example-stage-states"
