emails       = ["ops@slipway.example"]
log_days     = 60
archive_days = 400

log_readers = {
  operators = "group:operators@slipway.example"
}
