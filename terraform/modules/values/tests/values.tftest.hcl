variables {
  environment = "production"
  model       = { base_url = "https://models.example.com/v1", name = "large" }
  secrets = {
    identity  = "identity"
    gateway   = "gateway"
    database  = "database"
    migration = "migration"
    redis     = "redis"
  }
}

run "production_names_its_secrets_and_bundles_no_store" {
  command = plan

  assert {
    condition     = yamldecode(output.yaml).secrets.database.existingSecret == "database"
    error_message = "the database's Secret is not named"
  }
  assert {
    condition     = !yamldecode(output.yaml).postgres.enabled && !yamldecode(output.yaml).model.development.enabled
    error_message = "production has a bundled store or model"
  }
  assert {
    condition     = !can(yamldecode(output.yaml).secrets.model)
    error_message = "a Secret without a name is named"
  }
  assert {
    condition     = !output.needs_development_values
    error_message = "production needs the development values"
  }
}

run "sizes_grow" {
  command = plan

  variables {
    size = "large"
  }

  assert {
    condition     = yamldecode(output.yaml).services.orchestrator.autoscaling.maxReplicas == 30
    error_message = "a large orchestrator does not grow to 30"
  }
  assert {
    condition     = yamldecode(output.yaml).services.tool.autoscaling.minReplicas == 3
    error_message = "large has less than 3 pods of a service"
  }
}

run "a_service_may_have_numbers_of_its_own" {
  command = plan

  variables {
    replicas = { evaluator = { min = 1, max = 1 } }
  }

  assert {
    condition     = !yamldecode(output.yaml).services.evaluator.autoscaling.enabled
    error_message = "one pod at least and at most is still scaled"
  }
  assert {
    condition     = yamldecode(output.yaml).services.gateway.autoscaling.enabled
    error_message = "the others are not scaled"
  }
}

run "the_image_may_come_by_digest" {
  command = plan

  variables {
    image = {
      registry = "registry.example.com"
      digests  = { tool = "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945" }
    }
  }

  assert {
    condition     = startswith(yamldecode(output.yaml).image.digests.tool, "sha256:4f53")
    error_message = "the digest is lost"
  }
  assert {
    condition     = !can(yamldecode(output.yaml).image.tag)
    error_message = "an empty tag covers the chart's own"
  }
}

run "hosts_are_served_with_a_certificate" {
  command = plan

  variables {
    hosts          = ["agents.example.com"]
    ingress        = { cluster_issuer = "letsencrypt" }
    database_cidrs = ["10.20.0.0/16"]
    monitoring     = true
  }

  assert {
    condition     = yamldecode(output.yaml).ingress.tls.enabled && yamldecode(output.yaml).ingress.hosts[0] == "agents.example.com"
    error_message = "the host has no certificate"
  }
  assert {
    condition     = yamldecode(output.yaml).networkPolicy.egress.database[0].to[0].ipBlock.cidr == "10.20.0.0/16"
    error_message = "the database's network is not named"
  }
  assert {
    condition     = yamldecode(output.yaml).monitoring.enabled
    error_message = "nothing is monitored"
  }
}

run "development_needs_nothing" {
  command = plan

  variables {
    environment = "development"
    model       = null
    secrets     = null
    size        = "small"
  }

  assert {
    condition     = yamldecode(output.yaml).postgres.enabled && yamldecode(output.yaml).model.development.enabled
    error_message = "development lacks a store or its model"
  }
  assert {
    condition     = output.needs_development_values && !can(yamldecode(output.yaml).secrets)
    error_message = "the development secrets are not asked for"
  }
}

run "production_without_secrets_is_refused" {
  command = plan

  variables {
    secrets = null
  }

  expect_failures = [var.secrets]
}

run "production_without_a_model_is_refused" {
  command = plan

  variables {
    model = null
  }

  expect_failures = [var.model]
}

run "bad_input_is_refused" {
  command = plan

  variables {
    size           = "huge"
    image          = { digests = { tool = "latest" } }
    replicas       = { gateway = { min = 3, max = 2 } }
    database_cidrs = ["somewhere"]
  }

  expect_failures = [var.size, var.image, var.replicas, var.database_cidrs]
}

run "an_unknown_environment_is_refused" {
  command = plan

  variables {
    environment = "prod"
  }

  expect_failures = [var.environment]
}
