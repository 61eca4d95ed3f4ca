variable "name" {
  description = "Of the cluster."
  type        = string
}

variable "project" {
  description = "Whose the cluster is."
  type        = string
}

variable "region" {
  description = "Of the cluster: the control plane and the nodes are spread over its zones."
  type        = string
}

variable "network" {
  description = "The network's id."
  type        = string
}

variable "subnetwork" {
  description = "The id of a subnetwork with secondary ranges called pods and services."
  type        = string
}

variable "node_service_account" {
  description = "The nodes' identity: its e-mail address."
  type        = string
}

variable "secrets_key" {
  description = "The id of the KMS key that encrypts Kubernetes Secrets."
  type        = string
}

variable "security_group" {
  description = "The Google group whose member groups RBAC can name: gke-security-groups@DOMAIN, which is the only name that GKE takes."
  type        = string

  validation {
    condition     = can(regex("^gke-security-groups@[a-z0-9.-]+$", var.security_group))
    error_message = "security_group must be gke-security-groups@DOMAIN."
  }
}

variable "attestor" {
  description = "The id of the attestor whose attestation an image needs."
  type        = string
}

variable "foreign_images" {
  description = "Images that need no attestation, REPOSITORY@sha256:DIGEST: cert-manager's."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for image in var.foreign_images : can(regex("^[a-z0-9./_-]+@sha256:[0-9a-f]{64}$", image))])
    error_message = "foreign_images must be named by digest: a tag can be moved to another image."
  }
}

variable "protected" {
  description = "Whether Terraform and everybody else must lift a protection before the cluster can be deleted."
  type        = bool
}

variable "autopilot" {
  description = "Nodes are the platform's business (Autopilot), or a pool of ours (Standard)."
  type        = bool
  default     = true
}

variable "nodes" {
  description = "Standard only: the pool. min and max count the nodes of all zones."
  type = object({
    machine_type = optional(string, "e2-standard-2")
    disk_gb      = optional(number, 50)
    min          = optional(number, 3)
    max          = optional(number, 9)
  })
  default = {}

  validation {
    condition     = var.nodes.min >= 1 && var.nodes.max >= var.nodes.min
    error_message = "nodes.min must be 1 or more, and nodes.max not below it."
  }
}

variable "authorized_networks" {
  description = "From where the control plane's address may be reached: name => range. Nowhere is a good default."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([
      for range in values(var.authorized_networks) : can(cidrnetmask(range)) && try(tonumber(split("/", range)[1]) >= 16, false)
    ])
    error_message = "An authorized network is an IPv4 range of /16 or smaller: never the world."
  }
}

variable "only_own_images" {
  description = "Whether binary authorization refuses images that the CI has not attested."
  type        = bool
  default     = false
}

variable "channel" {
  description = "Which versions of Kubernetes: RAPID, REGULAR or STABLE."
  type        = string
  default     = "REGULAR"

  validation {
    condition     = contains(["RAPID", "REGULAR", "STABLE"], var.channel)
    error_message = "channel must be RAPID, REGULAR or STABLE."
  }
}

variable "maintenance" {
  description = "When the platform may upgrade: times are UTC, days as in RFC 5545. It wants 48 hours in any 32 days."
  type = object({
    from = optional(string, "00:00")
    to   = optional(string, "06:00")
    days = optional(string, "SA,SU,MO,TU")
  })
  default = {}

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.maintenance.from)) && can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.maintenance.to))
    error_message = "maintenance.from and maintenance.to must be times, as 01:30."
  }
}
