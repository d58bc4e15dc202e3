"""Logs: JSON in production, readable in development; ids of trace, run and person come in by themselves."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO

from opentelemetry import trace
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

from flotilla_common.request import current_request_or_none
from flotilla_common.settings import ProcessSettings

_NOTHING: Mapping[str, object] = MappingProxyType({})
_bound: ContextVar[Mapping[str, object]] = ContextVar("flotilla_log_fields", default=_NOTHING)
_OWN = frozenset(RESERVED_ATTRS) | {"taskName", "color_message"}
_LINES_TOGETHER_S = 0.1
_MOST_LINES_TOGETHER = 100
"""More would hold up the event loop for a millisecond, and fill a pipe that is read late."""


def bind_log_fields(**fields: object) -> None:
    """Adds fields, such as run_id, to every line that this task and the tasks it starts will log."""
    _bound.set({**_bound.get(), **fields})


def configure_logs(settings: ProcessSettings, service_name: str, stream: TextIO | None = None) -> None:
    """Sends all logs of the process to one stream, standard output unless told otherwise."""
    handler = GroupedLinesHandler(stream or sys.stdout)
    handler.addFilter(_add_context)
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter(static_fields={"service": service_name, "replica": settings.replica}))
    else:
        handler.setFormatter(TextFormatter(service_name))
    # Asked for with every line otherwise, and no line shows them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # Nor the place in the code; the library's chapter "Optimization" has this switch, too.
    logging._srcfile = None
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)


class GroupedLinesHandler(logging.StreamHandler[TextIO]):
    """Writes lines up to 100 ms later and all in one go, so that no answer waits for the line about it.

    Whatever warns is written at once, with all that was logged before; so is what is logged outside an event loop, and
    what has become many lines. A process that is killed loses the lines of its last moment, one that ends does not.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[logging.LogRecord] = []
        self._flushed_by: asyncio.AbstractEventLoop | None = None
        """The event loop that will write what waits; the next one does not rely on it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line."""
        self._waiting.append(record)
        is_due = record.levelno >= logging.WARNING or len(self._waiting) >= _MOST_LINES_TOGETHER
        loop = None if is_due else _running_loop()
        if loop is None:
            self.flush()
        elif self._flushed_by is not loop:
            self._flushed_by = loop
            loop.call_later(_LINES_TOGETHER_S, self.flush)

    def flush(self) -> None:
        """Writes what waits."""
        self.acquire()
        waiting, self._waiting, self._flushed_by = self._waiting, [], None
        try:
            if waiting:
                self.stream.write("".join(map(self._line, waiting)))
                self.stream.flush()
        except Exception:  # noqa: BLE001 - as every handler of the library: the work goes on without its lines
            self.handleError(waiting[-1])
        finally:
            self.release()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record) + self.terminator
        except Exception:  # noqa: BLE001 - a line that cannot be written takes no other with it
            self.handleError(record)
            return ""


class TextFormatter(logging.Formatter):
    """One line for people: time, level, service, logger, message, fields."""

    def __init__(self, service_name: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {service_name} %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Appends the fields to the message."""
        line = super().formatMessage(record)
        fields = " ".join(f"{key}={value}" for key, value in record.__dict__.items() if key not in _OWN and value)
        return f"{line} {fields}" if fields else line


class JsonFormatter(OrjsonFormatter):
    """One JSON object a line: what Python knows, the static fields, then all that was given with the line."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fills the line; the library's own way asks about every field whether it is renamed."""
        log_data["level"], log_data["logger"], log_data["message"] = record.levelname, record.name, record.message
        log_data |= self.static_fields
        log_data |= message_dict
        for key, value in record.__dict__.items():
            if key not in _OWN:
                log_data[key] = value
        log_data["time"] = datetime.fromtimestamp(record.created, UTC)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _add_context(record: logging.LogRecord) -> bool:
    fields = record.__dict__
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        fields.setdefault("trace_id", f"{span.trace_id:032x}")
        fields.setdefault("span_id", f"{span.span_id:016x}")
    request = current_request_or_none()
    if request is not None:
        identity = request.identity
        fields.setdefault("request_id", request.request_id)
        # Both formatters know how to write a UUID.
        fields.setdefault("tenant_id", identity.tenant_id)
        fields.setdefault("user_id", identity.user_id)
        if identity.run_id is not None:
            fields.setdefault("run_id", identity.run_id)
    for key, value in _bound.get().items():
        fields[key] = str(value)
    return True
