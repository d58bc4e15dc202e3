# Needs the two providers' schemas, but neither a cluster nor credentials.
mock_provider "helm" {}
mock_provider "kubernetes" {}

variables {
  chart  = "oci://registry.example.com/charts/flotilla"
  values = ["appEnv: staging"]
}

run "a_namespace_that_is_made_enforces_restricted_pods" {
  command = plan

  variables {
    create_namespace = true
  }

  assert {
    condition     = kubernetes_namespace_v1.this[0].metadata[0].labels["pod-security.kubernetes.io/enforce"] == "restricted"
    error_message = "the namespace lets any pod in"
  }
  assert {
    condition     = helm_release.this.atomic && helm_release.this.wait
    error_message = "a failed release is not undone"
  }
}

run "the_namespace_and_the_secrets_in_it_are_ones_own" {
  command = plan

  variables {
    namespace = "agents"
  }

  assert {
    condition     = length(kubernetes_namespace_v1.this) == 0 && helm_release.this.namespace == "agents"
    error_message = "the namespace is made, and would be destroyed, though nobody asked for it"
  }
}

run "a_name_that_is_too_long_is_refused" {
  command = plan

  variables {
    name = "a-name-that-is-longer-than-forty-characters-is"
  }

  expect_failures = [var.name]
}
