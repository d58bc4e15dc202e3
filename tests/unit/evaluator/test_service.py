"""What the service does besides storing."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from flotilla_common.identity import Identity
from flotilla_evaluator.metrics import EvaluatorMetrics
from flotilla_evaluator.model import Message, Observation, Role, Score, ToolCall
from flotilla_evaluator.service import EvaluatorService
from flotilla_evaluator.stores.in_memory import InMemoryObservationStore
from prometheus_client import CollectorRegistry


class Patient:
    """A scorer that takes as long as the event loop needs to serve something else."""

    key = "patient"

    def __init__(self) -> None:
        self.served = threading.Event()

    def score(self, observation: Observation) -> Score:
        """Waits for the loop."""
        return Score(self.key, float(self.served.wait(timeout=5)), "")


@pytest.mark.parametrize(
    "long",
    [Message(Role.HUMAN, "x" * 20_000), Message(Role.ASSISTANT, "", tool_calls=[ToolCall("c", "t", "1" * 20_000)])],
)
async def test_observe_of_a_long_run_lets_others_be_served(long: Message) -> None:
    scorer = Patient()
    service = EvaluatorService(
        store=InMemoryObservationStore(), scorers=[scorer], metrics=EvaluatorMetrics(CollectorRegistry())
    )
    run = Observation(uuid4(), "assistant", "r", [long], [], 0.1, datetime.now(UTC))

    async with asyncio.TaskGroup() as tasks:
        observed = tasks.create_task(service.observe(Identity(uuid4(), uuid4()), run))
        await asyncio.sleep(0)
        scorer.served.set()

    assert [score.value for score in observed.result()[1]] == [1]
