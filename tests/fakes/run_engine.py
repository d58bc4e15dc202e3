"""An engine over any stores, with scripted peers: what tests of runs and of the orchestrator's edge stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1 import event_pb2
from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla_common.ids import new_id
from flotilla_orchestrator.graphs.file_catalogue import FileCatalogue
from flotilla_orchestrator.graphs.release_catalogue import ReleaseCatalogue
from flotilla_orchestrator.model import NewRun, Run, StoredEvent
from flotilla_orchestrator.runs.engine import EngineLimits, RunEngine
from flotilla_orchestrator.runs.event_log import events
from flotilla_orchestrator.runs.event_log.watch import RunView
from flotilla_orchestrator.runs.execution.thread_states import ThreadStates
from flotilla_orchestrator.runs.execution.toolbox import ToolDirectory
from flotilla_orchestrator.runs.execution.work import read_work, work_of
from flotilla_orchestrator.runs.lease import LeaseTimes
from flotilla_orchestrator.runs.metrics import RunMetrics
from flotilla_orchestrator.runs.process import EnginePeers, EngineStores, EngineTimes, open_engine
from flotilla_orchestrator.service.conversation import StartRequest, TargetKind
from flotilla_orchestrator.stores.run_store import RunStore
from prometheus_client import CollectorRegistry

from fakes.agent_files import write_files
from fakes.model_script import ScriptedModel
from fakes.peers import FakeEvaluator, FakeMemory, FakeTools
from fakes.run_stores import Stores
from fakes.runs import TENANT, USER

AGENTS = {
    "prompts/be-kind.md": "You are kind.",
    "plain.yaml": """
name: plain
description: Answers.
pattern: react
prompt: prompts/be-kind.md
observe_ratio: 1
""",
    "worker.yaml": """
name: worker
description: Answers with tools.
pattern: react
prompt: prompts/be-kind.md
tools: [calculator]
memory: {tools: true}
limits: {max_steps: 4}
""",
}
FAST = EngineTimes(
    lease=LeaseTimes(beat_interval_s=0.5, cancel_interval_s=0.1),
    limits=EngineLimits(drain_grace_s=0.1, stop_grace_s=1.0),
    poll_interval_s=0.02,
    reaper_interval_s=0.1,
    outbox_interval_s=0.05,
)


def catalogue_in(folder: Path, files: Mapping[str, str] = AGENTS) -> FileCatalogue:
    """Returns the agents of these tests."""
    return FileCatalogue.load(write_files(folder, files))


@dataclass
class EngineRig:
    """One process's engine and everything around it."""

    engine: RunEngine
    catalogue: FileCatalogue
    stores: Stores
    model: ScriptedModel
    memory: FakeMemory
    tools: FakeTools
    evaluator: FakeEvaluator
    directory: ToolDirectory
    threads: ThreadStates
    metrics: RunMetrics
    owner: UUID
    views: list[RunView] = field(default_factory=list)

    async def start(self, new: NewRun) -> RunView:
        """Starts a run; the view is closed with the rig."""
        view = await self.engine.start(new, self.catalogue.resolve(new.agent), read_work(new.run_id, new.input))
        self.views.append(view)
        return view

    async def answer(self, new: NewRun) -> list[event_pb2.RunEvent]:
        """Starts a run and returns all its events."""
        return await read_all(await self.start(new))


@asynccontextmanager
async def engine_rig(
    stores: Stores,
    folder: Path,
    model: ScriptedModel,
    *,
    times: EngineTimes = FAST,
    runs: RunStore | None = None,
    owner: UUID | None = None,
    agents: Mapping[str, str] = AGENTS,
) -> AsyncIterator[EngineRig]:
    """Opens an engine; `runs` replaces the run store, such as by one that fails."""
    metrics = RunMetrics(CollectorRegistry())
    memory, tools, evaluator = FakeMemory(), FakeTools(), FakeEvaluator()
    directory = ToolDirectory(tools, metrics=metrics)
    store = runs or stores.runs
    files, threads, owner = catalogue_in(folder, agents), ThreadStates(stores.checkpoints), owner or new_id()
    catalogue = ReleaseCatalogue(files, stores.releases)
    await catalogue.record()

    @asynccontextmanager
    async def lease_store() -> AsyncIterator[RunStore]:
        yield LoopBound(store, loop)

    loop = asyncio.get_running_loop()
    peers = EnginePeers(model, memory, tools, evaluator, directory)
    engine_stores = EngineStores(store, stores.events, threads, lease_store)
    async with open_engine(
        owner=owner, catalogue=catalogue, stores=engine_stores, peers=peers, metrics=metrics, times=times
    ) as engine:
        rig = EngineRig(engine, files, stores, model, memory, tools, evaluator, directory, threads, metrics, owner)
        try:
            yield rig
        finally:
            for view in rig.views:
                view.close()


