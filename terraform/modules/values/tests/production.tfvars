environment    = "production"
size           = "large"
image          = { registry = "registry.example.com", tag = "1.2.3", pull_secrets = ["registry"] }
model          = { base_url = "https://models.example.com/v1", name = "large", embedding_model = "embedding" }
hosts          = ["agents.example.com"]
ingress        = { class_name = "traefik", cluster_issuer = "letsencrypt" }
database_cidrs = ["10.20.0.0/16"]
replicas       = { evaluator = { min = 1, max = 1 } }
monitoring     = true
secrets = {
  identity  = "flotilla-identity"
  gateway   = "flotilla-gateway"
  database  = "flotilla-database"
  migration = "flotilla-owner"
  redis     = "flotilla-redis"
  model     = "flotilla-model"
}
