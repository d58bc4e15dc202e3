"""Ids that a repeated step makes again, so that a take-over recognises what it did before."""

from __future__ import annotations

import re
from hashlib import sha256
from uuid import UUID, uuid5

from flotilla_orchestrator.graphs.context import Step

_TASK_ID = re.compile(r":[^|]*")
_CALL_ID = re.compile(r"call_([0-9a-f]{32})_[0-9]+")


def message_id(run_id: UUID, step: Step, *, part: str = "") -> str:
    """Returns the id of the message that a step makes; `part` tells several messages of one step apart."""
    return str(uuid5(run_id, f"{_path(step)}|{part}" if part else _path(step)))


def input_message_id(run_id: UUID, index: int) -> str:
    """Returns the id of an input message that came without one."""
    return str(uuid5(run_id, f"input|{index}"))


def tool_message_id(run_id: UUID, tool_call_id: str) -> str:
    """Returns the id of the message that answers a tool call."""
    return str(uuid5(run_id, tool_call_id))


def tool_call_id(run_id: UUID, number: int) -> str:
    """Returns the id of a run's n-th tool call; it locates the run."""
    return f"call_{run_id.hex}_{number}"


def run_of_tool_call(call_id: str) -> UUID | None:
    """Returns the run that a tool call id locates, or None if we never minted it."""
    match = _CALL_ID.fullmatch(call_id)
    return UUID(match[1]) if match else None


def number_of_tool_call(call_id: str) -> int:
    """Returns n of a run's n-th tool call."""
    return int(call_id.rpartition("_")[2])


def idempotency_key(run_id: UUID, step: Step, index: int) -> str:
    """Returns H(run, step, call): the same on every attempt at the call."""
    return sha256(f"{run_id}|{_path(step)}|{index}".encode()).hexdigest()


def _path(step: Step) -> str:
    """Returns where a step is in the graph; without LangGraph's task ids, which differ after a take-over."""
    return f"{_TASK_ID.sub('', step.namespace)}|{step.node}|{step.number}"
