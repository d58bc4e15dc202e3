"""The calculator: arithmetic without rounding errors."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from flotilla_tool.model import ToolArguments, ToolSpec
from flotilla_tool.tools.arithmetic.numbers import CalculationError, Number, to_decimal
from flotilla_tool.tools.arithmetic.parser import evaluate
from flotilla_tool.tools.tool import Invocation, ToolError

_SPEC = ToolSpec(
    name="calculator",
    description=(
        "Computes an arithmetic expression exactly: percentages, sums, products, powers, roots. "
        'Examples: "17 % of 2,349", "(12.5 + 3) * 4 ^ 2", "sqrt(2) / 3". x % means x/100; a comma groups thousands. '
        "Functions: abs, ceil, cos, exp, factorial, floor, ln, log, max, min, round, sin, sqrt, tan; constants: pi, e."
    ),
    parameters={
        "type": "object",
        "properties": {
            "expression": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1000,
                "description": "The expression to compute.",
            }
        },
        "required": ["expression"],
        "additionalProperties": False,
    },
    timeout_s=2,
    idempotent=True,
    read_only=True,
)
_MOST_DIGITS = 400
_MOST_PLACES = 50
_SIGNIFICANT_DIGITS = 15


class Calculator:
    """Computes expressions; the bounds of arithmetic/ keep one in the range of milliseconds."""

    spec = _SPEC

    async def invoke(self, arguments: ToolArguments, invocation: Invocation) -> str:
        """Returns the value as a decimal number, marked when it is rounded. Raises ToolError (invalid_expression)."""
        try:
            return number_text(evaluate(arguments["expression"]))
        except CalculationError as error:
            raise ToolError(f"Cannot compute this: {error}.", reason="invalid_expression") from None


def number_text(number: Number) -> str:
    """Returns all digits of an exact number that has an end, and otherwise 15 digits and "(rounded)"."""
    places = _decimal_places(number.value)
    if number.exact and places is not None and places <= _MOST_PLACES:
        text = _plain(number.value, places)
        if len(text) <= _MOST_DIGITS:
            return text
    return f"{_trimmed(to_decimal(number.value))} (rounded)"


def _decimal_places(value: Fraction) -> int | None:
    """Returns how many decimals write the value exactly, or None when no number of them does."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def _plain(value: Fraction, places: int) -> str:
    scaled = abs(value) * 10**places
    digits = str(scaled.numerator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def _trimmed(value: Decimal) -> str:
    if value.is_zero():
        return "0"
    text = f"{value:.{_SIGNIFICANT_DIGITS}g}"
    mantissa, exponent_sign, exponent = text.partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}{exponent_sign}{exponent}"
