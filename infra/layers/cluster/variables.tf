variable "autopilot" {
  description = "Of modules/gke."
  type        = bool
  default     = true
}

variable "nodes" {
  description = "Of modules/gke; Standard only."
  type = object({
    machine_type = optional(string)
    disk_gb      = optional(number)
    min          = optional(number)
    max          = optional(number)
  })
  default = {}
}

variable "authorized_networks" {
  description = "Of modules/gke."
  type        = map(string)
  default     = {}
}

variable "only_own_images" {
  description = "Of modules/gke. Always in prod."
  type        = bool
  default     = false

  validation {
    condition     = var.only_own_images || var.environment.name != "prod"
    error_message = "only_own_images must be true in prod."
  }
}

variable "channel" {
  description = "Of modules/gke."
  type        = string
  default     = "REGULAR"
}

variable "maintenance" {
  description = "Of modules/gke."
  type = object({
    from = optional(string)
    to   = optional(string)
    days = optional(string)
  })
  default = {}
}

variable "security_group" {
  description = "Of modules/gke."
  type        = string
}

variable "foreign_images" {
  description = "Of modules/gke."
  type        = set(string)
  default     = []
}
