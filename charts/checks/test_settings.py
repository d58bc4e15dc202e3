"""The environment that the chart gives is one that the services accept, seen by the services' own code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from flotilla_common.identity import generate_key_pair
from flotilla_llm.settings import ModelSettings
from render import CHART, Manifest, RenderError, helm_template, manifests, named, of_kind, parse
from workloads import SERVICES, component, pod_spec

# What the image does not read from settings models.
KNOWN = {"APP_ENV", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_EXPORTER_OTLP_ENDPOINT"}
MODELS_ELSEWHERE = """
secrets: { development: { modelApiKey: sk-1 } }
model:
  development: { enabled: false }
  baseUrl: https://models.example.com/v1
  name: chat
  embeddingBaseUrl: http://embeddings.models/v1
  embeddingModel: embed
  routes: { local: { base_url: "http://vllm.models/v1", model: qwen, api_key_file: /run/flotilla/model/vllm } }
"""
# The evaluator's models, and the gateway's view of it, are named by the architecture and come with their features.
COMING = {"GATEWAY_EVALUATOR_TARGET"}


def test_every_variable_is_a_setting(rendered: list[Manifest]) -> None:
    for settings in of_kind(rendered, "ConfigMap"):
        if "APP_ENV" in settings["data"]:
            known = variables_of(component(settings)) | KNOWN | COMING

            assert settings["data"].keys() <= known, settings["metadata"]["name"]


def test_numbers_of_a_values_file_are_written_out() -> None:
    found = manifests(
        "production",
        values="""
            gateway: { requestsPerMinute: 6000000 }
            defaults: { drain: { maxSeconds: 1000000 } }
            model: { env: { FLOTILLA_MODEL_CONTEXT_WINDOW: 1000000 }, routes: { long: { context_window: 2000000 } } }
            services: { tool: { env: { TOOL_RESULT_CAP_BYTES: 10485760, TOOL_TRACE_RATIO: 0.05, TOOL_FLAG: true } } }
        """,
    )

    gateway, tool, memory = (settings_of(found, service) for service in ("gateway", "tool", "memory"))
    assert gateway["GATEWAY_REQUESTS_PER_MINUTE"] == "6000000"
    assert gateway["GATEWAY_DRAIN_MAX_S"] == "1000000"
    assert tool["TOOL_RESULT_CAP_BYTES"] == "10485760"
    assert (tool["TOOL_TRACE_RATIO"], tool["TOOL_FLAG"]) == ("0.05", "true")
    assert memory["FLOTILLA_MODEL_CONTEXT_WINDOW"] == "1000000"
    assert "context_window: 2000000" in named(found, "ConfigMap", "flotilla-routes-blue")["data"]["routes.yaml"]


def test_numbers_among_the_bundled_stores_settings_are_written_out() -> None:
    found = manifests("development", values="postgres: { settings: { max_connections: 300, work_mem: 1048576 } }")

    [container] = pod_spec(named(found, "StatefulSet", "flotilla-postgres"))["containers"]
    assert {"max_connections=300", "work_mem=1048576"} <= set(container["args"])


@pytest.mark.parametrize("name", ["@cf/meta/llama", "4711", "a: b", "*", "true", 'it\'s "it"'])
def test_names_of_models_are_what_was_given(name: str) -> None:
    found = manifests("production", values=json.dumps({"model": {"name": name, "embeddingModel": name}}))

    memory = settings_of(found, "memory")
    assert (memory["FLOTILLA_MODEL_NAME"], memory["FLOTILLA_EMBEDDING_MODEL"]) == (name, name)


def test_every_variable_is_text(rendered: list[Manifest]) -> None:
    for settings in of_kind(rendered, "ConfigMap"):
        assert all(isinstance(value, str) for value in settings["data"].values())


def test_what_env_says_is_said_once_and_wins() -> None:
    text = helm_template(
        "production",
        values="""
            model: { env: { FLOTILLA_MODEL_NAME: other, FLOTILLA_EMBEDDING_MODEL: of-all } }
            services: { memory: { env: { MEMORY_LOG_LEVEL: DEBUG, FLOTILLA_EMBEDDING_MODEL: own } } }
        """,
    )

    found = parse(text)
    memory = settings_of(found, "memory")
    assert (memory["MEMORY_LOG_LEVEL"], memory["FLOTILLA_MODEL_NAME"]) == ("DEBUG", "other")
    assert memory["FLOTILLA_EMBEDDING_MODEL"] == "own"
    assert settings_of(found, "orchestrator")["FLOTILLA_EMBEDDING_MODEL"] == "of-all"
    assert text.count("  MEMORY_LOG_LEVEL: ") == 1


@pytest.mark.parametrize(("name", "value"), [("TOOL_DRAIN_MAX_S", "drain.maxSeconds"), ("APP_ENV", "appEnv")])
def test_what_more_depends_on_is_no_variable_of_ones_own(name: str, value: str) -> None:
    with pytest.raises(RenderError, match=rf"services\.tool\.env\.{name}: .* set by the value {value}"):
        manifests("production", values=f"services: {{tool: {{env: {{{name}: '9'}}}}}}")


@pytest.mark.parametrize("service", SERVICES)
def test_the_preflight_passes_what_the_chart_gives(development: list[Manifest], tmp_path: Path, service: str) -> None:
    done = preflight(development, service, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_preflight_names_a_missing_secret(development: list[Manifest], tmp_path: Path) -> None:
    done = preflight(development, "memory", tmp_path, without="database-url")

    assert done.returncode == 1
    assert "secrets.database: there is no Secret flotilla-database-preflight with the key memory-url" in done.stderr


def test_the_preflight_names_an_agents_wrong_line(tmp_path: Path) -> None:
    wrong = "name: sales\ndescription: Sells.\npattern: react\nprompt: prompts/none.md\n"
    found = manifests("development", values=json.dumps({"agents": {"files": {"sales.yaml": wrong}}}))

    done = preflight(found, "orchestrator", tmp_path)

    assert done.returncode == 1
    assert "agents.files: sales.yaml:4:9: there is no prompt 'prompts/none.md'" in done.stderr


@pytest.mark.parametrize("service", ["memory", "orchestrator"])
def test_the_preflight_names_every_route_whose_key_is_missing(tmp_path: Path, service: str) -> None:
    found = manifests("development", values=MODELS_ELSEWHERE)

    done = preflight(found, service, tmp_path)

    assert done.returncode == 1
    hint = "secrets.model: there is no Secret flotilla-model-preflight with this key in the namespace agents"
    assert done.stderr.splitlines() == [
        f"model route embedding: there is no file {tmp_path}/run/flotilla/model/embedding-api-key; {hint}",
        f"model route local: there is no file /run/flotilla/model/vllm; {hint}",
    ]


def test_a_server_that_wants_no_key_is_given_none(tmp_path: Path) -> None:
    keyless = "secrets.model.keys.apiKey=,secrets.model.keys.embeddingApiKey=,model.routes.local.api_key_file=null"
    found = manifests("development", "--set", keyless, values=MODELS_ELSEWHERE)

    done = preflight(found, "memory", tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert not [name for name in settings_of(found, "memory") if name.endswith("_API_KEY_FILE")]


def test_the_preflight_names_a_wrong_setting(tmp_path: Path) -> None:
    found = manifests("development", values="services: {memory: {env: {MEMORY_RECALL_MEMORIES: many}}}")

    done = preflight(found, "memory", tmp_path)

    assert done.returncode == 2
    assert done.stderr.startswith("MEMORY_RECALL_MEMORIES: ")


def settings_of(found: list[Manifest], service: str) -> dict[str, str]:
    settings: dict[str, str] = named(found, "ConfigMap", f"flotilla-{service}-blue")["data"]
    return settings


def variables_of(service: str) -> set[str]:
    settings = getattr(import_module(f"flotilla_{service}.settings"), f"{service.capitalize()}Settings")
    models = [(settings, f"{service.upper()}_"), (ModelSettings, "FLOTILLA_")]
    names = {f"{prefix}{field}".upper() for model, prefix in models for field in model.model_fields}
    return names | {f"{name}_FILE" for name in names}


def preflight(
    found: list[Manifest], service: str, root: Path, *, without: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a service's part of the preflight with its Secrets and agents below a folder instead of below /."""
    spec = pod_spec(named(found, "Job", "flotilla-preflight-blue"))
    [container] = [each for each in spec["containers"] if each["name"] == service]
    for mount in container["volumeMounts"]:
        [volume] = [each for each in spec["volumes"] if each["name"] == mount["name"]]
        fill(root / mount["mountPath"].lstrip("/"), volume, found, without)
    here = {
        each["name"]: each["value"]
        .replace("/run/flotilla", f"{root}/run/flotilla")
        .replace("/etc/flotilla", f"{root}/etc/flotilla")
        for each in container["env"]
    }
    arguments = [each.replace("/run/flotilla", f"{root}/run/flotilla") for each in container["command"][3:]]
    command = [sys.executable, str(CHART / "files/preflight.py"), service, *arguments]
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"], **here}, capture_output=True, text=True, check=False
    )


