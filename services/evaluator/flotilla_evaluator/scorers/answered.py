"""Whether the person got an answer at all."""

from __future__ import annotations

import re

from flotilla_evaluator.model import Observation, Score

_BEGINNING = 240
_REFUSAL = re.compile(
    r"\b(?:can\s?not|can['\u2019]t|won['\u2019]t|(?:un|not )able to|must decline to)\s+(?:\w+\s+){0,3}?"
    r"(?:help|assist|answer|comply|fulfil|fulfill|provide|share|discuss|do (?:that|this))\b",
    re.IGNORECASE,
)
_ERROR = re.compile(r"^(?:an? )?(?:internal |unexpected )?error\b|^something went wrong\b", re.IGNORECASE)


class Answered:
    """Gives 1 to a run that ends with an answer, 0 to silence, a refusal or an error message."""

    key = "answered"

    def score(self, observation: Observation) -> Score:
        """Looks at the last message, for refusals at its beginning only."""
        answer = observation.answer
        if not answer:
            return Score(self.key, 0.0, "The run ended without an answer.")
        if _ERROR.search(answer):
            return Score(self.key, 0.0, "The answer is an error message.")
        if _REFUSAL.search(answer[:_BEGINNING]):
            return Score(self.key, 0.0, "The answer is a refusal.")
        return Score(self.key, 1.0, "The run ended with an answer.")
