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
  description = "A public service is at NAME.DOMAIN."
  type        = string
}

variable "probes" {
  description = "What is asked from outside, by a GET of https://NAME.DOMAIN/PATH that has to be answered 2xx: name => path."
  type        = map(string)
}

variable "guarded" {
  description = "What has to be refused with 401 to whoever shows no token: name => path."
  type        = map(string)
  default     = {}
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

variable "dashboards" {
  description = "Dashboards of Cloud Monitoring as JSON, by name."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for dashboard in var.dashboards : can(jsondecode(dashboard).displayName)])
    error_message = "each dashboard must be JSON and have a displayName."
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
