"""The orchestrator's settings, from ORCHESTRATOR_* variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from flotilla_common.settings import ServiceSettings
from flotilla_llm.settings import EMBEDDING_ROUTE
from pydantic import DirectoryPath, Field, FilePath, SecretStr
from pydantic_settings import SettingsConfigDict

from flotilla_orchestrator.runs.engine import EngineLimits
from flotilla_orchestrator.runs.event_log.store_calls import WriterTimes
from flotilla_orchestrator.runs.lease import LeaseTimes
from flotilla_orchestrator.runs.process import EngineTimes

Seconds = Annotated[float, Field(gt=0)]


class OrchestratorSettings(ServiceSettings):
    """What the orchestrator needs to know before it starts."""

    model_config = SettingsConfigDict(env_prefix="ORCHESTRATOR_")

    database_url: SecretStr
    database_pool_min: Annotated[int, Field(ge=1)] = 2
    database_pool_max: Annotated[int, Field(ge=3)] = 16
    identity_private_key_file: FilePath
    """Signs the tokens of runs; its public half is `orchestrator.pub` where the other services look."""
    memory_target: str
    tool_target: str
    evaluator_target: str
    agents_dir: DirectoryPath = Path("agents")
    embedding_route: str = EMBEDDING_ROUTE

    max_concurrent_runs: Annotated[int, Field(ge=1)] = 500
    max_attempts: Annotated[int, Field(ge=1)] = 3
    """Attempts that may crash before a run is given up."""
    recall_timeout_s: Seconds = 1.0
    """How long a run waits for memory before it goes on without."""
    flush_interval_s: Seconds = 0.025
    """The event log's clock, which is also what coalesces tokens."""
    poll_interval_s: Seconds = 0.05
    """How often runs that other processes execute are read for their watchers here."""
    heartbeat_interval_s: Seconds = 2.0
    cancel_interval_s: Seconds = 0.5
    reaper_interval_s: Seconds = 0.25
    """How long nobody looks for runs to take over; leases that are known to end are claimed when they do."""
    outbox_interval_s: Seconds = 0.5
    janitor_interval_s: Seconds = 60.0
    drain_grace_s: Seconds = 2.0
    """How long runs may go on by themselves after SIGTERM before they are handed back."""

    def engine_times(self) -> EngineTimes:
        """Returns how the engine keeps time and how much it takes on."""
        return EngineTimes(
            writer=WriterTimes(flush_interval_s=self.flush_interval_s),
            lease=LeaseTimes(beat_interval_s=self.heartbeat_interval_s, cancel_interval_s=self.cancel_interval_s),
            limits=EngineLimits(
                max_concurrent_runs=self.max_concurrent_runs,
                max_attempts=self.max_attempts,
                drain_grace_s=self.drain_grace_s,
            ),
            recall_timeout_s=self.recall_timeout_s,
            poll_interval_s=self.poll_interval_s,
            reaper_interval_s=self.reaper_interval_s,
            outbox_interval_s=self.outbox_interval_s,
        )
