log_readers = {
  developers = "group:developers@slipway.example"
}
