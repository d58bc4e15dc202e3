"""The figures as a table for people and as JSON for whatever compares them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.crash import CrashOutcome
from benchmarks.figures import median
from benchmarks.rounds import Outcome

_HEAD = ("case", "peer", "chats", "errors", "chats/s", "CPU ms", "stores", "µs/token", "first p50", "p50", "p95", "p99")


def as_table(outcome: Outcome) -> str:
    """Returns a case's rows: each peer's median round, then the ratios."""
    rows: list[Sequence[str]] = [_HEAD]
    for peer in outcome.case.peers:
        figures = median(outcome.rounds, peer)
        rows.append((
            outcome.case.name, peer.value, str(sum(taken[peer].chats for taken in outcome.rounds)),
            str(sum(taken[peer].errors for taken in outcome.rounds)), f"{figures.chats_per_s:.0f}",
            f"{figures.cpu_ms:.2f}", f"{figures.stores_cpu_ms:.2f}", f"{figures.cpu_us_per_token:.0f}",
            f"{figures.first_token['p50']:.1f}", *(f"{figures.total[share]:.1f}" for share in ("p50", "p95", "p99")),
        ))  # fmt: skip
    lines = [*_aligned(rows), f"  runs acknowledged {outcome.acknowledged}, lost {len(outcome.lost)}"]
    lines += [
        f"  {ratio.what} / {ratio.peer}: {ratio.median}  (rounds {', '.join(map(str, ratio.rounds))})"
        for ratio in outcome.ratios
    ]
    for peer in outcome.case.peers:
        by_process = median(outcome.rounds, peer).cpu_ms_by_process
        lines.append(f"  {peer}: " + ", ".join(f"{name} {spent}" for name, spent in by_process.items()))
    examples = [text for taken in outcome.rounds for figures in taken.values() for text in figures.error_examples]
    return "\n".join([*lines, *(f"  ! {text}" for text in examples[:3]), ""])


def crash_line(outcome: CrashOutcome) -> str:
    """Returns what became of the chats while orchestrators were killed."""
    return (
        f"orchestrator killed {outcome.kills} times: {outcome.acknowledged} chats acknowledged, "
        f"{outcome.errors} errors, {len(outcome.lost)} lost, slowest {outcome.slowest_s} s "
        f"{' '.join(outcome.error_examples)}\n"
    )


def as_json(outcomes: Iterable[Outcome], crash: CrashOutcome | None) -> dict[str, Any]:
    """Returns everything that was measured."""
    return {"cases": [asdict(outcome) for outcome in outcomes], "crash": asdict(crash) if crash else None}


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
