"""Whether the figures and names of an answer come from what the run was told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Context, Decimal

from flotilla_evaluator.model import Observation, Role, Score

_NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?", re.ASCII)
# Blank lines before a marker are left alone: matched from each of them, many take time by their square.
_LIST_MARKER = re.compile(r"^[ \t\r\f\v]*\d{1,3}[.)]\s", re.ASCII | re.MULTILINE)
# A capital after a full stop, a colon, a line break or a quotation mark says nothing about the word.
_NAME = re.compile(r"(?<=[a-z0-9,;)] )[A-Z][a-zA-Z]{2,}")
_LONGEST_NUMBER = 40
_MOST_SHOWN = 3
# Digits enough for the longest figure with as many decimal places as the longest one has.
_EXACT = Context(prec=2 * _LONGEST_NUMBER)


class Grounded:
    """Gives the share of an answer's figures and names that occur in the input, the tools' arguments or their results.

    Only runs that used a tool are measured, because without one the model's own knowledge is what was asked for; these
    get 1. A figure also counts as found when it is a rounded one.
    """

    key = "grounded"

    def score(self, observation: Observation) -> Score:
        """Looks every figure and name of the answer up in what came before it."""
        if not observation.tool_results:
            return Score(self.key, 1.0, "No tool was used, so there is nothing to compare the answer with.")
        evidence = "\n".join(_evidence(observation))
        missing, total = _missing_claims(observation.answer, evidence)
        if total == 0:
            return Score(self.key, 1.0, "The answer names no figure and no name.")
        value = (total - len(missing)) / total
        return Score(self.key, value, _explanation(missing, total))


def _evidence(observation: Observation) -> Iterable[str]:
    for message in observation.messages[:-1]:
        if message.role is not Role.ASSISTANT:
            yield message.content
        yield from (call.arguments for call in message.tool_calls)


def _missing_claims(answer: str, evidence: str) -> tuple[list[str], int]:
    text = _LIST_MARKER.sub(" ", answer)
    known_numbers = [Decimal(number) for number in _numbers(evidence)]
    known_words = evidence.casefold()
    numbers = list(dict.fromkeys(_numbers(text)))
    names = list(dict.fromkeys(_NAME.findall(text)))
    missing = [number for number in numbers if not _is_known(Decimal(number), known_numbers)]
    missing += [name for name in names if name.casefold() not in known_words]
    return missing, len(numbers) + len(names)


def _numbers(text: str) -> Iterable[str]:
    return (found.replace(",", "") for found in _NUMBER.findall(text) if len(found) <= _LONGEST_NUMBER)


def _is_known(claimed: Decimal, known: Iterable[Decimal]) -> bool:
    return any(number == claimed or number.quantize(claimed, context=_EXACT) == claimed for number in known)


def _explanation(missing: list[str], total: int) -> str:
    if not missing:
        return f"All {total} figures and names of the answer occur in what the run was told."
    shown = ", ".join(missing[:_MOST_SHOWN]) + (", …" if len(missing) > _MOST_SHOWN else "")
    return f"{len(missing)} of {total} figures and names of the answer occur nowhere before it: {shown}."
