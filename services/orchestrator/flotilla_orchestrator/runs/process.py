"""Puts the engine of one process together and keeps it going."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from flotilla_llm.client import ModelClient

from flotilla_orchestrator.clients.evaluator import EvaluatorClient
from flotilla_orchestrator.clients.memory import MemoryClient
from flotilla_orchestrator.clients.tool import ToolClient
from flotilla_orchestrator.graphs.catalogue import AgentCatalogue
from flotilla_orchestrator.model import OutboxKind
from flotilla_orchestrator.runs.engine import EngineLimits, Neighbours, RunEngine
from flotilla_orchestrator.runs.event_log.store_calls import WriterTimes
from flotilla_orchestrator.runs.event_log.watch import WatchHub
from flotilla_orchestrator.runs.event_log.writer import GroupWriter
from flotilla_orchestrator.runs.execution.recall import Recall
from flotilla_orchestrator.runs.execution.run_execution import Parts
from flotilla_orchestrator.runs.execution.thread_states import ThreadStates
from flotilla_orchestrator.runs.execution.toolbox import ToolDirectory
from flotilla_orchestrator.runs.lease import LeaseKeeper, LeaseTimes, OpenStore
from flotilla_orchestrator.runs.loops import Loop, background
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.runs.outbox import OutboxRelay
from flotilla_orchestrator.runs.reaper import Reaper
from flotilla_orchestrator.stores.run_store import EventReader, RunStore


@dataclass(frozen=True, slots=True)
class EngineStores:
    """Where the engine reads and writes."""

    runs: RunStore
    events: EventReader
    threads: ThreadStates
    open_lease_store: OpenStore


@dataclass(frozen=True, slots=True)
class EnginePeers:
    """What the engine calls."""

    models: ModelClient
    memory: MemoryClient
    tools: ToolClient
    evaluator: EvaluatorClient
    directory: ToolDirectory


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """How the engine keeps time and how much it takes on."""

    writer: WriterTimes = field(default_factory=WriterTimes)
    lease: LeaseTimes = field(default_factory=LeaseTimes)
    limits: EngineLimits = field(default_factory=EngineLimits)
    recall_timeout_s: float = 1.0
    poll_interval_s: float = 0.05
    reaper_interval_s: float = 0.25
    outbox_interval_s: float = 0.5


@asynccontextmanager
async def open_engine(
    *,
    owner: UUID,
    catalogue: AgentCatalogue,
    stores: EngineStores,
    peers: EnginePeers,
    metrics: RunMetrics,
    times: EngineTimes = EngineTimes(),
) -> AsyncIterator[RunEngine]:
    """Opens the engine with its loops and its lease keeper; leaving it stops them, without handing anything back."""
    hub = WatchHub(stores.events, metrics=metrics, poll_interval_s=times.poll_interval_s)
    keeper = LeaseKeeper(stores.open_lease_store, owner=owner, times=times.lease)
    writer = GroupWriter(
        stores.runs,
        owner=owner,
        deliver=hub.deliver,
        metrics=metrics,
        times=times.writer,
        drop_expired=keeper.drop_expired,
    )
    senders = {OutboxKind.COMMIT_TURN: peers.memory.commit_turns, OutboxKind.OBSERVE: peers.evaluator.observe_all}
    relay = OutboxRelay(stores.runs, senders, metrics=metrics, interval_s=times.outbox_interval_s)
    parts = Parts(
        writer=writer,
        catalogue=catalogue,
        threads=stores.threads,
        models=peers.models,
        tools=peers.tools,
        memory=peers.memory,
        directory=peers.directory,
        metrics=metrics,
        recall=Recall(peers.memory, metrics, times.recall_timeout_s),
    )
    neighbours = Neighbours(stores.runs, hub, keeper)
    engine = RunEngine(parts, neighbours, owner=owner, limits=times.limits, on_finished=relay.wake)
    reaper = Reaper(
        engine,
        stores.runs,
        stores.events,
        catalogue,
        owner=owner,
        metrics=metrics,
        interval_s=times.reaper_interval_s,
        max_attempts=times.limits.max_attempts,
    )
    engine.on_cancelled_elsewhere(reaper.wake)
    loops: dict[str, Loop] = {
        "writer": writer.run,
        "watch": partial(hub.poll, engine.owns),
        "reaper": reaper.run,
        "outbox": relay.run,
    }
    keeper.start()
    try:
        async with background(loops):
            yield engine
    finally:
        await engine.close()
        await keeper.stop()
