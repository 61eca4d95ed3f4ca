# The bucket with the states of all layers, this one's too. scripts/infra bootstrap applies it; nothing comes before it.
module "state" {
  source = "../../modules/state"
  bucket = var.bucket
  region = var.environment.region
}
