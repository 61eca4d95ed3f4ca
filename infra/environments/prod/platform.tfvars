notes_users = {
  operators = "group:operators@slipway.example"
}

backup_readers = {
  operators = "group:operators@slipway.example"
}
