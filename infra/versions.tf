# The one statement of versions: every module and layer links to it. The lock file pins one version of these ranges.
terraform {
  required_version = "~> 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.0"
    }
  }
}
