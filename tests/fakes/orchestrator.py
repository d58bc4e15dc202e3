"""An orchestrator that plays scripts: a real servicer on a real gRPC server, whose runs are lists of events.

It keeps each run's event log and serves it by StartRun and WatchRun as the contract says, so that a gateway can lose
streams and come back. What it was asked is kept for tests to look at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from flotilla.common.v1 import message_pb2 as common
from flotilla.orchestrator.v1 import event_pb2 as events
from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla.orchestrator.v1 import orchestrator_service_pb2_grpc as pb_grpc
from flotilla.orchestrator.v1 import run_pb2 as runs
from flotilla.orchestrator.v1.thread_pb2 import Agent
from flotilla_common.errors import FailedPreconditionError, FlotillaError, NotFoundError
from flotilla_common.rpc.details import DETAILS_KEY, pack
from flotilla_common.status import grpc_code
from grpc import aio

CREATED_S = 1_700_000_000
RELEASE = "a1b2c3d4" * 8


@dataclass(frozen=True)
class Pause:
    """The run waits here until the test lets it go on."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Cut:
    """Streams that get here are aborted once; the run goes on."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE


Step = events.RunEvent | Pause | Cut
Script = Callable[[pb.StartRunRequest], Sequence[Step]]


@dataclass
class FakeRun:
    """One accepted run and its event log."""

    request: pb.StartRunRequest
    log: list[events.RunEvent] = field(default_factory=list)
    cuts: dict[int, Cut] = field(default_factory=dict)
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_ended(self) -> bool:
        return bool(self.log) and self.log[-1].WhichOneof("event") in ("done", "failed", "interrupted")


class FakeOrchestrator(pb_grpc.OrchestratorServiceServicer):
    """Plays `script` for each new run. `refusal` is raised by the next StartRun, `start_cuts` abort that many first."""

    def __init__(self) -> None:
        self.script: Script = lambda request: [*answer("Hello from Flotilla.")]
        self.refusal: FlotillaError | None = None
        self.start_cuts = 0
        self.starts: list[pb.StartRunRequest] = []
        self.watches: list[pb.WatchRunRequest] = []
        self.metadata: list[dict[str, Any]] = []
        self.runs: dict[str, FakeRun] = {}
        self.keys: dict[str, str] = {}
        self.accepted = asyncio.Event()
        self.embedded: list[pb.CreateEmbeddingsRequest] = []
        self._players: set[asyncio.Task[None]] = set()

    @property
    def last(self) -> FakeRun:
        """The run that was accepted last."""
        return list(self.runs.values())[-1]

    async def StartRun(self, request: pb.StartRunRequest, context: Any) -> AsyncIterator[pb.StartRunResponse]:
        self.starts.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.start_cuts:
            self.start_cuts -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        if self.refusal is not None:
            await _abort(context, self.refusal)
        run = await self._accept(request, context)
        async for batch in _follow(run, 0, context):
            yield pb.StartRunResponse(events=batch)

    async def WatchRun(self, request: pb.WatchRunRequest, context: Any) -> AsyncIterator[pb.WatchRunResponse]:
        self.watches.append(request)
        run = await self._find(request.run_id, context)
        async for batch in _follow(run, request.after_sequence, context):
            yield pb.WatchRunResponse(events=batch)

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.GetRunResponse:
        return pb.GetRunResponse(run=_as_run(await self._find(request.run_id, context)))

    async def CancelRun(self, request: pb.CancelRunRequest, context: Any) -> pb.CancelRunResponse:
        run = await self._find(request.run_id, context)
        run.cancelled.set()
        return pb.CancelRunResponse(run=_as_run(run))

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Any) -> pb.ListAgentsResponse:
        return pb.ListAgentsResponse(agents=[agent("assistant"), agent("research")])

    async def GetAgent(self, request: pb.GetAgentRequest, context: Any) -> pb.GetAgentResponse:
        if request.name != "assistant":
            await _abort(context, NotFoundError("No such agent.", reason="agent_not_found"))
        return pb.GetAgentResponse(agent=agent(request.name))

    async def CreateEmbeddings(self, request: pb.CreateEmbeddingsRequest, context: Any) -> pb.CreateEmbeddingsResponse:
        self.embedded.append(request)
        vectors = [pb.Embedding(values=[float(len(text)), 0.5, -1.0]) for text in request.texts]
        return pb.CreateEmbeddingsResponse(embeddings=vectors, model="dev-embed", input_tokens=3 * len(vectors))

    async def close(self) -> None:
        """Ends the players."""
        for player in self._players:
            player.cancel()

    async def _accept(self, request: pb.StartRunRequest, context: Any) -> FakeRun:
        key = dict(context.invocation_metadata()).get("idempotency-key")
        twin = self.runs.get(self.keys.get(str(key), "") if key else request.run_id)
        if twin is not None:
            if key and twin.request.body_hash != request.body_hash:
                await _abort(context, _reused())
            return twin
        run = FakeRun(request)
        self.runs[request.run_id] = run
        if key:
            self.keys[str(key)] = request.run_id
        _append(run, accepted(request))
        self.accepted.set()
        player = asyncio.create_task(_play(run, self.script(request)))
        self._players.add(player)
        player.add_done_callback(self._players.discard)
        return run

    async def _find(self, run_id: str, context: Any) -> FakeRun:
        if run_id not in self.runs:
            await _abort(context, NotFoundError("No such run.", reason="run_not_found"))
        return self.runs[run_id]


def fake_orchestrator() -> FakeOrchestrator:
    """Returns a fake that greets everybody."""
    return FakeOrchestrator()  # type: ignore[abstract]  # threads are not its trade: gRPC answers UNIMPLEMENTED


@asynccontextmanager
async def serving(orchestrator: FakeOrchestrator) -> AsyncIterator[str]:
    """Serves the fake on a free port and yields its address."""
    server = aio.server()
    pb_grpc.add_OrchestratorServiceServicer_to_server(orchestrator, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await orchestrator.close()
        await server.stop(None)


def accepted(request: pb.StartRunRequest) -> events.RunEvent:
    """The first event of a run."""
    event = events.RunEvent()
    event.accepted.run_id = request.run_id
    event.accepted.thread_id = request.thread.thread_id or "0197c000-0000-7000-8000-00000000ffff"
    event.accepted.agent = request.agent
    event.accepted.release = RELEASE
    event.accepted.create_time.seconds = CREATED_S
    return event


def token(text: str, *, message_id: str = "m-1", is_answer: bool = True) -> events.RunEvent:
    """Text of a reply as it comes."""
    return events.RunEvent(token=events.TokenChunk(message_id=message_id, text=text, is_answer=is_answer))


def done(
    content: str = "",
    *,
    message_id: str = "m-1",
    calls: Sequence[common.ToolCall] = (),
    reason: runs.FinishReason.ValueType = runs.FINISH_REASON_STOP,
) -> events.RunEvent:
    """The end of a run that answered."""
    message = common.Message(id=message_id, role=common.MESSAGE_ROLE_ASSISTANT, content=content, tool_calls=list(calls))
    used = [
        common.ModelUsage(model="dev", input_tokens=5, output_tokens=3, cost_micro_usd=7),
        common.ModelUsage(model="dev-2", input_tokens=2, output_tokens=1),
    ]
    return events.RunEvent(done=events.RunDone(finish_reason=reason, answer=message, usage=used))


def failed(
    reason: str,
    *,
    error_class: runs.ErrorClass.ValueType = runs.ERROR_CLASS_PERMANENT,
    status: runs.RunStatus.ValueType = runs.RUN_STATUS_FAILED,
) -> events.RunEvent:
    """The end of a run that did not answer."""
    error = runs.RunError(error_class=error_class, reason=reason, message=f"It failed: {reason}.")
    return events.RunEvent(failed=events.RunFailed(status=status, error=error))


def interrupted() -> events.RunEvent:
    """The end of the log of a run that waits for a person."""
    return events.RunEvent(interrupted=events.RunInterrupted(interrupt_id="i-1", value_json=b"{}"))


def restarted(*message_ids: str) -> events.RunEvent:
    """The reply is begun anew."""
    return events.RunEvent(reply_restarted=events.ReplyRestarted(attempt=2, message_ids=message_ids))


def answer(text: str) -> list[events.RunEvent]:
    """A reply of one message, token by token."""
    return [*(token(part) for part in _with_spaces(text)), done(text)]


def agent(name: str) -> Agent:
    """An agent."""
    made = Agent(name=name, description="A test agent.", pattern="react", release=RELEASE)
    made.create_time.seconds = CREATED_S
    return made


def _with_spaces(text: str) -> list[str]:
    words = text.split(" ")
    return [word if at == 0 else f" {word}" for at, word in enumerate(words)]


async def _play(run: FakeRun, steps: Sequence[Step]) -> None:
    for step in steps:
        if isinstance(step, Pause):
            await step.gate.wait()
            continue
        async with run.grown:
            if isinstance(step, Cut):
                run.cuts[len(run.log)] = step
            else:
                _append(run, step)
            run.grown.notify_all()


def _append(run: FakeRun, event: events.RunEvent) -> None:
    stored = events.RunEvent()
    stored.CopyFrom(event)
    stored.sequence = len(run.log) + 1
    run.log.append(stored)


async def _follow(run: FakeRun, after: int, context: Any) -> AsyncIterator[list[events.RunEvent]]:
    while True:
        async with run.grown:
            while len(run.log) <= after and after not in run.cuts and not run.is_ended:
                await run.grown.wait()
        if after in run.cuts:
            await context.abort(run.cuts.pop(after).code, "cut by the test")
        until = min((at for at in run.cuts if at > after), default=len(run.log))
        batch = run.log[after:until]
        if batch:
            yield batch
            after = batch[-1].sequence
        if run.is_ended and after >= len(run.log) and after not in run.cuts:
            return


def _as_run(run: FakeRun) -> runs.Run:
    first, last = run.log[0].accepted, run.log[-1]
    shown = runs.Run(
        id=first.run_id,
        thread_id=first.thread_id,
        agent=first.agent,
        release=first.release,
        status=runs.RUN_STATUS_RUNNING,
        attempt=1,
        wire=run.request.wire,
        create_time=first.create_time,
        metadata_json=run.request.metadata_json,
    )
    if last.HasField("done"):
        shown.status = runs.RUN_STATUS_SUCCEEDED
        shown.finish_reason = last.done.finish_reason
        shown.answer.CopyFrom(last.done.answer)
        shown.usage.extend(last.done.usage)
    if last.HasField("interrupted"):
        shown.status = runs.RUN_STATUS_WAITING
    if last.HasField("failed"):
        shown.status = last.failed.status
        shown.error.CopyFrom(last.failed.error)
    return shown


def _reused() -> FlotillaError:
    return FailedPreconditionError("The key was used with another body.", reason="idempotency_key_reused")


async def _abort(context: Any, error: FlotillaError) -> None:
    code = grpc_code(error)
    await context.abort(code, error.message, trailing_metadata=((DETAILS_KEY, pack(error, code)),))
