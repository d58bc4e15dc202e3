# Flotilla on a cluster that is there already, with stores and Secrets that are there already.
variable "context" {
  description = "The kubeconfig's context."
  type        = string
}

variable "image_tag" {
  description = "The version to run."
  type        = string
}

provider "kubernetes" {
  config_path    = "~/.kube/config"
  config_context = var.context
}

provider "helm" {
  kubernetes = {
    config_path    = "~/.kube/config"
    config_context = var.context
  }
}

module "values" {
  source = "../../modules/values"

  environment    = "production"
  size           = "medium"
  image          = { registry = "registry.example.com", tag = var.image_tag }
  model          = { base_url = "https://models.example.com/v1", name = "large" }
  hosts          = ["agents.example.com"]
  ingress        = { cluster_issuer = "letsencrypt" }
  database_cidrs = ["10.20.0.0/16"]
  monitoring     = true
  secrets = {
    identity  = "flotilla-identity"
    gateway   = "flotilla-gateway"
    database  = "flotilla-database"
    migration = "flotilla-owner"
    redis     = "flotilla-redis"
    model     = "flotilla-model"
  }
}

module "platform" {
  source = "../../modules/platform"

  chart  = "../../../charts/flotilla"
  values = [module.values.yaml]
}

output "service" {
  description = "The gateway's Service inside the cluster."
  value       = module.platform.service
}
