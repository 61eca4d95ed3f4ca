variable "project" {
  description = "Whose logs and metrics."
  type        = string
}

variable "region" {
  description = "Where the archive is."
  type        = string
}

variable "cluster" {
  description = "The cluster's name."
  type        = string
}

variable "namespace" {
  description = "Where the services run."
  type        = string
}

variable "domain" {
  description = "A service with a probe is at NAME.DOMAIN."
  type        = string
}

variable "services" {
  description = <<-EOT
    Each service (the name of its Deployment) with its promises: the part of its requests that does not fail (goal), and
    that is answered fast (fast_goal). not_counted: paths that fail on purpose. probe: what is asked from outside over HTTPS; null where that would say nothing. door:
    Identity-Aware Proxy lets nobody in without a token.
  EOT
  type = map(object({
    protocol    = string # http or grpc
    goal        = optional(number, 0.995)
    fast_goal   = optional(number, 0.99)
    not_counted = optional(list(string), [])
    probe       = optional(string)
    door        = optional(bool, false)
  }))

  validation {
    condition     = alltrue([for service in var.services : contains(["http", "grpc"], service.protocol)])
    error_message = "protocol must be http or grpc."
  }

  validation {
    condition     = alltrue([for service in var.services : min(service.goal, service.fast_goal) >= 0.9 && max(service.goal, service.fast_goal) <= 0.9999])
    error_message = "goal and fast_goal must be 0.9 to 0.9999."
  }
}

variable "rules" {
  description = "Alerting rules of Prometheus, by name: the expression, for how long it must hold, page or ticket, what is said."
  type = map(object({
    expr     = string
    for_s    = number
    severity = string
    summary  = string
  }))
  default = {}

  validation {
    condition     = alltrue([for rule in var.rules : contains(["page", "ticket"], rule.severity)])
    error_message = "severity must be page or ticket."
  }
}

variable "emails" {
  description = "Whom alerts go to."
  type        = set(string)
  default     = []
}

variable "log_days" {
  description = "How long lines stay in the logs explorer; the first 30 days cost nothing more."
  type        = number
  default     = 30

  validation {
    condition     = var.log_days >= 1 && var.log_days <= 3650
    error_message = "log_days must be 1 to 3650."
  }
}

variable "archive_days" {
  description = "How long copies of the services' lines are kept in a bucket; 0 for none."
  type        = number
  default     = 0
}

variable "log_readers" {
  description = "Who may read the services' lines without seeing other logs: name => member."
  type        = map(string)
  default     = {}
}
