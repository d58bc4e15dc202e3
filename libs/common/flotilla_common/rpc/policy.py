"""What holds for every call between services, over whichever transport it goes."""

from __future__ import annotations

LARGEST_MESSAGE = 4 * 1024 * 1024
"""Bytes of a request or an answer."""
MOST_ATTEMPTS = 4
"""Of a call whose server answers UNAVAILABLE before anything else."""
FIRST_BACKOFF_S = 0.05
"""Between the first two attempts; it doubles from one to the next."""
LONGEST_BACKOFF_S = 1.0


def backoff_s(attempts: int) -> float:
    """Returns the seconds to wait after so many attempts, before jitter."""
    return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (attempts - 1))
