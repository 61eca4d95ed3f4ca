notes_users = {
  developers = "group:developers@slipway.example"
}

backup_readers = {
  operators = "group:operators@slipway.example"
}
