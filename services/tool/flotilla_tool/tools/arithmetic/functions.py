"""The functions and constants that an expression may name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from flotilla_tool.tools.arithmetic.numbers import (
    CalculationError,
    Number,
    bounded,
    from_decimal,
    rounded,
    to_decimal,
)

_LARGEST_FACTORIAL = 400
_MOST_PLACES = 30
_MANY = 64


@dataclass(frozen=True, slots=True)
class Function:
    """A function with the number of arguments that it takes."""

    apply: Callable[..., Number]
    least: int
    most: int

    def call(self, name: str, arguments: Sequence[Number]) -> Number:
        """Returns the function's value. Raises CalculationError for a wrong number of arguments."""
        if not self.least <= len(arguments) <= self.most:
            wanted = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
            raise CalculationError(
                f"{name} takes {wanted} argument(s), not {len(arguments)}; in a function a comma separates arguments"
            )
        return self.apply(*arguments)


def square_root(number: Number) -> Number:
    """Returns the square root, exactly where it is rational."""
    if number.value < 0:
        raise CalculationError("a negative number has no real square root")
    root = Fraction(math.isqrt(number.value.numerator), math.isqrt(number.value.denominator))
    if root * root == number.value:
        return Number(root, number.exact)
    return from_decimal(rounded("sqrt", to_decimal(number.value)))


def round_half_away(number: Number, places: Number | None = None) -> Number:
    """Returns the number rounded to decimal places as people round: 2.5 to 3, -2.5 to -3."""
    digits = 0 if places is None else _integer(places, "the number of places")
    if abs(digits) > _MOST_PLACES:
        raise CalculationError(f"at most {_MOST_PLACES} places")
    scale = Fraction(10) ** digits
    nearest = math.floor(abs(number.value) * scale + Fraction(1, 2))
    return Number(Fraction(nearest if number.value >= 0 else -nearest) / scale, number.exact)


def factorial(number: Number) -> Number:
    """Returns n! of a small whole number."""
    n = _integer(number, "the argument of factorial")
    if not 0 <= n <= _LARGEST_FACTORIAL:
        raise CalculationError(f"factorial takes 0 to {_LARGEST_FACTORIAL}")
    return bounded(Fraction(math.factorial(n)))


def logarithm(number: Number, base: Number | None = None) -> Number:
    """Returns the logarithm to a base, 10 without one."""
    if number.value <= 0 or (base is not None and (base.value <= 0 or base.value == 1)):
        raise CalculationError("a logarithm needs positive numbers and a base other than 1")
    if base is None:
        return from_decimal(rounded("log10", to_decimal(number.value)))
    return natural_logarithm(number) / natural_logarithm(base)


def natural_logarithm(number: Number) -> Number:
    """Returns the logarithm to the base e."""
    if number.value <= 0:
        raise CalculationError("a logarithm needs a positive number")
    return from_decimal(rounded("ln", to_decimal(number.value)))


def exponential(number: Number) -> Number:
    """Returns e to the power of a number."""
    return from_decimal(rounded("exp", to_decimal(number.value)))


def _by_float(function: Callable[[float], float]) -> Callable[[Number], Number]:
    def apply(number: Number) -> Number:
        try:
            return Number(Fraction(function(float(number.value))), exact=False)
        except (OverflowError, ValueError):
            raise CalculationError("the number is too large for this function") from None

    return apply


def _integer(number: Number, what: str) -> int:
    if number.value.denominator != 1:
        raise CalculationError(f"{what} must be a whole number")
    return number.value.numerator


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function(lambda number: Number(abs(number.value), number.exact), 1, 1),
    "ceil": Function(lambda number: Number(Fraction(math.ceil(number.value)), number.exact), 1, 1),
    "cos": Function(_by_float(math.cos), 1, 1),
    "exp": Function(exponential, 1, 1),
    "factorial": Function(factorial, 1, 1),
    "floor": Function(lambda number: Number(Fraction(math.floor(number.value)), number.exact), 1, 1),
    "ln": Function(natural_logarithm, 1, 1),
    "log": Function(logarithm, 1, 2),
    "max": Function(lambda *numbers: max(numbers, key=lambda number: number.value), 1, _MANY),
    "min": Function(lambda *numbers: min(numbers, key=lambda number: number.value), 1, _MANY),
    "round": Function(round_half_away, 1, 2),
    "sin": Function(_by_float(math.sin), 1, 1),
    "sqrt": Function(square_root, 1, 1),
    "tan": Function(_by_float(math.tan), 1, 1),
}
CONSTANTS: Mapping[str, Number] = {
    "pi": from_decimal(Decimal("3.141592653589793238462643383279503")),
    "e": from_decimal(Decimal("2.718281828459045235360287471352662")),
}
