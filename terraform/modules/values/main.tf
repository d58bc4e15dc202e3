# Pure: what goes in decides what comes out, without a provider, a cluster or a network.
locals {
  services = ["gateway", "orchestrator", "memory", "tool", "evaluator"]

  # Fewest and most pods, and CPU and memory of a pod; orchestrators do the work, so they are more and larger.
  sizes = {
    small = {
      pods         = { min = 1, max = 2 }
      orchestrator = { min = 1, max = 3, cpu = "100m", memory = "192Mi", memory_limit = "1Gi" }
      cpu          = "25m", memory = "128Mi", memory_limit = "512Mi"
    }
    medium = {
      pods         = { min = 2, max = 6 }
      orchestrator = { min = 2, max = 10, cpu = "250m", memory = "256Mi", memory_limit = "1Gi" }
      cpu          = "100m", memory = "192Mi", memory_limit = "512Mi"
    }
    large = {
      pods         = { min = 3, max = 12 }
      orchestrator = { min = 4, max = 30, cpu = "500m", memory = "512Mi", memory_limit = "2Gi" }
      cpu          = "250m", memory = "256Mi", memory_limit = "1Gi"
    }
  }
  size = local.sizes[var.size]

  pods = {
    for service in local.services : service => lookup(
      var.replicas, service,
      service == "orchestrator" ? { min = local.size.orchestrator.min, max = local.size.orchestrator.max } : local.size.pods
    )
  }

  image = {
    registry    = var.image.registry
    repository  = var.image.repository
    tag         = var.image.tag
    digests     = var.image.digests
    pullSecrets = var.image.pull_secrets
  }

  autoscaling = {
    for service, pods in local.pods : service => {
      autoscaling = { enabled = pods.max > pods.min, minReplicas = pods.min, maxReplicas = pods.max }
      replicas    = pods.min
    }
  }
  orchestrator_resources = {
    requests = { cpu = local.size.orchestrator.cpu, memory = local.size.orchestrator.memory }
    limits   = { memory = local.size.orchestrator.memory_limit }
  }
  services_values = merge(local.autoscaling, {
    orchestrator = merge(local.autoscaling.orchestrator, { resources = local.orchestrator_resources })
  })

  # A section that is null is left to the chart.
  sections = {
    appEnv = var.environment
    image  = { for name, value in local.image : name => value if length(value) > 0 }
    defaults = {
      resources = {
        requests = { cpu = local.size.cpu, memory = local.size.memory }
        limits   = { memory = local.size.memory_limit }
      }
    }
    services      = local.services_values
    monitoring    = { enabled = var.monitoring }
    model         = local.model_values
    secrets       = var.secrets == null ? null : { for secret, name in var.secrets : secret => { existingSecret = name } if name != "" }
    postgres      = { enabled = local.needs_development_values }
    valkey        = { enabled = local.needs_development_values }
    ingress       = length(var.hosts) == 0 ? null : local.ingress_values
    networkPolicy = length(var.database_cidrs) == 0 ? null : local.network_values
  }
  values = { for name, section in local.sections : name => section if section != null }

  # The development secrets are in the chart's values-development.yaml, and nowhere else.
  needs_development_values = var.secrets == null

  model_values = {
    baseUrl        = try(var.model.base_url, "")
    name           = try(var.model.name, "")
    embeddingModel = try(var.model.embedding_model, "")
    development    = { enabled = var.model == null }
  }
  ingress_values = {
    enabled     = true
    className   = var.ingress.class_name
    annotations = var.ingress.annotations
    hosts       = var.hosts
    tls = {
      enabled       = var.ingress.cluster_issuer != "" || var.ingress.tls_secret != ""
      clusterIssuer = var.ingress.cluster_issuer
      secretName    = var.ingress.tls_secret
    }
  }
  network_values = {
    egress = {
      database = [{
        to    = [for cidr in var.database_cidrs : { ipBlock = { cidr = cidr } }]
        ports = [{ protocol = "TCP", port = 5432 }]
      }]
    }
  }
}