class LoopBound:
    """Passes calls from the lease keeper's loop on to the loop that the store lives in."""

    def __init__(self, store: RunStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            coroutine = getattr(self._store, name)(*args, **options)
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

        return call


def start_request(*texts: str, agent: str = "plain", **fields: Any) -> pb.StartRunRequest:
    """Returns a stateless request with one human message for each text."""
    messages = [common.Message(role=common.MESSAGE_ROLE_HUMAN, content=text) for text in texts]
    given: dict[str, Any] = {
        "run_id": str(new_id()),
        "agent": agent,
        "thread": pb.RunThread(ephemeral=True),
        "input": pb.RunInput(messages=messages),
        "wire": "openai",
        "body_hash": b"hash",
    }
    return pb.StartRunRequest(**{**given, **fields})


def asked(rig: EngineRig, *texts: str, agent: str = "plain", thread_id: UUID | None = None, **changes: Any) -> NewRun:
    """Returns a run as the service hands it to the engine."""
    thread = pb.RunThread(ephemeral=True) if thread_id is None else pb.RunThread(thread_id=str(thread_id))
    request = start_request(*texts, agent=agent, thread=thread)
    if options := changes.pop("options", None):
        request.options.CopyFrom(options)
    run_id, thread_id = UUID(request.run_id), thread_id or new_id()
    release = rig.catalogue.resolve(agent)
    accepted = events.accepted(
        run_id=run_id, thread_id=thread_id, agent=agent, release=release.hash, at=release.created_at
    )
    new = NewRun(
        run_id=run_id,
        tenant_id=TENANT,
        user_id=USER,
        remembers=True,
        thread_id=thread_id,
        create_thread=True,
        thread_ttl_s=None,
        agent=agent,
        release=release.hash,
        wire="openai",
        idempotency_key=None,
        body_hash=b"hash",
        input=request.SerializeToString(),
        time_limit_s=30,
        metadata={},
        traceparent=None,
        accepted_event=accepted,
    )
    return replace(new, **changes)


def plain_request(request: pb.StartRunRequest, **changes: Any) -> StartRequest:
    """Returns a request as the edge hands it to the service."""
    kind = str(request.thread.WhichOneof("target"))
    plain = StartRequest(
        run_id=UUID(request.run_id),
        agent=request.agent,
        target=TargetKind(kind),
        target_id="" if kind == "ephemeral" else str(getattr(request.thread, kind)),
        may_create_thread=request.thread.create_if_missing,
        work=work_of(UUID(request.run_id), request),
        wire=request.wire,
        body_hash=request.body_hash,
        time_limit_s=None,
        metadata={},
        idempotency_key=None,
        traceparent=None,
        stored=request.SerializeToString(),
    )
    return replace(plain, **changes)


def decoded(stored: Sequence[StoredEvent]) -> list[event_pb2.RunEvent]:
    """Returns stored events with their numbers."""
    found = []
    for entry in stored:
        event = event_pb2.RunEvent.FromString(entry.payload)
        event.sequence = entry.sequence
        found.append(event)
    return found


async def read_all(view: RunView, *, timeout_s: float = 20.0) -> list[event_pb2.RunEvent]:
    """Returns a view's events until it ends."""
    found: list[event_pb2.RunEvent] = []
    async with asyncio.timeout(timeout_s):
        async for stored in view:
            found.extend(decoded(stored))
    return found


def text_of(log: Sequence[event_pb2.RunEvent]) -> str:
    """Returns the answer's streamed text as a client that honours restarts reads it."""
    texts: dict[str, str] = {}
    for event in log:
        for message_id in event.reply_restarted.message_ids:
            texts.pop(message_id, None)
        if event.token.is_answer:
            texts[event.token.message_id] = texts.get(event.token.message_id, "") + event.token.text
    return "".join(texts.values())


def kinds(log: Sequence[event_pb2.RunEvent]) -> list[str]:
    """Returns what each event is."""
    return [str(event.WhichOneof("event")) for event in log]


def is_dense(log: Sequence[event_pb2.RunEvent]) -> bool:
    """Whether the numbers rise by one from 1."""
    return [event.sequence for event in log] == list(range(1, len(log) + 1))


async def read_run(stores: Stores, new: NewRun) -> Run:
    """Returns a run as it stands."""
    return await stores.reader.get_run(new.run_id, tenant_id=new.tenant_id, user_id=new.user_id)


async def until(holds: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Returns as soon as something holds. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)
