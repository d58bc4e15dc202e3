"""What the platform is compared with, all in front of the same development model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import Pace
from benchmarks.processes import free_port, running

LITELLM = "litellm[proxy]"
_SCRIPT = f"""
rules:
  - match: "{Pace.EVERY_20_MS}"
    delay_ms_per_token: 20
  - match: "{Pace.AFTER_A_SECOND}"
    first_token_delay_ms: 1000
"""
_LITELLM_CONFIG = """
model_list:
  - model_name: assistant
    litellm_params: {{model: openai/flotilla-dev, api_base: "{model_url}", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0}}
# Without a key it does nothing but pass on, which is its cheapest way; it listens on the loopback only.
general_settings: {{dangerously_permit_weak_or_unset_master_key: true}}
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where chats are sent and which processes they cost."""

    base_urls: Sequence[str]
    """Without `/v1`."""
    pids: Mapping[str, Sequence[int]]
    api_key: str = "none"
    names_users: bool = False
    """Each chat is for one of many end users, so that memory has somebody to remember."""
    model: str = "assistant"


@contextmanager
def development_model(work: Path) -> Iterator[Endpoint]:
    """Runs the model that everything is measured with."""
    script, port = work / "model.yaml", free_port()
    script.write_text(_SCRIPT)
    command = [sys.executable, "-m", "flotilla_llm.development", "--port", str(port), "--script", str(script)]
    url = f"http://127.0.0.1:{port}"
    with running(command, ready_url=f"{url}/v1/models", log=work / "model.log") as pid:
        yield Endpoint((url,), {"model": [pid]}, model="flotilla-dev")


@contextmanager
def raw_proxy(work: Path, model: Endpoint) -> Iterator[Endpoint]:
    """Runs a proxy that only copies bytes: what any hop in Python costs at least."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.raw_proxy", str(port), model.base_urls[0]]
    url = f"http://127.0.0.1:{port}"
    with running(command, ready_url=f"{url}/v1/models", log=work / "raw.log") as pid:
        yield Endpoint((url,), {"raw": [pid]}, model=model.model)


@contextmanager
def litellm_proxy(work: Path, model: Endpoint, environment: Path) -> Iterator[Endpoint]:
    """Runs LiteLLM's proxy as plain pass-through: no keys, no database, no callbacks, one worker."""
    config, port = work / "litellm.yaml", free_port()
    config.write_text(_LITELLM_CONFIG.format(model_url=f"{model.base_urls[0]}/v1"))
    command = [_installed(environment), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_PROXY": "*"}
    with running(command, ready_url=f"{url}/health/liveliness", log=work / "litellm.log", env=offline) as pid:
        yield Endpoint((url,), {"litellm": [pid]})


def _installed(environment: Path) -> str:
    """Returns LiteLLM's command, installed from the package index the first time."""
    command = environment / "bin" / "litellm"
    if not command.exists():
        print(f"installing {LITELLM} into {environment} (once)…", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", LITELLM]
        subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return str(command)
