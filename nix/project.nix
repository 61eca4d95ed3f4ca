{
  source_url = "https://github.com/slipway-c/slipway"; # in labels and provenance
}
