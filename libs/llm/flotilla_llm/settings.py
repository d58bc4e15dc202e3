"""Where the models are, from the environment: one provider by its URL, key and names, or a file of routes."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from flotilla_llm.routes import MaxTokensField, Price, Route, RouteTable, load_routes

DEFAULT_ROUTE = "default"
EMBEDDING_ROUTE = "embedding"
DEVELOPMENT_MODEL = "flotilla-dev"
DEVELOPMENT_EMBEDDING_MODEL = "flotilla-dev-embed"


class ModelSettings(BaseSettings):
    """`FLOTILLA_MODEL_*` and `FLOTILLA_EMBEDDING_*`; a routes file adds routes and overrides those from variables."""

    model_config = SettingsConfigDict(
        env_prefix="FLOTILLA_", frozen=True, extra="ignore", protected_namespaces=(), env_ignore_empty=True
    )

    model_base_url: str | None = None
    model_api_key: SecretStr | None = None
    model_api_key_file: Path | None = None
    model_name: str | None = None
    model_context_window: int = Field(default=128_000, ge=256)
    model_max_tokens_field: MaxTokensField | None = None
    model_input_usd_per_million: float = Field(default=0, ge=0)
    model_output_usd_per_million: float = Field(default=0, ge=0)
    model_max_concurrency: int = Field(default=256, ge=1)
    model_routes_file: Path | None = None
    embedding_model: str | None = None
    embedding_base_url: str | None = None
    """Unset means the chat model's provider, with its key."""
    embedding_api_key: SecretStr | None = None
    embedding_api_key_file: Path | None = None
    embedding_dimensions: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _names_a_model(self) -> Self:
        if self.model_routes_file is None and not (self.model_base_url and self.model_name):
            raise ValueError("set FLOTILLA_MODEL_BASE_URL and FLOTILLA_MODEL_NAME, or FLOTILLA_MODEL_ROUTES_FILE")
        return self

    def routes(self) -> RouteTable:
        """Builds the table of routes; reads the routes file when one is named. Raises InvalidArgumentError."""
        routes: dict[str, Route] = {}
        if self.model_base_url and self.model_name:
            routes[DEFAULT_ROUTE] = self._chat_route(self.model_base_url, self.model_name)
        embedding_url = self.embedding_base_url or self.model_base_url
        if embedding_url and self.embedding_model:
            routes[EMBEDDING_ROUTE] = self._embedding_route(embedding_url, self.embedding_model)
        if self.model_routes_file is not None:
            routes |= load_routes(self.model_routes_file).routes
        return RouteTable(routes=routes)

    def _chat_route(self, base_url: str, model: str) -> Route:
        return Route(
            base_url=base_url,
            model=model,
            api_key=self.model_api_key,
            api_key_file=self.model_api_key_file,
            max_tokens_field=self.model_max_tokens_field,
            context_window=self.model_context_window,
            max_concurrency=self.model_max_concurrency,
            sends_metadata=model == DEVELOPMENT_MODEL,
            price=Price(
                input_usd_per_million=self.model_input_usd_per_million,
                output_usd_per_million=self.model_output_usd_per_million,
            ),
        )

    def _embedding_route(self, base_url: str, model: str) -> Route:
        is_own = self.embedding_base_url is not None
        return Route(
            base_url=base_url,
            model=model,
            api_key=self.embedding_api_key if is_own else self.model_api_key,
            api_key_file=self.embedding_api_key_file if is_own else self.model_api_key_file,
            dimensions=self.embedding_dimensions,
            max_concurrency=self.model_max_concurrency,
        )
