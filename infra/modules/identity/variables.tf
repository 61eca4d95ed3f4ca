variable "project" {
  description = "Whose the identities are."
  type        = string
}

variable "project_number" {
  description = "The project's number."
  type        = number
}

variable "environment" {
  description = "The environment of the CI that a job must run in; its reviewers are set there."
  type        = string
}

variable "ci" {
  description = "Whose jobs are believed: the repository by name and number and, if not null, the one branch or tag."
  type = object({
    repository    = string
    repository_id = number
    ref           = optional(string)
  })

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.ci.repository))
    error_message = "ci.repository must be OWNER/NAME, without wildcards."
  }

  validation {
    condition     = var.ci.ref == null || can(regex("^refs/(heads|tags)/[A-Za-z0-9._/-]+$", var.ci.ref))
    error_message = "ci.ref must be refs/heads/NAME or refs/tags/NAME."
  }
}

variable "next_project" {
  description = "The project of the environment that takes what was tried here; its CI may read what runs here, and the images."
  type        = string
  default     = null

  validation {
    condition     = var.next_project == null || can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.next_project))
    error_message = "next_project must be a project's id."
  }

  validation {
    condition     = var.next_project != var.project
    error_message = "next_project must be another project."
  }
}

variable "workloads" {
  description = "Pods that call Google's services: name => their namespace, their service account, the role they get."
  type = map(object({
    namespace       = string
    service_account = string
    role            = string
  }))
  default = {}
}
