output "yaml" {
  description = "Values for the chart; in development without secrets they go over the chart's values-development.yaml."
  value       = yamlencode(local.values)
}

output "needs_development_values" {
  description = "Whether the chart's values-development.yaml has to come before these values."
  value       = local.needs_development_values
}
