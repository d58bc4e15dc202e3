"""Figures of a case: of each peer in each round, and as ratios between peers paired round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cases import Case, Peer
from benchmarks.load import Sample

_STORES = frozenset({"postgres", "valkey"})


@dataclass(frozen=True, slots=True)
class Figures:
    """One peer in one round; times in milliseconds."""

    chats: int
    errors: int
    error_examples: Sequence[str]
    chats_per_s: float
    cpu_ms: float
    """Of the services, per chat."""
    stores_cpu_ms: float
    """Of Postgres and Valkey, per chat."""
    cpu_us_per_token: float
    first_token: Mapping[str, float]
    total: Mapping[str, float]
    cpu_ms_by_process: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of the platform divided by a peer's, paired in each round."""

    peer: Peer
    what: str
    median: float
    rounds: Sequence[float]


def figures_of(sample: Sample, *, left_out: frozenset[str] = frozenset({"model"})) -> Figures:
    """Returns a round's figures; the model that everybody shares is left out of the sums."""
    ledger, chats = sample.ledger, max(len(sample.ledger.answers), 1)
    cpu = {name: 1000 * spent / chats for name, spent in sorted(sample.cpu_s.items())}
    services = sum(value for name, value in cpu.items() if name not in _STORES | left_out)
    return Figures(
        chats=len(ledger.answers),
        errors=len(ledger.errors),
        error_examples=ledger.errors[:3],
        chats_per_s=round(len(ledger.answers) / sample.seconds, 1),
        cpu_ms=round(services, 3),
        stores_cpu_ms=round(sum(value for name, value in cpu.items() if name in _STORES), 3),
        cpu_us_per_token=round(1000 * services * chats / max(ledger.tokens, 1), 1),
        first_token=_percentiles(ledger.first_token_s),
        total=_percentiles(ledger.total_s),
        cpu_ms_by_process={name: round(value, 3) for name, value in cpu.items()},
    )


def ratios_of(case: Case, rounds: Sequence[Mapping[Peer, Figures]]) -> list[Ratio]:
    """Returns what the platform costs in terms of every other peer of the case."""
    ratios = []
    for peer in (peer for peer in case.peers if peer not in (Peer.FLOTILLA, Peer.DIRECT)):
        ratios.append(_ratio(peer, "CPU", rounds, lambda figures: figures.cpu_ms))
        ratios.append(_ratio(peer, "CPU with stores", rounds, lambda figures: figures.cpu_ms + figures.stores_cpu_ms))
        ratios.append(_ratio(peer, "p50", rounds, lambda figures: figures.total["p50"]))
        if case.is_streamed:
            ratios.append(_ratio(peer, "first token p50", rounds, lambda figures: figures.first_token["p50"]))
        if Peer.DIRECT in case.peers:
            ratios.append(_added(peer, rounds))
    return ratios


def median(rounds: Sequence[Mapping[Peer, Figures]], peer: Peer) -> Figures:
    """Returns the round that cost a peer its median CPU."""
    mine = sorted((figures[peer] for figures in rounds), key=lambda figures: figures.cpu_ms)
    return mine[len(mine) // 2]


def _ratio(peer: Peer, what: str, rounds: Sequence[Mapping[Peer, Figures]], of: Callable[[Figures], float]) -> Ratio:
    return _as_ratio(peer, what, [of(figures[Peer.FLOTILLA]) / max(of(figures[peer]), 1e-9) for figures in rounds])


def _added(peer: Peer, rounds: Sequence[Mapping[Peer, Figures]]) -> Ratio:
    """Returns the ratio of what each adds to the model's own time."""
    pairs = []
    for figures in rounds:
        model = figures[Peer.DIRECT].total["p50"]
        pairs.append((figures[Peer.FLOTILLA].total["p50"] - model, figures[peer].total["p50"] - model))
    return _as_ratio(peer, "added p50", [ours / max(theirs, 1e-9) for ours, theirs in pairs])


def _as_ratio(peer: Peer, what: str, rounds: Sequence[float]) -> Ratio:
    return Ratio(peer, what, round(statistics.median(rounds), 3), [round(value, 3) for value in rounds])


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        f"p{share}": round(1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 2) if ordered else 0.0
        for share in (50, 95, 99)
    }