def fill(folder: Path, volume: Manifest, found: list[Manifest], without: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sources = [("Secret", each["secret"]) for each in volume.get("projected", {}).get("sources", [])]
    if "configMap" in volume:
        sources = [("ConfigMap", volume["configMap"])]
    if "secret" in volume:
        sources = [("Secret", {"name": volume["secret"]["secretName"], **volume["secret"]})]
    for kind, source in sources:
        made = named(found, kind, source["name"])
        texts = made["data" if kind == "ConfigMap" else "stringData"]
        for item in source.get("items", [{"key": key, "path": key} for key in texts]):
            if item["path"] != without:
                file = folder / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(texts[item["key"]])


def test_the_public_keys_belong_to_the_private_ones(development: list[Manifest], tmp_path: Path) -> None:
    keys_module = import_module("flotilla_common.identity.keys")
    generate_key_pair(tmp_path / "own.key", tmp_path / "own.pub")
    pair = named(development, "Secret", "flotilla-identity")["stringData"]

    for issuer in ("gateway", "orchestrator"):
        for half in ("key", "pub"):
            (tmp_path / f"{issuer}.{half}").write_text(pair[f"{issuer}.{half}"])
        private = keys_module.read_private_key(tmp_path / f"{issuer}.key")
        assert private.verify_key == keys_module.read_public_key(tmp_path / f"{issuer}.pub")
