"""Following a run whose stream falls silent without breaking, or ends later than its run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import orjson
import pytest
from fakes.gateway import knock, open_door
from flotilla.orchestrator.v1 import event_pb2 as events
from flotilla.orchestrator.v1 import orchestrator_service_pb2 as pb
from flotilla.orchestrator.v1.run_pb2 import Run
from flotilla.orchestrator.v1.thread_pb2 import Agent
from flotilla_common.errors import UnavailableError
from flotilla_gateway.runs.cancel import Canceller
from flotilla_gateway.runs.follow import Patience, RunFollower
from flotilla_gateway.wires.openai.chat import ChatCompletions
from starlette.types import Message

RUN_ID = "0197c000-0000-7000-8000-00000000000a"
LOG = [
    events.RunEvent(sequence=1, accepted=events.RunAccepted(run_id=RUN_ID)),
    events.RunEvent(sequence=2, token=events.TokenChunk(text="Hel")),
    events.RunEvent(sequence=3, token=events.TokenChunk(text="lo")),
    events.RunEvent(sequence=4, done=events.RunDone()),
]


class FreezingOrchestrator:
    """Falls silent after some events of its first streams, as a stopped process does; later ones are whole."""

    def __init__(self, *, frozen_after: Sequence[int]) -> None:
        self._frozen_after = list(frozen_after)
        self.positions: list[int] = []

    async def start_run(self, request: pb.StartRunRequest) -> AsyncGenerator[Sequence[events.RunEvent], None]:
        async for batch in self.watch_run(request.run_id, after_sequence=0):
            yield batch

    async def watch_run(self, run_id: str, *, after_sequence: int) -> AsyncGenerator[Sequence[events.RunEvent], None]:
        self.positions.append(after_sequence)
        last = self._frozen_after.pop(0) if self._frozen_after else len(LOG)
        for event in LOG[after_sequence:last]:
            yield [event]
        if last < len(LOG):
            await asyncio.Event().wait()

    async def get_run(self, run_id: str) -> Run:
        return Run(id=run_id)

    async def cancel_run(self, run_id: str) -> Run:
        return Run(id=run_id)

    async def list_agents(self) -> Sequence[Agent]:
        return []

    async def get_agent(self, name: str) -> Agent:
        return Agent(name=name)

    async def create_embeddings(self, texts: Sequence[str], *, model: str) -> pb.CreateEmbeddingsResponse:
        return pb.CreateEmbeddingsResponse(model=model)


class LingeringOrchestrator(FreezingOrchestrator):
    """Ends its stream some time after the run's last event, as a busy process does."""

    def __init__(self) -> None:
        super().__init__(frozen_after=[])
        self.is_read_to_its_end = False

    async def start_run(self, request: pb.StartRunRequest) -> AsyncGenerator[Sequence[events.RunEvent], None]:
        yield LOG
        for _ in range(100):
            await asyncio.sleep(0)
        self.is_read_to_its_end = True


async def _sequences(orchestrator: FreezingOrchestrator) -> list[int]:
    follower = RunFollower(orchestrator, Patience(silence_s=0.5))
    await follower.accept(pb.StartRunRequest(run_id=RUN_ID))
    return [event.sequence async for batch in follower.events() for event in batch]


async def test_silent_stream_is_replaced_and_nothing_comes_twice() -> None:
    orchestrator = FreezingOrchestrator(frozen_after=[2])

    sequences = await _sequences(orchestrator)

    assert sequences == [2, 3, 4]
    assert orchestrator.positions == [0, 2]


async def test_silent_acceptance_is_refused_for_now_once_patience_ends() -> None:
    orchestrator = FreezingOrchestrator(frozen_after=[0])
    follower = RunFollower(orchestrator, Patience(start_s=0.5))

    with pytest.raises(UnavailableError) as caught:
        await follower.accept(pb.StartRunRequest(run_id=RUN_ID))

    assert caught.value.retry_after_s
    assert orchestrator.positions == [0]


@pytest.mark.parametrize("streams", [False, True])
async def test_stream_of_an_answered_chat_is_read_to_its_end_though_the_client_is_gone(streams: bool) -> None:
    """A server reports every client as gone once it has its answer."""
    orchestrator, answered = LingeringOrchestrator(), asyncio.Event()
    chats = ChatCompletions(
        open_door(requests_per_minute=1), orchestrator, Canceller(orchestrator), Patience(silence_s=5)
    )
    body = {"model": "a", "stream": streams, "messages": [{"role": "user", "content": "Hello?"}]}
    asked = iter([{"type": "http.request", "body": orjson.dumps(body)}])

    async def receive() -> Message:
        if message := next(asked, None):
            return message
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            answered.set()

    await chats(knock(), receive, send)

    assert answered.is_set()
    assert orchestrator.is_read_to_its_end
