variable "requests_per_minute" {
  description = "Of modules/dns-and-certificates."
  type        = number
  default     = 6000
}

variable "emails" {
  description = "Of modules/observability. Somebody in prod."
  type        = set(string)
  default     = []

  validation {
    condition     = length(var.emails) > 0 || var.environment.name != "prod"
    error_message = "emails must name somebody who is told of alerts in prod."
  }
}

variable "door" {
  description = "Whether notes has a door in this environment: the component auth in its overlay."
  type        = bool
  default     = false
}

variable "log_days" {
  description = "Of modules/observability."
  type        = number
  default     = 30
}

variable "archive_days" {
  description = "Of modules/observability."
  type        = number
  default     = 0
}

variable "log_readers" {
  description = "Of modules/observability."
  type        = map(string)
  default     = {}
}
