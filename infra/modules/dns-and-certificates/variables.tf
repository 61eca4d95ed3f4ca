variable "name" {
  description = "Of everything here; the Gateway's manifests refer to it."
  type        = string
}

variable "domain" {
  description = "The zone; each host is a name in it."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain must be a domain name in lower case, without a dot at its end."
  }
}

variable "hosts" {
  description = "The public services."
  type        = set(string)

  validation {
    condition     = alltrue([for host in var.hosts : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", host))])
    error_message = "A host is one label: the certificate covers DOMAIN and *.DOMAIN."
  }
}

variable "waf_preview" {
  description = "Whether the WAF rules only log what they would refuse: for the first days, until the logs show no false positives."
  type        = bool
  default     = false
}

variable "requests_per_minute" {
  description = "From one address, over all hosts; more are answered 429."
  type        = number
  default     = 6000
}
