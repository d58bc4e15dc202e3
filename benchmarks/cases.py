"""What is measured: one small record a case."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Pace(StrEnum):
    """How the model behind everything answers; the value is what a prompt ends with, which the model's script reads."""

    AT_ONCE = "at once"
    EVERY_20_MS = "at leisure"
    """A token every 20 ms."""
    AFTER_A_SECOND = "after a second"


class Peer(StrEnum):
    """What is put between the client and the model."""

    FLOTILLA = "flotilla"
    LITELLM = "litellm"
    RAW = "raw"
    """A proxy that copies bytes."""
    DIRECT = "direct"
    """Nothing: the model itself."""


@dataclass(frozen=True, slots=True)
class Case:
    """One load, the same for every peer."""

    name: str
    users: int
    """Chats in flight in the closed loop; in the open loop, how many at most."""
    people: int = 2000
    """End users whom the chats are for, one at random each; whoever chats again has memories by then."""
    tokens: int = 8
    is_streamed: bool = False
    pace: Pace = Pace.AT_ONCE
    peers: tuple[Peer, ...] = (Peer.FLOTILLA, Peer.LITELLM)
    seconds: float = 5.0
    """Of each round, for each peer."""
    rounds: int = 5
    ramp_s: float = 0.0
    """Over which the users of a closed loop arrive; they count in `seconds`."""
    chats_per_s: float = 0.0
    """Above 0, chats begin at this rate whatever becomes of those before (open loop)."""


CASES = (
    Case("chat, c1", 1, peers=(Peer.FLOTILLA, Peer.LITELLM, Peer.DIRECT), seconds=2, rounds=15),
    Case("chat, c1, people with memories", 1, people=20, seconds=2, rounds=15),
    Case("chat, c16", 16),
    Case("chat, c64", 64),
    Case("chat, open loop, 40/s", 400, chats_per_s=40, seconds=6, rounds=3),
    Case("50 tokens, c8", 8, tokens=50, is_streamed=True),
    Case("50 tokens, 20 ms apart, c16", 16, tokens=50, is_streamed=True, pace=Pace.EVERY_20_MS, rounds=3),
    Case(
        "50 tokens, 20 ms apart, c64", 64, tokens=50, is_streamed=True, pace=Pace.EVERY_20_MS, rounds=3,
        peers=(Peer.FLOTILLA, Peer.RAW),
    ),
    Case("50 streams for a minute", 50, tokens=50, is_streamed=True, peers=(Peer.FLOTILLA,), seconds=60, rounds=1),
    Case("600 users, 1-s model", 600, pace=Pace.AFTER_A_SECOND, peers=(Peer.FLOTILLA,), seconds=14, rounds=1, ramp_s=2),
    Case(
        "1500 users, 1-s model", 1500, pace=Pace.AFTER_A_SECOND, peers=(Peer.FLOTILLA,), seconds=20, rounds=1, ramp_s=5,
    ),
)  # fmt: skip
