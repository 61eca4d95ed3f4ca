variable "name" {
  description = "Of the key ring."
  type        = string
}

variable "project_number" {
  description = "The project's number."
  type        = number
}

variable "region" {
  description = "Where the keys are: that of the cluster, which must reach them to start."
  type        = string
}

variable "attester" {
  description = "Who attests images: an IAM member."
  type        = string
}
