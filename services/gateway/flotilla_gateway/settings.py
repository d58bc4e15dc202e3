"""The gateway's settings, from `GATEWAY_…` variables."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from flotilla_common.settings import Port, ProcessSettings
from pydantic import Field, FilePath, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict


class GatewaySettings(ProcessSettings):
    """What the gateway needs to know."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    http_port: Port = 8080
    database_url: SecretStr
    redis_url: SecretStr
    identity_private_key_file: FilePath
    """The Ed25519 key by which the gateway vouches for callers."""
    key_pepper: SecretStr
    """Keys the hashes of API keys, 32 characters or more; usually given as GATEWAY_KEY_PEPPER_FILE."""
    admin_key: SecretStr | None = None
    """The administrator's API key, installed at start; usually given as GATEWAY_ADMIN_KEY_FILE."""
    orchestrator_target: str
    memory_target: str
    tool_target: str

    cors_origins: str = ""
    """Origins whose pages may call, with commas between them; `*` for any."""
    trusted_proxies: str = ""
    """Addresses and networks of the ingress, with commas between them: their X-Forwarded-For is believed."""
    requests_per_minute: Annotated[int, Field(ge=1)] = 6000
    """The limit of a key that has none of its own."""
    local_limit_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """What part of a limit one gateway allows while Redis is away."""
    key_cache_s: Annotated[float, Field(ge=0, le=4)] = 2.0
    """How long a proven key is taken for valid without asking again."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1_000_000
    max_json_depth: Annotated[int, Field(ge=1)] = 64
    head_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    body_timeout_s: Annotated[float, Field(gt=0)] = 15.0
    start_patience_s: Annotated[float, Field(ge=0)] = 8.0
    """How long a run that nobody accepts is offered again."""
    watch_patience_s: Annotated[float, Field(ge=30)] = 60.0
    """How long the broken stream of an accepted run is mended before its client hears of it."""
    graceful_stop_s: Annotated[float, Field(ge=0)] = 25.0
    """How long streams may go on after SIGTERM; never longer than drain_max_s."""
    database_connections: Annotated[int, Field(ge=1)] = 5

    def allowed_origins(self) -> list[str]:
        """Returns the origins one by one."""
        return _parts(self.cors_origins)

    def proxies(self) -> list[str]:
        """Returns the trusted proxies one by one."""
        return _parts(self.trusted_proxies)

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, text: str) -> str:
        for proxy in _parts(text):
            if proxy != "*":
                ip_network(proxy)
        return text


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
