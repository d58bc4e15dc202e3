"""Names the concrete classes and puts them together, for the process and for tests of the whole service."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from flotilla_common.migrations import latest_version, require_schema
from flotilla_common.postgres import Pool, open_pool
from flotilla_common.sweeps import Sweep, SweepMetrics, sweeping
from flotilla_llm import ModelClient
from prometheus_client import REGISTRY, CollectorRegistry
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from flotilla_orchestrator.clients.peers import Peers
from flotilla_orchestrator.graphs.file_catalogue import FileCatalogue
from flotilla_orchestrator.graphs.loader import AgentFilesError
from flotilla_orchestrator.graphs.release_catalogue import ReleaseCatalogue
from flotilla_orchestrator.runs.checkpoints.reader import CheckpointReader
from flotilla_orchestrator.runs.engine import RunEngine
from flotilla_orchestrator.runs.execution.thread_states import ThreadStates
from flotilla_orchestrator.runs.execution.toolbox import ToolDirectory
from flotilla_orchestrator.runs.lease import OpenStore
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.runs.process import EnginePeers, EngineStores, open_engine
from flotilla_orchestrator.server.servicer import OrchestratorServicer
from flotilla_orchestrator.service.agents import AgentService
from flotilla_orchestrator.service.conversation import Conversations
from flotilla_orchestrator.service.runs import RunService
from flotilla_orchestrator.service.threads import ThreadService
from flotilla_orchestrator.settings import OrchestratorSettings
from flotilla_orchestrator.stores.checkpoint_store import CheckpointStore
from flotilla_orchestrator.stores.janitor import Janitor
from flotilla_orchestrator.stores.postgres_checkpoint_store import PostgresCheckpointStore
from flotilla_orchestrator.stores.postgres_release_store import PostgresReleaseStore
from flotilla_orchestrator.stores.postgres_run_reader import PostgresEventReader, PostgresRunReader
from flotilla_orchestrator.stores.postgres_run_store import PostgresRunStore
from flotilla_orchestrator.stores.postgres_thread_store import PostgresThreadStore
from flotilla_orchestrator.stores.release_store import ReleaseStore
from flotilla_orchestrator.stores.run_reader import RunReader
from flotilla_orchestrator.stores.run_store import EventReader, RunStore
from flotilla_orchestrator.stores.thread_store import ThreadStore


def load_catalogue(settings: OrchestratorSettings) -> FileCatalogue:
    """Returns the agents, or prints each fault of their files with its line and exits with status 2."""
    try:
        return FileCatalogue.load(settings.agents_dir)
    except AgentFilesError as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
    sys.exit(2)


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that the orchestrator keeps."""

    runs: RunStore
    reader: RunReader
    events: EventReader
    threads: ThreadStore
    checkpoints: Callable[[UUID], CheckpointStore]
    releases: ReleaseStore
    sweeps: Sequence[Sweep]
    """Delete what is due."""


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """The service, ready to serve."""

    servicer: OrchestratorServicer
    engine: RunEngine


@asynccontextmanager
async def open_postgres_stores(
    settings: OrchestratorSettings, *, registry: CollectorRegistry = REGISTRY
) -> AsyncIterator[Stores]:
    """Opens the stores on two pools: one that sees a tenant at a time, and one that sees them all.

    Raises FailedPreconditionError when the schema is older than this code.
    """
    url, least, most = settings.database_url, settings.database_pool_min, settings.database_pool_max
    async with (
        open_pool(url, min_size=least, max_size=most) as tenants,
        open_pool(read_by_index(url), min_size=least, max_size=most, system=True, plans_once=True) as system,
    ):
        await require_schema(system, "orchestrator", latest_version("flotilla_orchestrator"))
        yield stores_on(tenants, system, registry)


def read_by_index(url: str | SecretStr) -> SecretStr:
    """Returns the database's URL for a pool that plans the run path's statements once.

    A connection keeps a plan that it may have made while a table was empty, and an empty table is best read whole.
    Where nothing but the whole will do, older servers take the scan for so dear that they would compile it.
    """
    given = conninfo_to_dict(url.get_secret_value() if isinstance(url, SecretStr) else url)
    options = f"{given.get('options') or ''} -c enable_seqscan=off -c jit=off".strip()
    return SecretStr(make_conninfo("", **{**given, "options": options}))


def stores_on(tenants: Pool, system: Pool, registry: CollectorRegistry) -> Stores:
    """Returns the stores on two pools."""
    return Stores(
        runs=PostgresRunStore(system),
        reader=PostgresRunReader(tenants),
        events=PostgresEventReader(system),
        threads=PostgresThreadStore(tenants),
        checkpoints=lambda tenant_id: PostgresCheckpointStore(system, tenant_id),
        releases=PostgresReleaseStore(system),
        sweeps=Janitor(system, SweepMetrics(registry)).sweeps,
    )


@asynccontextmanager
async def open_lease_store(database_url: SecretStr) -> AsyncIterator[RunStore]:
    """Opens the lease keeper's own connection, so that it never waits for one of the others."""
    url, name = read_by_index(database_url), "flotilla_orchestrator_leases"
    async with open_pool(url, min_size=1, max_size=1, system=True, application_name=name, plans_once=True) as pool:
        yield PostgresRunStore(pool)


@asynccontextmanager
async def open_orchestrator(
    settings: OrchestratorSettings,
    *,
    owner: UUID,
    agents: FileCatalogue,
    stores: Stores,
    models: ModelClient,
    peers: Peers,
    lease_store: OpenStore,
    registry: CollectorRegistry = REGISTRY,
) -> AsyncIterator[Orchestrator]:
    """Keeps the agents' releases, opens the engine with its loops and puts the service on top of it."""
    catalogue = ReleaseCatalogue(agents, stores.releases)
    await catalogue.record()
    metrics = RunMetrics(registry)
    directory = ToolDirectory(peers.tools, metrics=metrics)
    threads = ThreadStates(stores.checkpoints)
    async with (
        open_engine(
            owner=owner,
            catalogue=catalogue,
            stores=EngineStores(stores.runs, stores.events, threads, lease_store),
            peers=EnginePeers(models, peers.memory, peers.tools, peers.evaluator, directory),
            metrics=metrics,
            times=settings.engine_times(),
        ) as engine,
        sweeping(stores.sweeps, interval_s=settings.janitor_interval_s),
    ):
        runs = RunService(
            catalogue=catalogue,
            engine=engine,
            store=stores.runs,
            reader=stores.reader,
            threads=stores.threads,
            conversations=Conversations(stores.reader, threads),
        )
        agent_service = AgentService(catalogue, directory, models, embedding_route=settings.embedding_route)
        threads_service = ThreadService(stores.threads, CheckpointReader(stores.checkpoints))
        yield Orchestrator(OrchestratorServicer(runs=runs, threads=threads_service, agents=agent_service), engine)
