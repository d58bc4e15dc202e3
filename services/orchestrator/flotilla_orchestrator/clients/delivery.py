"""What peers are handed many at a time: every delivery is for its own person, and succeeds or fails by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flotilla_common.errors import FlotillaError, InternalError
from flotilla_common.identity import Identity
from flotilla_common.rpc.batch import error_in


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request among those that are sent together."""

    identity: Identity
    """For whom it is, whoever the call as a whole is for."""
    payload: bytes
    """The serialised request."""


def outcomes_of(errors: Iterable[bytes], deliveries: Sequence[Delivery]) -> list[FlotillaError | None]:
    """Returns what each delivery failed with, or None. Raises InternalError unless there is one result for each."""
    outcomes = [error_in(packed) for packed in errors]
    if len(outcomes) != len(deliveries):
        raise InternalError("the peer did not answer for each delivery", reason="batch_incomplete")
    return outcomes
