"""Evaluates an expression by recursive descent; nothing is ever handed to Python's own evaluator.

sum      = product {("+" | "-") product}
product  = signed {("*" | "/" | "//" | "mod" | "%" | "of" | "x") signed}
signed   = {"+" | "-"} power
power    = percent [("^" | "**") signed]
percent  = atom {"%"}            a "%" before an operand is the modulo of `product`
atom     = number | constant | function "(" sum {"," sum} ")" | "(" sum ")"
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from flotilla_tool.tools.arithmetic.functions import CONSTANTS, FUNCTIONS
from flotilla_tool.tools.arithmetic.lexer import Token, TokenKind, tokenize
from flotilla_tool.tools.arithmetic.numbers import CalculationError, Number, bounded

_DEEPEST = 50
_HUNDRED = Number(Fraction(100))
_PRODUCT: dict[str, Callable[[Number, Number], Number]] = {
    "*": lambda left, right: left * right,
    "x": lambda left, right: left * right,
    "of": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "//": lambda left, right: left // right,
    "%": lambda left, right: left % right,
    "mod": lambda left, right: left % right,
}


def evaluate(expression: str) -> Number:
    """Returns the value of an expression. Raises CalculationError with what is wrong and where."""
    parser = _Parser(tokenize(expression))
    value = parser.sum()
    parser.expect_end()
    return value


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._depth = 0

    def sum(self) -> Number:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CalculationError(f"parentheses are nested deeper than {_DEEPEST}")
        value = self._product()
        while operator := self._take("+", "-"):
            right = self._product()
            value = value + right if operator == "+" else value - right
        self._depth -= 1
        return value

    def expect_end(self) -> None:
        if self._token.kind is not TokenKind.END:
            raise self._unexpected()

    def _product(self) -> Number:
        value = self._signed()
        while operator := self._take(*_PRODUCT):
            value = _PRODUCT[operator](value, self._signed())
        return value

    def _signed(self) -> Number:
        is_negative = False
        while sign := self._take("+", "-"):
            is_negative ^= sign == "-"
        value = self._power()
        return -value if is_negative else value

    def _power(self) -> Number:
        base = self._percent()
        if not self._take("^", "**"):
            return base
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CalculationError(f"powers are nested deeper than {_DEEPEST}")
        value = base ** self._signed()
        self._depth -= 1
        return value

    def _percent(self) -> Number:
        value = self._atom()
        while self._token.text == "%" and not self._is_operand(self._tokens[self._index + 1]):
            self._index += 1
            value = value / _HUNDRED
        return value

    def _atom(self) -> Number:
        token = self._token
        if token.kind is TokenKind.NUMBER:
            self._index += 1
            return _literal(token.text)
        if token.kind is TokenKind.NAME:
            self._index += 1
            return self._named(token)
        if self._take("("):
            value = self.sum()
            self._expect(")")
            return value
        raise self._unexpected()

    def _named(self, token: Token) -> Number:
        if token.text in CONSTANTS:
            return CONSTANTS[token.text]
        function = FUNCTIONS.get(token.text)
        if function is None:
            known = ", ".join((*FUNCTIONS, *CONSTANTS))
            raise CalculationError(f"unknown name {token.text[:40]!r} at position {token.position}; known are {known}")
        self._expect("(")
        arguments = [self.sum()]
        while self._take(","):
            arguments.append(self.sum())
        self._expect(")")
        return function.call(token.text, arguments)

    @property
    def _token(self) -> Token:
        return self._tokens[self._index]

    def _take(self, *operators: str) -> str | None:
        token = self._token
        if token.kind is not TokenKind.OPERATOR or token.text not in operators:
            return None
        self._index += 1
        return token.text

    def _expect(self, operator: str) -> None:
        if not self._take(operator):
            raise self._unexpected(wanted=operator)

    def _is_operand(self, token: Token) -> bool:
        return token.kind in (TokenKind.NUMBER, TokenKind.NAME) or token.text == "("

    def _unexpected(self, *, wanted: str | None = None) -> CalculationError:
        token = self._token
        found = f"{token.text[:40]!r} at position {token.position}" if token.text else "the end"
        hint = " (decimals have a point, thousands groups have three digits)" if token.text == "," else ""
        return CalculationError(f"unexpected {found}{hint}" + (f", {wanted!r} is missing" if wanted else ""))


def _literal(text: str) -> Number:
    return bounded(Fraction(text.replace(",", "").replace("_", "")))
