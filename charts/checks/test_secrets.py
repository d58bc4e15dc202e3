"""Who sees which secret: files only, and each service no more than it needs."""

from __future__ import annotations

import json

import pytest
from render import CASES, Manifest, RenderError, manifests, named, of_kind
from workloads import SERVICES, component, containers, pod_spec, pods, references, services

MODEL_USERS = {"orchestrator", "memory", "evaluator"}


def test_secrets_are_never_in_the_environment(rendered: list[Manifest]) -> None:
    for workload in pods(rendered):
        from_secrets = [
            variable["name"]
            for container in containers(pod_spec(workload))
            for variable in container.get("env", [])
            if "secretKeyRef" in variable.get("valueFrom", {})
        ]

        # The images of Postgres that we know take the first password from there alone.
        assert from_secrets == (["POSTGRES_PASSWORD"] if component(workload) == "postgres" else [])


def test_only_those_that_call_models_see_their_key(production: list[Manifest]) -> None:
    seeing = {
        component(each) for each in services(production) if ("Secret", "flotilla-model") in references(pod_spec(each))
    }

    assert seeing == MODEL_USERS


def test_each_service_sees_its_own_database_url_and_private_key(production: list[Manifest]) -> None:
    for deployment in services(production):
        service = component(deployment)
        keys = {key for _, key in projected(deployment)}

        assert {key for key in keys if key.endswith("-url")} - {"redis-url"} == {f"{service}-url"}
        assert {key for key in keys if key.endswith(".key")} <= {f"{service}.key"}
        assert ("redis-url" in keys) == (service == "gateway")
        assert ({"key-pepper", "admin-key"} <= keys) == (service == "gateway")


def test_only_the_migration_sees_the_owners_url(rendered: list[Manifest]) -> None:
    seeing = {
        component(workload)
        for workload in pods(rendered)
        if any(
            item["key"] == "owner-url"
            for volume in pod_spec(workload)["volumes"]
            for item in volume.get("secret", {}).get("items", [])
        )
    }

    # The preflight only looks whether it is there.
    assert seeing - {"preflight"} == {"migration"}


def test_no_admin_key_is_mounted_where_there_is_none(two_colours: list[Manifest]) -> None:
    keys = {key for deployment in services(two_colours) for _, key in projected(deployment)}

    assert "key-pepper" in keys
    assert "admin-key" not in keys


@pytest.mark.parametrize("kind", ["identity", "gateway", "database", "migration", "redis"])
def test_a_secret_that_is_not_named_is_asked_for(kind: str) -> None:
    with pytest.raises(RenderError, match=rf"secrets\.{kind}\.existingSecret is not set: name a Secret with the keys"):
        manifests("production", "--set", f"secrets.{kind}.existingSecret=")


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_public_secrets_are_refused_outside_of_development(environment: str) -> None:
    with pytest.raises(RenderError, match="'/appEnv': value must be one of 'development', 'test'"):
        manifests("development", "--set", f"appEnv={environment}")


def test_public_secrets_are_refused_also_without_the_schema() -> None:
    with pytest.raises(RenderError, match="makes Secrets of publicly known values"):
        manifests("development", "--set", "appEnv=production", "--skip-schema-validation")


@pytest.mark.parametrize("store", ["postgres", "valkey"])
def test_bundled_stores_are_refused_outside_of_development(store: str) -> None:
    with pytest.raises(RenderError, match=rf"{store}\.enabled is for development"):
        manifests("production", "--set", f"{store}.enabled=true")


def test_production_makes_no_secret(production: list[Manifest]) -> None:
    assert of_kind(production, "Secret") == []


@pytest.mark.parametrize("case", list(CASES))
def test_a_private_ca_is_in_every_pod_that_calls_out(case: str) -> None:
    found = manifests(case, values="caBundle: {configMap: corporate, key: bundle.pem}")

    users = [each for each in pods(found) if component(each) in (*SERVICES, "preflight", "migration")]
    for workload in users:
        for container in pod_spec(workload)["containers"]:
            if (component(workload), container["name"]) != ("preflight", "migration"):
                [mount] = [each for each in container["volumeMounts"] if each["mountPath"] == "/etc/flotilla/ca"]
                [volume] = [each for each in pod_spec(workload)["volumes"] if each["name"] == mount["name"]]
                assert mount["readOnly"] is True
                assert volume["configMap"]["name"] == "corporate"
                assert volume["configMap"]["items"] == [{"key": "bundle.pem", "path": "bundle.pem"}]
                # So that the preflight can say that it is missing.
                assert volume["configMap"].get("optional", False) == (component(workload) == "preflight")
    for settings in of_kind(found, "ConfigMap"):
        if "APP_ENV" in settings["data"]:
            for name in ("SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
                assert settings["data"][name] == "/etc/flotilla/ca/bundle.pem"


def test_the_preflight_looks_for_the_private_ca() -> None:
    found = manifests("production", values="caBundle: {configMap: corporate}")

    for container in pod_spec(named(found, "Job", "flotilla-preflight-blue"))["containers"]:
        if container["name"] in SERVICES:
            complaint = json.loads(container["command"][3])["/etc/flotilla/ca/ca.crt"]
            assert complaint == "caBundle: there is no ConfigMap corporate with the key ca.crt in the namespace agents"


def projected(workload: Manifest) -> set[tuple[str, str]]:
    return {
        (source["secret"]["name"], item["key"])
        for volume in pod_spec(workload)["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    }
