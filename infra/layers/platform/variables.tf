variable "requests_per_minute" {
  description = "Of modules/dns-and-certificates."
  type        = number
  default     = 6000
}

variable "waf_preview" {
  description = "Of modules/dns-and-certificates."
  type        = bool
  default     = false
}

variable "backup_location" {
  description = "Of modules/backups."
  type        = string
  default     = "EU"

  validation {
    condition     = lower(var.backup_location) != var.environment.region
    error_message = "backup_location must not be the cluster's region: what takes the region takes both."
  }
}

variable "backup_readers" {
  description = "Of modules/backups."
  type        = map(string)
  default     = {}
}

variable "notes_users" {
  description = "Who may use notes: name => member."
  type        = map(string)
  default     = {}
}
