"""The evaluator's settings, from variables that begin with EVALUATOR_."""

from __future__ import annotations

from flotilla_common.settings import ServiceSettings
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict


class EvaluatorSettings(ServiceSettings):
    """Where observations are kept."""

    model_config = SettingsConfigDict(env_prefix="EVALUATOR_")

    database_url: SecretStr
    database_pool_min: int = Field(default=2, ge=1)
    database_pool_max: int = Field(default=10, ge=1)
