variable "ranges" {
  description = "Of modules/network."
  type = object({
    nodes    = string
    pods     = string
    services = string
  })
}

variable "flow_sampling" {
  description = "Of modules/network."
  type        = number
  default     = 0
}

variable "ci" {
  description = "Of modules/identity."
  type = object({
    repository    = string
    repository_id = number
    ref           = string
    workflows = object({
      deploy = string
      infra  = optional(string)
    })
  })
}

variable "next_project" {
  description = "Of modules/identity. Nothing is promoted from prod."
  type        = string
  default     = null

  validation {
    condition     = var.next_project == null || var.environment.name != "prod"
    error_message = "next_project must not be set in prod, which is the last."
  }
}

variable "deployers" {
  description = "Of modules/identity."
  type        = map(string)
  default     = {}
}

variable "developers" {
  description = "Of modules/identity."
  type        = map(string)
  default     = {}
}

variable "keep_images" {
  description = "Of modules/registry."
  type = object({
    images = optional(number)
    days   = optional(number)
  })
  default = {}
}

variable "quotas" {
  description = "Quotas of Compute Engine in the region: id, as CPUS-per-project-region => wanted value."
  type        = map(number)
  default     = {}
}

variable "contact" {
  description = "An e-mail address for questions about quotas; needed where quotas are asked for."
  type        = string
  default     = null

  validation {
    condition     = var.contact != null || length(var.quotas) == 0
    error_message = "contact must be set where quotas are."
  }
}

variable "budget" {
  description = "A month's budget in the billing account's currency, with mail at 50, 90 and 100 %. Who applies it may manage the account's costs (roles/billing.costsManager on the billing account), and ci-plan needs roles/billing.viewer there to plan."
  type = object({
    billing_account = string
    amount          = number
  })
  default = null
}
