emails = ["dev@slipway.example"]

log_readers = {
  developers = "group:developers@slipway.example"
}
