"""What a tool is: a specification, and a coroutine that does the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from flotilla_tool.model import Caller, ToolArguments, ToolSpec


class ToolError(Exception):
    """The tool could not do it and had no effect; the message is for the model.

    reason: machine-readable, snake_case, such as "unknown_time_zone".
    """

    def __init__(self, message: str, *, reason: str = "tool_failed") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a tool knows about its call besides the arguments."""

    caller: Caller
    idempotency_key: str
    """The same on every attempt at this call; an idempotent tool hands it on to what it changes."""


class Tool(Protocol):
    """Something a model may have done."""

    @property
    def spec(self) -> ToolSpec:
        """Returns what a model and the service must know about it."""
        ...

    async def invoke(self, arguments: ToolArguments, invocation: Invocation) -> str:
        """Returns what the model reads.

        Raises ToolError when it certainly had no effect. Any other exception, a time limit among them, leaves open
        whether it had one. It must not block the event loop for more than some milliseconds.
        """
        ...
