variable "environment" {
  description = "What it is for: decides the defaults of the services' settings, and whether stores may be bundled."
  type        = string
  validation {
    condition     = contains(["development", "staging", "production"], var.environment)
    error_message = "environment is development, staging or production."
  }
}

variable "size" {
  description = "How much of everything there is: small (a trial), medium (tens of runs at once) or large (hundreds)."
  type        = string
  default     = "medium"
  validation {
    condition     = contains(["small", "medium", "large"], var.size)
    error_message = "size is small, medium or large."
  }
}

variable "image" {
  description = "Where the images are; digests by service win over the tag."
  type = object({
    registry     = optional(string, "")
    repository   = optional(string, "flotilla")
    tag          = optional(string, "")
    digests      = optional(map(string), {})
    pull_secrets = optional(list(string), [])
  })
  default = {}
  validation {
    condition     = alltrue([for digest in values(var.image.digests) : can(regex("^sha256:[0-9a-f]{64}$", digest))])
    error_message = "image.digests are sha256: and 64 hexadecimal digits."
  }
}

variable "model" {
  description = "The OpenAI-compatible API that answers; none is the development model, which only development may use."
  type = object({
    base_url        = string
    name            = string
    embedding_model = optional(string, "")
  })
  default = null
  validation {
    condition     = var.model != null || var.environment == "development"
    error_message = "model is needed: only development has a model of its own, and that has no quality."
  }
}

variable "secrets" {
  description = "Names of the Secrets that exist in the namespace; none has the publicly known ones of the chart made."
  type = object({
    identity  = string
    gateway   = string
    database  = string
    migration = string
    redis     = string
    model     = optional(string, "")
  })
  default = null
  validation {
    condition     = var.secrets != null || var.environment == "development"
    error_message = "secrets are needed: those that the chart makes are public, and only for development."
  }
}

variable "hosts" {
  description = "Host names that the gateway is reached by; none for no Ingress."
  type        = list(string)
  default     = []
}

variable "ingress" {
  description = "How the hosts are served; the names are the cluster's default when empty."
  type = object({
    class_name     = optional(string, "")
    annotations    = optional(map(string), {})
    cluster_issuer = optional(string, "")
    tls_secret     = optional(string, "")
  })
  default = {}
}

variable "database_cidrs" {
  description = "Networks that the database is in; any, when empty."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for cidr in var.database_cidrs : can(cidrhost(cidr, 0))])
    error_message = "database_cidrs are networks, such as 10.20.0.0/16."
  }
}

variable "replicas" {
  description = "Fewest and most pods of a service, in place of its size's."
  type        = map(object({ min = number, max = number }))
  default     = {}
  validation {
    condition     = alltrue([for range in values(var.replicas) : range.min >= 1 && range.min <= range.max])
    error_message = "replicas: min is 1 or more, and not more than max."
  }
  validation {
    condition = alltrue([
      for service in keys(var.replicas) : contains(["gateway", "orchestrator", "memory", "tool", "evaluator"], service)
    ])
    error_message = "replicas are of gateway, orchestrator, memory, tool or evaluator."
  }
}

variable "monitoring" {
  description = "Whether the cluster has the Prometheus operator."
  type        = bool
  default     = false
}
