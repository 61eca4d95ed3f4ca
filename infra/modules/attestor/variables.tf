variable "name" {
  description = "Of the note and the attestor."
  type        = string
}

variable "project" {
  description = "Whose the attestor is."
  type        = string
}

variable "key" {
  description = "The id of the key in KMS that signs attestations."
  type        = string
}

variable "attester" {
  description = "Who attests images: an IAM member."
  type        = string
}
