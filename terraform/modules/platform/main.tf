resource "kubernetes_namespace_v1" "this" {
  count = var.create_namespace ? 1 : 0

  metadata {
    name = var.namespace
    labels = {
      "pod-security.kubernetes.io/enforce" = "restricted"
      "pod-security.kubernetes.io/warn"    = "restricted"
      "pod-security.kubernetes.io/audit"   = "restricted"
    }
  }
}

resource "helm_release" "this" {
  name      = var.name
  namespace = var.create_namespace ? kubernetes_namespace_v1.this[0].metadata[0].name : var.namespace
  chart     = var.chart
  version   = var.chart_version
  values    = var.values

  atomic          = true
  cleanup_on_fail = true
  wait            = true
  timeout         = var.timeout_s
  max_history     = 10
}
