"""The figures as a table for people and as JSON for whatever compares them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.crash import CrashOutcome
from benchmarks.figures import median
from benchmarks.parts.part import Comparison, PartOutcome
from benchmarks.rounds import Outcome

_HEAD = ("case", "peer", "chats", "errors", "chats/s", "CPU ms", "stores", "µs/token", "first p50", "p50", "p95", "p99")
_PART_HEAD = ("part", "figure", "ours", "beside", "µs", "beside's", "ratio", "least", "greatest")


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


def as_part_table(outcomes: Sequence[PartOutcome]) -> str:
    """Returns a row for every figure of ours beside another side's, then what was wrong."""
    rows = [(outcome.part, *_cells(compared)) for outcome in outcomes for compared in outcome.comparisons]
    errors = [f"  ! {text}" for outcome in outcomes for text in outcome.errors]
    return "\n".join([*_aligned([_PART_HEAD, *rows], names=4), *errors, ""])


def crash_line(outcome: CrashOutcome) -> str:
    """Returns what became of the chats while orchestrators were killed."""
    return (
        f"orchestrator killed {outcome.kills} times: {outcome.acknowledged} chats acknowledged, "
        f"{outcome.errors} errors, {len(outcome.lost)} lost, slowest {outcome.slowest_s} s "
        f"{' '.join(outcome.error_examples)}\n"
    )


def as_json(outcomes: Iterable[Outcome], crash: CrashOutcome | None, parts: Iterable[PartOutcome]) -> dict[str, Any]:
    """Returns everything that was measured."""
    return {
        "parts": [{**asdict(part), "comparisons": list(map(asdict, part.comparisons))} for part in parts],
        "cases": [asdict(outcome) for outcome in outcomes],
        "crash": asdict(crash) if crash else None,
    }


def _cells(compared: Comparison) -> Sequence[str]:
    return (
        compared.figure, compared.ours, compared.beside, f"{compared.ours_us:.1f}", f"{compared.beside_us:.1f}",
        f"{compared.median:.2f}", f"{compared.least:.2f}", f"{compared.greatest:.2f}",
    )  # fmt: skip


def _aligned(rows: Sequence[Sequence[str]], *, names: int = 2) -> list[str]:
    """Returns rows as lines; names stand on the left of their columns, the figures after them on the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if at < names else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
