variable "emails" {
  description = "Of modules/observability. Somebody in prod."
  type        = set(string)
  default     = []

  validation {
    condition     = length(var.emails) > 0 || var.environment.name != "prod"
    error_message = "emails must name somebody who is told of alerts in prod."
  }
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
