variable "name" {
  description = "Of the repository."
  type        = string
}

variable "project" {
  description = "Whose the images are."
  type        = string
}

variable "region" {
  description = "Where the images are."
  type        = string
}

variable "keep" {
  description = <<-EOT
    The last images of each name are kept whatever their age, the others for so many days. Every deployment pushes one,
    and as many as a namespace remembers releases must be there to go back to: KEPT in scripts/deployment/releases.py.
  EOT
  type = object({
    images = optional(number, 20)
    days   = optional(number, 30)
  })
  default = {}

  validation {
    condition     = var.keep.images >= 10
    error_message = "keep.images must be 10 or more: those of the releases to go back to."
  }
}

variable "readers" {
  description = "Who may pull: name => member."
  type        = map(string)
}

variable "writers" {
  description = "Who may push: name => member."
  type        = map(string)
}
