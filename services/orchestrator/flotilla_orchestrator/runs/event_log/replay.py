"""Compares a reply that is made again with what was already streamed of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fresh:
    """What of a remade reply is still to be streamed."""

    text: str
    restarted: bool = False
    """The reply differs: what was streamed is to be discarded, and `text` begins the reply anew."""


class ReplyComparison:
    """Skips the beginning that a remade reply shares with the streamed one, and notices where it differs.

    Whatever the pieces are: without a restart, streamed + fresh texts = the remade reply; with one, the fresh texts
    from the restart on are the remade reply.
    """

    __slots__ = ("_position", "_streamed")

    def __init__(self, streamed: str) -> None:
        self._streamed = streamed
        self._position = 0

    def take(self, text: str) -> Fresh:
        """Returns what of the reply's next piece is to be streamed."""
        ahead = len(self._streamed) - self._position
        if ahead <= 0:
            return Fresh(text)
        if self._streamed.startswith(text[:ahead], self._position):
            self._position += len(text)
            return Fresh(text[ahead:])
        return self._restart(text)

    def end(self) -> Fresh:
        """Returns what is to be streamed once the remade reply is over: a shorter reply differs, too."""
        if self._position >= len(self._streamed):
            return Fresh("")
        return self._restart("")

    def _restart(self, text: str) -> Fresh:
        begun = self._streamed[: self._position]
        self._streamed = ""
        return Fresh(begun + text, restarted=True)
