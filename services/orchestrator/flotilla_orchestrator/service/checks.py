"""What a start request must fulfil, whatever the state is."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from flotilla_common.errors import InvalidArgumentError

from flotilla_orchestrator.model import CallerTool, MessageDict, RunOptions
from flotilla_orchestrator.runs.execution.work import Resume

LARGEST_PAGE = 200
_LONGEST_S = 10 * 366 * 24 * 3600.0
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def check_options(options: RunOptions) -> None:
    """Raises InvalidArgumentError naming the option that is out of range."""
    if options.temperature is not None and not 0 <= options.temperature <= 2:
        raise _wrong("options.temperature", "must be from 0 to 2")
    if options.top_p is not None and not 0 <= options.top_p <= 1:
        raise _wrong("options.top_p", "must be from 0 to 1")
    if options.max_output_tokens is not None and options.max_output_tokens < 1:
        raise _wrong("options.max_output_tokens", "must be at least 1")


def check_tool_names(tools: Sequence[CallerTool], server_tools: Collection[str]) -> None:
    """Raises InvalidArgumentError naming a caller's tool whose name is wrong, used twice, or one of the agent's own."""
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        field = f"tools[{index}].function.name"
        if not _TOOL_NAME.fullmatch(tool.name):
            raise _wrong(field, "must be 1 to 64 characters of a-z, A-Z, 0-9, _ and -")
        if tool.name in server_tools:
            raise _wrong(field, f"'{tool.name}' is the name of one of the agent's own tools", reason="tool_name_clash")
        if tool.name in seen:
            raise _wrong(field, f"'{tool.name}' is the name of two tools")
        seen.add(tool.name)


def check_messages(messages: Sequence[MessageDict], resume: Resume | None) -> None:
    """Raises InvalidArgumentError when there is nothing to answer."""
    if resume is None and not messages:
        raise _wrong("messages", "must not be empty")
    if resume is None and messages[-1]["type"] == "ai":
        raise _wrong("messages", "must end with a human or a tool message")


def page_of(page_size: int, *, default: int) -> int:
    """Returns how many a page has; 0 leaves it to us, and more than the most is the most."""
    if page_size < 0:
        raise _wrong("page_size", "must not be negative")
    return min(page_size or default, LARGEST_PAGE)


def check_span(seconds: float | None, *, field: str) -> None:
    """Raises InvalidArgumentError for a span that is not positive, or longer than anything lives."""
    if seconds is not None and not 0 < seconds <= _LONGEST_S:
        raise _wrong(field, "must be positive and at most ten years")


def _wrong(field: str, what: str, *, reason: str = "invalid_value") -> InvalidArgumentError:
    return InvalidArgumentError(f"{field} {what}.", reason=reason, field=field)
