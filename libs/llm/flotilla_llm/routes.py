"""Routes as data: where a model is, what it costs, how long it may take and how it is called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from flotilla_common.errors import InvalidArgumentError, NotFoundError
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]


class Settings(BaseModel):
    """A frozen piece of a route that knows no field but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(Settings):
    """What a million tokens cost, in US dollars; the same number is micro-dollars a token."""

    input_usd_per_million: float = Field(default=0, ge=0)
    output_usd_per_million: float = Field(default=0, ge=0)
    cached_input_usd_per_million: float | None = Field(default=None, ge=0)
    """The price of input that the provider's prompt cache held; None means the ordinary price."""


class Timeouts(Settings):
    """How long each part of a call may take, in seconds."""

    connect_s: float = Field(default=5, gt=0)
    first_token_s: float = Field(default=60, gt=0)
    between_tokens_s: float = Field(default=30, gt=0)
    total_s: float = Field(default=600, gt=0)
    queue_s: float = Field(default=10, gt=0)
    """How long a call waits for one of the route's `max_concurrency` places."""


class Retry(Settings):
    """How often a call is repeated on its own route before the next route is tried."""

    attempts: int = Field(default=3, ge=1, le=10)
    """Including the first."""
    base_delay_s: float = Field(default=0.25, ge=0)
    """Doubled each time; the wait is a random part of it (full jitter)."""
    max_delay_s: float = Field(default=8, ge=0)
    """Also the longest `Retry-After` that is waited for; a longer one goes to the next route at once."""


class Breaker(Settings):
    """When a failing route is left alone for a while."""

    failures: int = Field(default=10, ge=1)
    """Failures in a row that open the breaker."""
    open_s: float = Field(default=5, gt=0)
    """How long it stays open before one call may probe; doubled after each failed probe, up to `max_open_s`."""
    max_open_s: float = Field(default=120, gt=0)


class Route(Settings):
    """One model at one provider."""

    base_url: str
    """Up to and without `/chat/completions`, such as `https://api.openai.com/v1`."""
    model: str
    provider: str = "openai"
    """The name in traces (`gen_ai.provider.name`)."""
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    api_key_header: str = "Authorization"
    """`Authorization` sends `Bearer KEY`; another header, such as Azure's `api-key`, gets the bare key."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: Mapping[str, str] = Field(default_factory=dict)
    """Added to every URL, such as Azure's `api-version`."""
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    """Added to every chat request, such as `{"reasoning_effort": "low"}`."""
    omit: frozenset[str] = frozenset()
    """Request fields that this model does not accept, such as `temperature`; they are left out."""
    max_tokens_field: MaxTokensField | None = None
    """None means `max_completion_tokens` at OpenAI and Azure and `max_tokens` elsewhere."""
    streams_usage: bool = True
    """Whether `stream_options.include_usage` may be sent; without it a stream's usage is estimated."""
    sends_metadata: bool = False
    context_window: int = Field(default=128_000, ge=256)
    """Tokens, input and output together."""
    dimensions: int | None = Field(default=None, ge=1)
    """The vectors' length, for embedding models that can be told."""
    max_concurrency: int = Field(default=256, ge=1)
    """Calls in flight from this process."""
    price: Price = Price()
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    breaker: Breaker = Breaker()

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http:// or https:// URL")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if self.api_key is not None and self.api_key_file is not None:
            raise ValueError("api_key and api_key_file exclude each other")
        return self

    @property
    def output_limit_field(self) -> MaxTokensField:
        """The request field that carries the limit of output tokens."""
        if self.max_tokens_field is not None:
            return self.max_tokens_field
        host = urlsplit(self.base_url).hostname or ""
        is_openai = host == "api.openai.com" or host.endswith((".openai.azure.com", ".cognitiveservices.azure.com"))
        return "max_completion_tokens" if is_openai else "max_tokens"

    def read_api_key(self) -> str | None:
        """Returns the key, or None for a keyless route; a file is read each time, so that a rotated key is taken up.

        Raises OSError where the file cannot be read, and ValueError where what is there cannot be a key.
        """
        if self.api_key_file is not None:
            key = self.api_key_file.read_text().strip() or None
        else:
            key = self.api_key.get_secret_value() if self.api_key is not None else None
        if key is not None and not key.isprintable():
            raise ValueError("a key has no line break and no control character")
        return key


class RouteTable(Settings):
    """Every route of a process by its name."""

    routes: Mapping[str, Route] = Field(min_length=1)

    def get(self, name: str) -> Route:
        """Returns the route of that name. Raises NotFoundError."""
        route = self.routes.get(name)
        if route is None:
            known = ", ".join(sorted(self.routes))
            raise NotFoundError(f"There is no model route {name!r}; there are: {known}.", reason="model_route_unknown")
        return route


def load_routes(path: Path) -> RouteTable:
    """Reads a YAML or JSON file `{"routes": {name: route}}`. Raises InvalidArgumentError naming file and field."""
    try:
        return RouteTable.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError) as exc:
        raise InvalidArgumentError(f"{path}: cannot be read: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidArgumentError(f"{path}: {field}: {first['msg']}", field=field) from exc
