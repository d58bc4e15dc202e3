"""What the clients of the load saw: one entry for each conversation, and what is wrong with it."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from e2e.edge import Edge, counted

_IN_THE_LOG = "; in the log "


@dataclass(slots=True)
class Entry:
    """One conversation."""

    number: int
    is_stream: bool
    last: int
    """Where the right answer stops counting."""
    began_s: float
    """On the monotonic clock, as all moments."""
    seconds: float = 0.0
    longest_silence_s: float = 0.0
    silent_from_s: float = 0.0
    run_id: str = ""
    text: str = ""
    failure: str = ""
    """Why it failed, in words that can be counted; empty when the answer is whole and right."""
    release: str = ""
    """The version of the agent that made the answer."""
    attempt: int = 0

    @property
    def right_answer(self) -> list[str]:
        """Returns the words that nobody else's answer has."""
        return [f"({self.number})", *counted(self.last)]

    def hear(self, *, since: float) -> None:
        """Notes a sign of life, the one before it having come at `since`."""
        silence_s = time.monotonic() - since
        if silence_s > self.longest_silence_s:
            self.longest_silence_s, self.silent_from_s = silence_s, since

    def judge(self) -> None:
        """Finds an answer that came and is not right."""
        if not self.failure and self.text.split() != self.right_answer:
            self.failure = "wrong answer" if self.text else "empty answer"


@dataclass(slots=True)
class Ledger:
    """All conversations of a load."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def failures(self) -> dict[str, int]:
        """How many conversations failed, by kind and cause."""
        failed = (entry for entry in self.entries if entry.failure)
        return dict(Counter(f"{'stream' if entry.is_stream else 'unary'}: {entry.failure}" for entry in failed))

    def check_events(self, edge: Edge) -> None:
        """Reads every stream's event log again, to its end: also what a client lost sight of has to be there, once."""
        for entry in self.entries:
            if entry.is_stream and entry.run_id and (wrong := _wrong_log(list(edge.events(entry.run_id)), entry)):
                entry.failure = f"{entry.failure or 'nothing'}{_IN_THE_LOG}{wrong}"

    def read_runs(self, edge: Edge) -> None:
        """Learns which version made each answer, and in how many attempts."""
        for entry in self.entries:
            if entry.run_id:
                run = edge.run(entry.run_id)
                entry.release, entry.attempt = run["release"], run["attempt"]
                if run["status"] != "succeeded" and not entry.failure:
                    entry.failure = f"the run is {run['status']}"

    def figures(self) -> dict[str, object]:
        """Returns counts and times."""
        unary = [entry for entry in self.entries if not entry.is_stream]
        streams = [entry for entry in self.entries if entry.is_stream]
        return {
            "unary": len(unary),
            "streams": len(streams),
            "failures": self.failures,
            "resumed runs": sum(entry.attempt > 1 for entry in self.entries),
            "unary seconds": _spread([entry.seconds for entry in unary]),
            "longest silence of a stream, seconds": _spread([entry.longest_silence_s for entry in streams]),
        }

    def write(self, file: Path) -> None:
        """Keeps every entry."""
        file.write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in self.entries))


def is_log_wrong(entry: Entry) -> bool:
    """Whether the event log of a conversation is not the one of its right answer."""
    return _IN_THE_LOG in entry.failure


def _wrong_log(log: list[tuple[int, dict[str, Any]]], entry: Entry) -> str:
    """Returns what is wrong with the numbered events of a run, or nothing."""
    if not log or [number for number, _ in log] != list(range(1, len(log) + 1)):
        return "a gap or a double"
    last = log[-1][1]
    if last["type"] != "done":
        return f"{last['type']}: {last.get('error', {}).get('reason', 'no reason')}"
    answer = last["answer"]["content"]
    if answer.split() != entry.right_answer:
        return "no right answer"
    return "" if answer.startswith(entry.text) else "another answer"


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"p50": round(statistics.median(ordered), 3), "p99": round(p99, 3), "max": round(ordered[-1], 3)}
