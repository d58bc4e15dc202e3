variable "name" {
  description = "Name of the release."
  type        = string
  default     = "flotilla"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,38}[a-z0-9]$", var.name))
    error_message = "name is lower-case letters, digits and hyphens, 40 at most."
  }
}

variable "namespace" {
  description = "Namespace of the release."
  type        = string
  default     = "flotilla"
}

variable "create_namespace" {
  description = "Whether to make the namespace, as one that enforces the Pod Security standard restricted, and to remove it with all that is in it. Secrets that the values name must be there before the release, so this is for values that name none."
  type        = bool
  default     = false
}

variable "chart" {
  description = "The chart: a folder, a package or oci://…"
  type        = string
}

variable "chart_version" {
  description = "Version of a chart that comes from a registry."
  type        = string
  default     = null
}

variable "values" {
  description = "Values files as text, the later over the earlier: what modules/values made, and one's own."
  type        = list(string)
}

variable "timeout_s" {
  description = "How long each step may take; what is not ready by then is undone."
  type        = number
  default     = 900
}
