"""What a model is told of a call that broke off."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest
from fakes.peers import FakeMemory, FakeTools
from flotilla_common.errors import DeadlineExceededError, FlotillaError, PermissionDeniedError, UnavailableError
from flotilla_common.identity import Identity
from flotilla_common.ids import new_id
from flotilla_common.request import acting_as
from flotilla_orchestrator.clients.tool import ToolInvocation, ToolResult
from flotilla_orchestrator.runs.execution.toolbox import Toolbox
from flotilla_orchestrator.runs.metrics import RunMetrics
from prometheus_client import CollectorRegistry

AWAY = UnavailableError("away", reason="away")
LATE = DeadlineExceededError("late", reason="late")


class BrokenTools(FakeTools):
    """Takes effect, and is gone before it answers."""

    def __init__(self, error: FlotillaError) -> None:
        super().__init__()
        self.error = error

    async def invoke(
        self, invocations: Sequence[ToolInvocation], *, allowed: Sequence[str], run_id: UUID
    ) -> tuple[ToolResult, ...]:
        await super().invoke(invocations, allowed=allowed, run_id=run_id)
        raise self.error


async def told(name: str, error: FlotillaError) -> ToolResult:
    """Returns what the model is told when the call of a tool fails so."""
    tools = BrokenTools(error)
    tools.tools = {"look": str, "pay": str}
    metrics = RunMetrics(CollectorRegistry())
    toolbox = Toolbox(
        tools, FakeMemory(), run_id=new_id(), allowed=list(tools.tools), read_only=["look"], metrics=metrics
    )
    with acting_as(Identity(new_id(), new_id())):
        results = await toolbox.invoke([ToolInvocation("call_1", name, "{}", "key")])
    return results["call_1"]


@pytest.mark.parametrize("error", [AWAY, LATE])
async def test_call_that_broke_off_may_have_had_its_effect(error: FlotillaError) -> None:
    result = await told("pay", error)

    assert result.reason == "outcome_unknown"
    assert "may have taken effect" in result.content


@pytest.mark.parametrize(("error", "reason"), [(AWAY, "unavailable"), (LATE, "late")])
async def test_tool_that_changes_nothing_may_be_asked_again(error: FlotillaError, reason: str) -> None:
    assert (await told("look", error)).reason == reason


async def test_call_that_was_refused_had_no_effect() -> None:
    assert (await told("pay", PermissionDeniedError("no", reason="refused"))).reason == "refused"
