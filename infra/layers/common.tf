# What all layers have in common; each links to this file. Values: environments/ENV/{backend,environment}.tfvars.
terraform {
  # The bucket comes from backend.tfvars, the prefix is the layer's name: one state for each environment and layer. The
  # backend locks a state while somebody plans or applies.
  backend "gcs" {}
}

# tflint-ignore: terraform_unused_declarations # foundation reads no other layer's state
variable "bucket" {
  description = "The bucket with the environment's states."
  type        = string
}

variable "environment" {
  description = "What all layers of an environment have to know."
  type = object({
    name           = string # also the name of the environment in the CI
    project        = string # of its own: nothing is shared between environments
    project_number = number
    region         = string
    domain         = string # countries.DOMAIN and so on are public
  })

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,14}$", var.environment.name))
    error_message = "environment.name must be 2 to 15 lower-case letters and digits, a letter first."
  }
}

provider "google" {
  project = var.environment.project
  region  = var.environment.region

  # Calls with a person's credentials count against the quota of the environment's project. Without this they count
  # against the project of gcloud's OAuth client, and several APIs (quotas, budgets) refuse them.
  user_project_override = true
  billing_project       = var.environment.project

  default_labels = {
    environment = var.environment.name
    part-of     = "slipway"
    managed-by  = "terraform"
  }
}
