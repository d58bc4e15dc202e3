output "namespace" {
  description = "Where it runs."
  value       = helm_release.this.namespace
}

output "service" {
  description = "The gateway's Service inside the cluster."
  value       = "${var.name}-gateway.${helm_release.this.namespace}.svc"
}

output "revision" {
  description = "The release's revision, as in `flotilla history`."
  value       = helm_release.this.metadata.revision
}
