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
  description = "The last versions of each image are kept whatever their age, the others for so many days."
  type = object({
    versions = optional(number, 20)
    days     = optional(number, 30)
  })
  default = {}

  validation {
    condition     = var.keep.versions >= 2
    error_message = "keep.versions must be 2 or more: the running one and the one to go back to."
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
