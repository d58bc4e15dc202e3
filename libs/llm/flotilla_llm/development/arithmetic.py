"""Finds the calculation that a sentence asks for."""

from __future__ import annotations

import re

_NUMBER = r"\d+(?:\.\d+)?"
_REWRITES = [
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"[\u00d7\u22c5]"), "*"),
    (re.compile("\u00f7"), "/"),
    (re.compile("[\u2212\u2013]"), "-"),
    (re.compile(rf"({_NUMBER})\s*(?:%|percent|per cent)\s+of\s+(?:the\s+)?(?=[\d(])", re.I), r"\1 / 100 * "),
    (re.compile(r"\b(?:multiplied by|times)\b", re.I), "*"),
    (re.compile(r"(?<=\d)\s*x\s*(?=\d)"), " * "),
    (re.compile(r"\bdivided by\b", re.I), "/"),
    (re.compile(r"\bplus\b", re.I), "+"),
    (re.compile(r"\bminus\b", re.I), "-"),
    (re.compile(r"\s*\^\s*|\s*\bto the power of\b\s*", re.I), " ** "),
    (re.compile(r"\s*\bsquared\b", re.I), " ** 2"),
    (re.compile(r"\s*\bcubed\b", re.I), " ** 3"),
    (re.compile(rf"\bsquare root of\s+({_NUMBER})", re.I), r"\1 ** 0.5"),
    (re.compile(rf"\bsum of\s+({_NUMBER})\s+and\s+({_NUMBER})", re.I), r"\1 + \2"),
    (re.compile(rf"\bproduct of\s+({_NUMBER})\s+and\s+({_NUMBER})", re.I), r"\1 * \2"),
    (re.compile(rf"\bdifference (?:between|of)\s+({_NUMBER})\s+and\s+({_NUMBER})", re.I), r"\1 - \2"),
    (re.compile(rf"\bhalf of\s+({_NUMBER})", re.I), r"\1 / 2"),
]
_EXPRESSION = re.compile(r"[-(]*\d[\d.\s()+\-*/%]*")
_OPERATOR = re.compile(r"\d[\d.)\s]*(?:\*\*|[-+*/%])[\s(\-]*\d")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")


def find_expression(text: str) -> str | None:
    """Returns the longest calculation in the text with ASCII operators, such as `17 / 100 * 2349`, or None."""
    text = _DATE.sub(" ", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    found = [" ".join(match.group().split()).rstrip(" .(+-*/%") for match in _EXPRESSION.finditer(text)]
    sound = [part for part in found if _OPERATOR.search(part) and part.count("(") == part.count(")")]
    return max(sound, key=len, default=None)
