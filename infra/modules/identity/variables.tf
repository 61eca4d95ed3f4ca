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
  description = <<-EOT
    Whose jobs are believed: the repository by name and number, and the one branch or tag. workflows: the files in
    .github/workflows whose jobs deploy, and change the infrastructure; null where none does.
  EOT
  type = object({
    repository    = string
    repository_id = number
    ref           = string
    workflows = object({
      deploy = string
      infra  = optional(string)
    })
  })

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.ci.repository))
    error_message = "ci.repository must be OWNER/NAME, without wildcards."
  }

  validation {
    condition     = can(regex("^refs/(heads|tags)/[A-Za-z0-9._/-]+$", var.ci.ref))
    error_message = "ci.ref must be refs/heads/NAME or refs/tags/NAME."
  }

  validation {
    condition     = alltrue([for file in values(var.ci.workflows) : can(regex("^[A-Za-z0-9_-]+\\.ya?ml$", file)) if file != null])
    error_message = "ci.workflows must be names of files, without a folder."
  }

  validation {
    condition     = var.ci.workflows.deploy != var.ci.workflows.infra
    error_message = "ci.workflows must be two: whose jobs deploy may not own the project."
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

variable "deployers" {
  description = "People who deploy from their own machines: name => member. They may test as the account smoke-test."
  type        = map(string)
  default     = {}
}

variable "developers" {
  description = "People who may connect to the cluster: name => member. RBAC decides what they may do there."
  type        = map(string)
  default     = {}
}
