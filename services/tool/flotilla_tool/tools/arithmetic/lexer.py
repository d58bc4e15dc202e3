"""Splits an expression into tokens; decides what a comma means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from flotilla_tool.tools.arithmetic.numbers import CalculationError

_LONGEST_EXPRESSION = 1_000
_LONGEST_LITERAL = 100
# Written as escapes, because several look like the ASCII sign that they stand for: times, dot, divide, minus, dash.
_SPELLINGS = str.maketrans(
    {
        "\u00d7": "*",
        "\u00b7": "*",
        "\u00f7": "/",
        "\u2212": "-",
        "\u2013": "-",
        "\u03c0": "pi",
        "\u221a": "sqrt",
        "\u00a0": " ",
    }
)
OPERATOR_WORDS = frozenset({"of", "x", "mod"})
_TAIL = r"(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,4}(?![0-9]))?"
_PLAIN = re.compile(rf"(?:[0-9][0-9_]*{_TAIL}|\.[0-9]+)")
_GROUPED = re.compile(rf"[0-9]{{1,3}}(?:,[0-9]{{3}})+(?![0-9,]){_TAIL}")
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9]*")
_OPERATOR = re.compile(r"\*\*|//|[-+*/^%(),]")


class TokenKind(Enum):
    """What a token is."""

    NUMBER = "number"
    NAME = "name"
    OPERATOR = "operator"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression and where it starts, counted from 1."""

    kind: TokenKind
    text: str
    position: int


def tokenize(expression: str) -> list[Token]:
    """Returns the tokens, an END last. Raises CalculationError for what is no token."""
    text = _cleaned(expression)
    tokens: list[Token] = []
    in_function: list[bool] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        token = _next_token(text, position, commas_group=not (in_function and in_function[-1]))
        _follow_parentheses(token, tokens, in_function)
        tokens.append(token)
        position += len(token.text)
    return [*tokens, Token(TokenKind.END, "", len(text) + 1)]


def _cleaned(expression: str) -> str:
    if len(expression) > _LONGEST_EXPRESSION:
        raise CalculationError(f"the expression has more than {_LONGEST_EXPRESSION} characters")
    text = expression.translate(_SPELLINGS).strip().rstrip("=?").strip()
    if not text:
        raise CalculationError("the expression is empty")
    return text


def _next_token(text: str, position: int, *, commas_group: bool) -> Token:
    number = (commas_group and _GROUPED.match(text, position)) or _PLAIN.match(text, position)
    if number:
        if len(number[0]) > _LONGEST_LITERAL:
            raise CalculationError(f"a number has more than {_LONGEST_LITERAL} digits")
        return Token(TokenKind.NUMBER, number[0], position + 1)
    if name := _NAME.match(text, position):
        is_operator = name[0].casefold() in OPERATOR_WORDS
        return Token(TokenKind.OPERATOR if is_operator else TokenKind.NAME, name[0].casefold(), position + 1)
    if operator := _OPERATOR.match(text, position):
        return Token(TokenKind.OPERATOR, operator[0], position + 1)
    raise CalculationError(f"cannot read {text[position]!r} at position {position + 1}")


def _follow_parentheses(token: Token, before: list[Token], in_function: list[bool]) -> None:
    if token.text == "(":
        in_function.append(bool(before) and before[-1].kind is TokenKind.NAME)
    elif token.text == ")" and in_function:
        in_function.pop()
