config {
  call_module_type = "local"
}

plugin "terraform" {
  enabled = true
  preset  = "all"
}

# The variables that all layers have stand once, in common.tf.
rule "terraform_standard_module_structure" {
  enabled = false
}
