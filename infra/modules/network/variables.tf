variable "name" {
  description = "Of the network and all in it."
  type        = string
}

variable "region" {
  description = "Where the subnetwork is."
  type        = string
}

variable "ranges" {
  description = "Private address ranges. A node takes a /24 of the pods'; networks that are ever to be joined must differ."
  type = object({
    nodes    = string
    pods     = string
    services = string
  })

  validation {
    condition = alltrue([
      for range in values(var.ranges) :
      can(cidrnetmask(range)) && can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.|100\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\\.)", range))
    ])
    error_message = "Every range must be an IPv4 range of RFC 1918 or RFC 6598, as 10.0.0.0/20."
  }
}

variable "flow_sampling" {
  description = "Part of the flows that is logged, 0 (none) to 1."
  type        = number
  default     = 0

  validation {
    condition     = var.flow_sampling >= 0 && var.flow_sampling <= 1
    error_message = "flow_sampling must be 0 to 1."
  }
}

variable "node_service_account" {
  description = "The nodes' identity (e-mail address): the firewall rule applies to them."
  type        = string
}
