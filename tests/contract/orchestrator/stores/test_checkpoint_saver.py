"""LangGraph's own conformance suite on our saver, with each checkpoint store beneath it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest
from fakes.run_stores import Stores
from flotilla_orchestrator.runs.checkpoints.saver import FlotillaSaver
from flotilla_orchestrator.stores.checkpoint_store import CheckpointQuery
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability


@pytest.mark.parametrize("capability", [one.value for one in Capability])
async def test_saver_conforms(stores: Stores, capability: str) -> None:
    @checkpointer_test(name=f"FlotillaSaver {capability}")
    async def savers() -> AsyncGenerator[BaseCheckpointSaver[int], None]:
        yield FlotillaSaver(stores.checkpoints(uuid4()))

    report = await validate(savers, capabilities={capability})

    result = report.results[capability]
    assert (result.detected, result.passed, result.failures) == (True, True, [])
    assert result.tests_passed > 0


async def test_checkpoints_of_another_tenant_are_not_there(stores: Stores) -> None:
    mine, theirs = (FlotillaSaver(stores.checkpoints(uuid4())) for _ in range(2))
    checkpoint_id, thread_id = str(uuid4()), str(uuid4())
    config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    empty = {"v": 1, "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    stored = await mine.aput(
        config,  # type: ignore[arg-type]
        {**empty, "id": checkpoint_id},  # type: ignore[typeddict-item]
        {"source": "update", "step": 1, "run_id": str(uuid4())},
        {},
    )

    await theirs.adelete_thread(thread_id)
    await theirs.aprune([thread_id], strategy="delete")

    assert await theirs.aget_tuple(stored) is None
    assert await mine.aget_tuple(stored) is not None
    assert [one async for one in theirs.alist(None)] == []
    assert await stores.checkpoints(uuid4()).find(CheckpointQuery()) == []


async def test_unknown_strategy_is_refused(stores: Stores) -> None:
    with pytest.raises(ValueError, match="unknown strategy"):
        await FlotillaSaver(stores.checkpoints(uuid4())).aprune([str(uuid4())], strategy="keep_some")
