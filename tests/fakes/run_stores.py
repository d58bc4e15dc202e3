"""All stores of one orchestrator, in memory or on Postgres, and time that passes when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from flotilla_common.postgres import Pool
from flotilla_orchestrator.stores.checkpoint_store import CheckpointStore
from flotilla_orchestrator.stores.in_memory.checkpoint_store import InMemoryCheckpointStore
from flotilla_orchestrator.stores.in_memory.release_store import InMemoryReleaseStore
from flotilla_orchestrator.stores.in_memory.run_reader import InMemoryEventReader, InMemoryRunReader
from flotilla_orchestrator.stores.in_memory.run_store import InMemoryRunStore
from flotilla_orchestrator.stores.in_memory.state import InMemoryState, utc_now
from flotilla_orchestrator.stores.in_memory.thread_store import InMemoryThreadStore
from flotilla_orchestrator.stores.postgres_checkpoint_store import PostgresCheckpointStore
from flotilla_orchestrator.stores.postgres_release_store import PostgresReleaseStore
from flotilla_orchestrator.stores.postgres_run_reader import PostgresEventReader, PostgresRunReader
from flotilla_orchestrator.stores.postgres_run_store import PostgresRunStore
from flotilla_orchestrator.stores.postgres_thread_store import PostgresThreadStore
from flotilla_orchestrator.stores.release_store import ReleaseStore
from flotilla_orchestrator.stores.run_reader import RunReader
from flotilla_orchestrator.stores.run_store import EventReader, RunStore
from flotilla_orchestrator.stores.thread_store import ThreadStore


class InMemoryTime:
    """Lets time pass."""

    def __init__(self) -> None:
        self.passed = timedelta()
        self.state = InMemoryState(now=lambda: utc_now() + self.passed)

    async def pass_by(self, span: timedelta) -> None:
        self.passed += span


class PostgresTime:
    """Lets time pass by moving all that was stored into the past."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def pass_by(self, span: timedelta) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE leases SET expires_at = expires_at - %(span)s, claimed_at = claimed_at - %(span)s",
                {"span": span},
            )
            await connection.execute(
                "UPDATE runs SET created_at = created_at - %(span)s, cancel_at = cancel_at - %(span)s,"
                " deadline_at = deadline_at - %(span)s",
                {"span": span},
            )
            await connection.execute("UPDATE outbox SET due_at = due_at - %s", [span])


@dataclass(frozen=True, slots=True)
class Stores:
    """One orchestrator's stores, empty at first."""

    runs: RunStore
    reader: RunReader
    events: EventReader
    threads: ThreadStore
    checkpoints: Callable[[UUID], CheckpointStore]
    releases: ReleaseStore
    time: InMemoryTime | PostgresTime


def stores_in_memory() -> Stores:
    """Returns empty stores."""
    time = InMemoryTime()
    return Stores(
        runs=InMemoryRunStore(time.state),
        reader=InMemoryRunReader(time.state),
        events=InMemoryEventReader(time.state),
        threads=InMemoryThreadStore(time.state),
        checkpoints=lambda tenant_id: InMemoryCheckpointStore(time.state, tenant_id),
        releases=InMemoryReleaseStore(),
        time=time,
    )


def stores_on_postgres(pool: Pool) -> Stores:
    """Returns the stores on a migrated database."""
    return Stores(
        runs=PostgresRunStore(pool),
        reader=PostgresRunReader(pool),
        events=PostgresEventReader(pool),
        threads=PostgresThreadStore(pool),
        checkpoints=lambda tenant_id: PostgresCheckpointStore(pool, tenant_id),
        releases=PostgresReleaseStore(pool),
        time=PostgresTime(pool),
    )
