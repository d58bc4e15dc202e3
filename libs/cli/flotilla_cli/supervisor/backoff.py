"""How long to wait before a crashed process is started again."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubles the wait with each crash up to a bound; forgets the crashes of a process that was stable since."""

    first_s: float = 0.2
    longest_s: float = 15.0
    stable_after_s: float = 30.0
    _crashes: int = 0

    def next_delay_s(self, *, ran_for_s: float) -> float:
        """Returns the wait after a crash of a process that had run for so long."""
        if ran_for_s >= self.stable_after_s:
            self._crashes = 0
        delay = min(self.first_s * 2.0**self._crashes, self.longest_s)
        self._crashes += 1
        return delay
