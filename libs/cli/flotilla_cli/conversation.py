"""One conversation with an agent over the public wires: start a run, then read its event log."""

import contextlib
import json
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from flotilla_cli.failure import CommandError
from flotilla_cli.gateway import Json, require_success, unreachable

TERMINAL = frozenset({"done", "failed"})


@dataclass(slots=True)
class Conversation:
    """A thread with an agent, in the name of one person."""

    gateway: httpx.Client
    agent: str
    user: str
    """The end user's name: the same one each time, so that memory is theirs."""

    thread_id: str | None = None

    def ask(self, text: str) -> Generator[Json, None, None]:
        """Yields the run's events until the last one; closing the generator early cancels the run."""
        try:
            with self._started_run(text) as response:
                require_success(_read_if_refused(response))
                self.thread_id = response.headers.get("x-thread-id", self.thread_id)
                # The answer itself is read and dropped: the event log says the same, and the tools' work too.
                threading.Thread(target=_drain, args=(response,), daemon=True).start()
                run_id = response.headers["x-run-id"]
                try:
                    yield from self._events(run_id)
                except GeneratorExit:
                    self._cancel(run_id)
                    raise
        except httpx.HTTPError as exc:
            raise unreachable(self.gateway, exc) from exc

    def _started_run(self, text: str) -> contextlib.AbstractContextManager[httpx.Response]:
        body = {
            "model": self.agent,
            "messages": [{"role": "user", "content": text}],
            "stream": True,
            "user": self.user,
            "metadata": {"thread_id": self.thread_id} if self.thread_id else {},
        }
        return self.gateway.stream("POST", "/v1/chat/completions", json=body, timeout=None)

    def _cancel(self, run_id: str) -> None:
        with contextlib.suppress(httpx.HTTPError):
            self.gateway.post(f"/v1/runs/{run_id}/cancel", params={"user": self.user})

    def _events(self, run_id: str) -> Iterator[Json]:
        path, query = f"/v1/runs/{run_id}/events", {"user": self.user}
        with self.gateway.stream("GET", path, params=query, timeout=None) as response:
            require_success(_read_if_refused(response))
            for event in parse_events(response.iter_lines()):
                yield event
                if event.get("type") in TERMINAL:
                    return
        raise CommandError(f"the events of run {run_id} ended early", hint="look at: flotilla logs gateway")


def parse_events(lines: Iterable[str]) -> Iterator[Json]:
    """Yields the JSON objects of a stream of server-sent events. Raises CommandError for an event named error."""
    name, data = "", ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data += value
        elif not line and data:
            yield _parse_event(name, data)
            name, data = "", ""


def _parse_event(name: str, data: str) -> Json:
    event: Any = json.loads(data)
    if name == "error":
        raise CommandError(f"the gateway says: {event['error']['message']}")
    return dict(event)


def _read_if_refused(response: httpx.Response) -> httpx.Response:
    if not response.is_success:
        response.read()
    return response


def _drain(response: httpx.Response) -> None:
    # Ends when the answer ends, or when the response is closed under it.
    with contextlib.suppress(httpx.HTTPError, httpx.StreamError, RuntimeError, AttributeError):
        for _ in response.iter_raw():
            pass
