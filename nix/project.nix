{
  source_url = "https://github.com/slipway-example/slipway"; # in labels and provenance
}
