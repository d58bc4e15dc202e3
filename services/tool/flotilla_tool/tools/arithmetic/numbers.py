"""Numbers that stay exact as long as they can, and never grow beyond a bound."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from fractions import Fraction

MOST_BITS = 4096
"""Of numerator and denominator each; beyond it a number is rounded to 34 digits."""

# Exponents beyond ±1000 overflow at once, so that no fraction made of a Decimal exceeds the bound by much.
_ROUNDING = Context(prec=34, Emin=-1000, Emax=1000, traps=[InvalidOperation, DivisionByZero, Overflow])


class CalculationError(ValueError):
    """The expression has no value, or none that can be computed within bounds; the message is for the model."""


@dataclass(frozen=True, slots=True)
class Number:
    """A rational number, and whether it is the exact value or a rounded one."""

    value: Fraction
    exact: bool = True

    def __add__(self, other: Number) -> Number:
        return bounded(self.value + other.value, exact=self.exact and other.exact)

    def __sub__(self, other: Number) -> Number:
        return bounded(self.value - other.value, exact=self.exact and other.exact)

    def __mul__(self, other: Number) -> Number:
        return bounded(self.value * other.value, exact=self.exact and other.exact)

    def __truediv__(self, other: Number) -> Number:
        _refuse_zero(other)
        return bounded(self.value / other.value, exact=self.exact and other.exact)

    def __floordiv__(self, other: Number) -> Number:
        _refuse_zero(other)
        return bounded(Fraction(self.value // other.value), exact=self.exact and other.exact)

    def __mod__(self, other: Number) -> Number:
        _refuse_zero(other)
        return bounded(self.value % other.value, exact=self.exact and other.exact)

    def __neg__(self) -> Number:
        return Number(-self.value, self.exact)

    def __pow__(self, other: Number) -> Number:
        base, exponent = self.value, other.value
        if base == 0 and exponent < 0:
            raise CalculationError("division by zero")
        if exponent.denominator == 1 and abs(exponent.numerator) * _bits(base) <= MOST_BITS:
            return Number(Fraction(base**exponent.numerator), self.exact and other.exact)
        if base < 0 and exponent.denominator != 1:
            raise CalculationError("a negative number has no real power with a fractional exponent")
        return from_decimal(rounded("power", to_decimal(base), to_decimal(exponent)))


def bounded(value: Fraction, *, exact: bool = True) -> Number:
    """Returns the value as it is, or rounded when it has grown too large. Raises CalculationError."""
    if _bits(value) <= MOST_BITS:
        return Number(value, exact)
    return from_decimal(to_decimal(value))


def to_decimal(value: Fraction) -> Decimal:
    """Returns a fraction rounded to 34 digits. Raises CalculationError."""
    return rounded("divide", Decimal(value.numerator), Decimal(value.denominator))


def from_decimal(value: Decimal) -> Number:
    """Returns a rounded number."""
    return Number(Fraction(value), exact=False)


def rounded(operation: str, *operands: Decimal) -> Decimal:
    """Applies one of Decimal's operations to 34 digits. Raises CalculationError where it has no value."""
    try:
        result: Decimal = getattr(_ROUNDING, operation)(*operands)
    except Overflow:
        raise CalculationError("the result is too large") from None
    except (InvalidOperation, DivisionByZero):
        raise CalculationError(f"{operation} has no value here") from None
    return result


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _refuse_zero(divisor: Number) -> None:
    if divisor.value == 0:
        raise CalculationError("division by zero")
