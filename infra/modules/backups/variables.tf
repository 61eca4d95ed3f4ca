variable "bucket" {
  description = "The bucket's name, unique in the world."
  type        = string
}

variable "project" {
  description = "Whose cluster writes here."
  type        = string
}

variable "project_number" {
  description = "The project's number."
  type        = number
}

variable "location" {
  description = "Where the backups are: a region other than the cluster's, or a multi-region (EU, US, ASIA)."
  type        = string
}

variable "namespace" {
  description = "Where the job runs."
  type        = string
}

variable "service_account" {
  description = "The job's Kubernetes service account."
  type        = string
}

variable "keep_days" {
  description = "After so many days a backup is deleted."
  type        = number
  default     = 35
}

variable "retain_days" {
  description = "For so many days nobody can delete a backup."
  type        = number
  default     = 30

  validation {
    condition     = var.retain_days >= 1 && var.retain_days < var.keep_days
    error_message = "retain_days must be 1 or more, and less than keep_days."
  }
}

variable "readers" {
  description = "Who may fetch backups, to restore them: name => member. What they fetch is encrypted."
  type        = map(string)
  default     = {}
}
