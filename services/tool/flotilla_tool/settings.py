"""The tool service's settings, from variables that begin with TOOL_."""

from __future__ import annotations

from flotilla_common.settings import ServiceSettings
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict


class ToolSettings(ServiceSettings):
    """Where the ledger is and how large a result may be."""

    model_config = SettingsConfigDict(env_prefix="TOOL_")

    database_url: SecretStr
    database_pool_min: int = Field(default=2, ge=1)
    database_pool_max: int = Field(default=10, ge=1)
    result_cap_bytes: int = Field(default=65_536, ge=1_024, le=1_048_576)
    """Of one call's result; what is longer is cut, with a note that says so."""
    results_kept_days: float = Field(default=7, ge=2)
    """A call that is repeated later is made again: more than the longest time limit of a run and the day of its key."""
    janitor_interval_s: float = Field(default=60.0, gt=0)
