"""Whether the figures and names of an answer come from what the run was told."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal

from flotilla_evaluator.model import Observation, Role, Score

_NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?", re.ASCII)
# Blank lines before a marker are left alone: matched from each of them, many take time by their square.
_LIST_MARKER = re.compile(r"^[ \t\r\f\v]*\d{1,3}[.)]\s", re.ASCII | re.MULTILINE)
# A capital after a full stop, a colon, a line break or a quotation mark says nothing about the word.
_NAME = re.compile(r"(?<=[a-z0-9,;)] )[A-Z][a-zA-Z]{2,}")
_LONGEST_NUMBER = 40
_MOST_SHOWN = 3
_MOST_FIGURES, _MOST_NAMES, _MOST_KNOWN = 1_000, 300, 100_000
"""How many of an answer's figures and names are looked up, and among how many figures; repetitions apart."""
# Digits enough for the longest figure with as many decimal places as the longest one has.
_EXACT = Context(prec=2 * _LONGEST_NUMBER)


class Grounded:
    """Gives the share of an answer's figures and names that occur in the input, the tools' arguments or their results.

    Only runs that used a tool are measured, because without one the model's own knowledge is what was asked for; these
    get 1. A figure also counts as found when it is a rounded one. Looked up are an answer's first 1,000 figures,
    among the first 100,000 before it, and its first 300 names, repetitions apart, which bounds the time it takes.
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
    known = sorted(set(map(Decimal, _distinct(_numbers(evidence), _MOST_KNOWN))))
    known_words = evidence.casefold()
    numbers = _distinct(_numbers(text), _MOST_FIGURES)
    names = _distinct((found.group() for found in _NAME.finditer(text)), _MOST_NAMES)
    missing = [number for number in numbers if not _is_known(Decimal(number), known)]
    missing += [name for name in names if name.casefold() not in known_words]
    return missing, len(numbers) + len(names)


def _numbers(text: str) -> Iterable[str]:
    found = (match.group() for match in _NUMBER.finditer(text))
    return (number.replace(",", "") for number in found if len(number) <= _LONGEST_NUMBER)


def _distinct(found: Iterable[str], most: int) -> list[str]:
    distinct: dict[str, None] = {}
    for each in found:
        distinct[each] = None
        if len(distinct) == most:
            break
    return list(distinct)


def _is_known(claimed: Decimal, known: Sequence[Decimal]) -> bool:
    """Returns whether one of these, which are sorted and differ, is the claimed figure when rounded to its places."""
    half_a_unit = Decimal((0, (5,), int(claimed.as_tuple().exponent) - 1))
    first = bisect_left(known, _EXACT.subtract(claimed, half_a_unit))
    # The first may lie exactly half a unit below and be rounded away; then the second decides.
    return any(number.quantize(claimed, context=_EXACT) == claimed for number in known[first : first + 2])


def _explanation(missing: list[str], total: int) -> str:
    if not missing:
        return f"All {total} figures and names of the answer occur in what the run was told."
    shown = ", ".join(missing[:_MOST_SHOWN]) + (", …" if len(missing) > _MOST_SHOWN else "")
    return f"{len(missing)} of {total} figures and names of the answer occur nowhere before it: {shown}."
