"""Settings from the environment: one frozen model per process, validated before anything opens."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, DirectoryPath, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

AppEnv = Literal["development", "test", "staging", "production"]
LogFormat = Literal["json", "text"]
Port = Annotated[int, Field(ge=0, le=65535)]
SettingsT = TypeVar("SettingsT", bound=BaseSettings)


@dataclass(frozen=True, slots=True)
class EnvironmentDefaults:
    """All that APP_ENV decides, and only where a variable does not say otherwise."""

    log_format: LogFormat
    drain_max_s: float
    trace_ratio: float
    reflection: bool


DEFAULTS: dict[str, EnvironmentDefaults] = {
    "development": EnvironmentDefaults("text", drain_max_s=10, trace_ratio=1.0, reflection=True),
    "test": EnvironmentDefaults("text", drain_max_s=5, trace_ratio=1.0, reflection=True),
    "staging": EnvironmentDefaults("json", drain_max_s=300, trace_ratio=0.1, reflection=True),
    "production": EnvironmentDefaults("json", drain_max_s=300, trace_ratio=0.01, reflection=False),
}


def _by_environment(name: str) -> Any:
    """Returns a field whose default is what DEFAULTS lists for the APP_ENV."""

    def default(validated: dict[str, Any]) -> Any:
        # Without a valid APP_ENV the model is refused anyway; the default only must not hide that error.
        return getattr(DEFAULTS[validated.get("app_env", "production")], name)

    return Field(default_factory=default)


class ProcessSettings(BaseSettings):
    """What every process has; a subclass sets `model_config = SettingsConfigDict(env_prefix="GATEWAY_")`."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    app_env: AppEnv = Field(default="production", validation_alias=AliasChoices("app_env", "APP_ENV"))
    """Without it the strictest defaults hold."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached from outside; NetworkPolicy and tokens guard it
    health_port: Port = 50052
    metrics_port: Port = 9090
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: LogFormat = _by_environment("log_format")
    drain_max_s: float = _by_environment("drain_max_s")
    """How long a process that must go waits for the work it has."""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = _by_environment("trace_ratio")
    """The share of new traces that are recorded; a caller's decision is always followed."""
    reflection: bool = _by_environment("reflection")
    otlp_endpoint: str | None = Field(
        default=None, validation_alias=AliasChoices("otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    """Where spans go; without it none are recorded."""
    multiplexed: bool = True
    """Lets short calls between services share streams, at both ends; off, each has a stream of its own."""
    replica: str = Field(default_factory=socket.gethostname)
    """The name of this process in logs."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads arguments, then variables, then for secrets the file that `<VARIABLE>_FILE` names."""
        return init_settings, env_settings, SecretFileSource(settings_cls)


class ServiceSettings(ProcessSettings):
    """What every gRPC service has."""

    grpc_port: Port = 50051
    identity_keys_dir: DirectoryPath
    """Holds the issuers' public keys as `<issuer>.pub`."""


class SecretFileSource(EnvSettingsSource):
    """Reads a secret from the file that `<VARIABLE>_FILE` names, so that it need not be in the environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Returns the file's content without the line break at its end."""
        file = self.env_vars.get(f"{self.env_prefix}{field_name}_file".lower())
        if "SecretStr" not in str(field.annotation) or not file:
            return None, field_name, False
        return SecretStr(Path(file).read_text().rstrip("\n")), field_name, False


def load_settings(settings_class: type[SettingsT]) -> SettingsT:
    """Returns the settings, or prints the variables that are missing or wrong and exits with status 2."""
    try:
        return settings_class()
    except (ValidationError, SettingsError) as exc:
        prefix = settings_class.model_config.get("env_prefix", "")
        # Logs are not set up yet: their settings may be among the wrong ones.
        sys.stderr.writelines(f"{line}\n" for line in _complaints(exc, prefix))
    sys.exit(2)


def _complaints(error: ValidationError | SettingsError, prefix: str) -> list[str]:
    if isinstance(error, SettingsError):
        # Its message names the field in quotes.
        variable = _variable(prefix, str(error).split('"')[1])
        cause = error.__cause__
        return [f"{variable}_FILE: {cause.strerror}" if isinstance(cause, OSError) else f"{variable}: {error}"]
    # The values stay out of the message: one of them may be a secret.
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return [
        f"{_variable(prefix, *line['loc'])}: {line['msg']}"
        for line in found
        if line["type"] != "default_factory_not_called"
    ]


def _variable(prefix: str, field: int | str = "", *_: int | str) -> str:
    name = str(field).upper()
    return name if name in ("APP_ENV", "OTEL_EXPORTER_OTLP_ENDPOINT") else f"{prefix}{name}"
