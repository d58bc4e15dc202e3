"""What the tool service does: validates, permits, invokes a batch once, and remembers what became of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import orjson
from flotilla_common.errors import InvalidArgumentError
from flotilla_common.identity import Identity

from flotilla_tool.metrics import ToolMetrics
from flotilla_tool.model import (
    Batch,
    Caller,
    FinishedCall,
    LedgerEntry,
    LedgerKey,
    LedgerState,
    Outcome,
    Result,
    ToolArguments,
    ToolCall,
    ToolSpec,
)
from flotilla_tool.stores.ledger import Ledger
from flotilla_tool.tools.policy import permitted_tool
from flotilla_tool.tools.registry import RegisteredTool, ToolRegistry
from flotilla_tool.tools.runner import ToolRunner
from flotilla_tool.tools.tool import Invocation, ToolError

MOST_CALLS = 64
_LONGEST_KEY = 128
_OUTCOME_UNKNOWN = Result(
    Outcome.UNKNOWN,
    "An earlier attempt at this call may have taken effect. It is not repeated without a human's decision.",
    reason="outcome_unknown",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _PlannedCall:
    """A permitted call: either with valid arguments, or with the result that says what is wrong with them."""

    entry: RegisteredTool
    key: LedgerKey
    arguments: ToolArguments | Result


class ToolService:
    """Lists and invokes tools."""

    def __init__(self, *, registry: ToolRegistry, ledger: Ledger, runner: ToolRunner, metrics: ToolMetrics) -> None:
        self._registry = registry
        self._ledger = ledger
        self._runner = runner
        self._metrics = metrics
        self._running: set[asyncio.Task[dict[str, Result]]] = set()

    def list_tools(self, names: Collection[str]) -> list[ToolSpec]:
        """Returns the tools ordered by name, only those named when names are given."""
        return [entry.spec for entry in self._registry if not names or entry.spec.name in names]

    async def invoke_batch(self, identity: Identity, batch: Batch) -> list[Result]:
        """Returns one result for each call, in the order of the calls.

        Raises InvalidArgumentError when the batch is malformed or a key was used for another call.
        """
        _check_batch(identity, batch)
        caller = Caller(identity.tenant_id, identity.user_id, batch.run_id)
        refused: dict[str, Result] = {}
        planned: list[_PlannedCall] = []
        for call in batch.calls:
            tool = permitted_tool(call, batch, self._registry)
            if isinstance(tool, Result):
                refused[call.idempotency_key] = tool
                self._metrics.answered(None, tool, invoked=False)
            else:
                planned.append(_plan(call, tool))
        results = refused | (await self._uninterrupted(caller, planned) if planned else {})
        return [results[call.idempotency_key] for call in batch.calls]

    async def finish(self) -> None:
        """Waits for the calls that are under way, also those whose caller has gone."""
        if self._running:
            await asyncio.wait(self._running)

    async def _uninterrupted(self, caller: Caller, planned: Sequence[_PlannedCall]) -> dict[str, Result]:
        """Invokes to the end even if the caller goes: what was begun must be remembered."""
        task = asyncio.create_task(self._invoke(caller, planned))
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[dict[str, Result]]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _log.info("batch failed", extra={"error": type(error).__name__})

    async def _invoke(self, caller: Caller, planned: Sequence[_PlannedCall]) -> dict[str, Result]:
        known = await self._ledger.claim(caller, [plan.key for plan in planned])
        due = [plan for plan in planned if _is_due(plan, known[plan.key.idempotency_key])]
        made = await asyncio.gather(*(self._call(caller, plan) for plan in due))
        if due:
            finished = [FinishedCall(plan.key, result) for plan, result in zip(due, made, strict=True)]
            await self._ledger.record(caller, finished)
        results = {plan.key.idempotency_key: result for plan, result in zip(due, made, strict=True)}
        return {plan.key.idempotency_key: self._answer(plan, results, known) for plan in planned}

    async def _call(self, caller: Caller, plan: _PlannedCall) -> Result:
        if isinstance(plan.arguments, Result):
            return plan.arguments
        return await self._runner.run(plan.entry, plan.arguments, Invocation(caller, plan.key.idempotency_key))

    def _answer(self, plan: _PlannedCall, made: Mapping[str, Result], known: Mapping[str, LedgerEntry]) -> Result:
        key = plan.key.idempotency_key
        result = made.get(key) or known[key].result or _OUTCOME_UNKNOWN
        self._metrics.answered(plan.key.tool, result, invoked=key in made)
        return result


def arguments_digest(arguments_json: bytes) -> bytes:
    """Returns a digest that is equal for equal JSON values, however they are written."""
    try:
        written = orjson.dumps(orjson.loads(arguments_json), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        written = arguments_json
    return hashlib.sha256(written).digest()


def _check_batch(identity: Identity, batch: Batch) -> None:
    keys = [call.idempotency_key for call in batch.calls]
    if not 1 <= len(keys) <= MOST_CALLS:
        raise InvalidArgumentError(f"A batch has 1 to {MOST_CALLS} calls.", field="invocations")
    if identity.run_id not in (None, batch.run_id):
        raise InvalidArgumentError("run_id is not the run of the caller's identity.", field="run_id")
    for index, key in enumerate(keys):
        if not 1 <= len(key) <= _LONGEST_KEY or "\x00" in key:
            raise InvalidArgumentError(
                f"An idempotency key has 1 to {_LONGEST_KEY} characters.",
                field=f"invocations[{index}].idempotency_key",
            )
    if len(set(keys)) != len(keys):
        raise InvalidArgumentError("An idempotency key is repeated in the batch.", field="invocations")


def _plan(call: ToolCall, entry: RegisteredTool) -> _PlannedCall:
    arguments: ToolArguments | Result
    try:
        arguments = entry.read_arguments(call.arguments_json)
    except ToolError as error:
        arguments = Result(Outcome.FAILED, error.message, reason=error.reason)
    key = LedgerKey(
        idempotency_key=call.idempotency_key,
        tool=call.tool,
        arguments_digest=arguments_digest(call.arguments_json),
        needs_intent=not entry.spec.may_repeat and not isinstance(arguments, Result),
    )
    return _PlannedCall(entry, key, arguments)


def _is_due(plan: _PlannedCall, entry: LedgerEntry) -> bool:
    """Says whether the call is made now; an open intent is made again only where that cannot do harm."""
    if entry.state is LedgerState.INTENDED:
        return plan.entry.spec.may_repeat
    return entry.state is LedgerState.FREE
