variable "project" {
  description = "Whose the identities are."
  type        = string
}

variable "project_number" {
  description = "The project's number."
  type        = number
}

variable "environment" {
  description = "The environment whose infrastructure is planned. Jobs run in the CI's environment plan-ENVIRONMENT."
  type        = string
}

variable "repository" {
  description = "OWNER/NAME whose pull requests are planned."
  type        = string
}

variable "repository_id" {
  description = "The repository's number: a name that was given up can be taken by somebody else."
  type        = number
}

variable "bucket" {
  description = "The bucket with the states."
  type        = string
}
