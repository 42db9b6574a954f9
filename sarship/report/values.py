"""How a report writes a value: fixed decimals, a true minus sign, a dash where there is none."""

import math
import numbers

import numpy as np
import pandas as pd

DASH, MINUS = "–", "−"


def is_missing(value) -> bool:
    """Whether there is nothing to show: None, NA, NaT, NaN or an infinite number."""
    if is_number(value):
        return not math.isfinite(value)
    return value is None or value is pd.NA or value is pd.NaT


def is_boolean(value) -> bool:
    """Whether it is a truth value, of Python or of numpy."""
    return isinstance(value, bool | np.bool_)


def is_whole(value) -> bool:
    """Whether it is of an integer type, so that decimals would say nothing."""
    return isinstance(value, numbers.Integral) and not is_boolean(value)


def is_number(value) -> bool:
    """Whether it is a real number, of Python or of numpy; booleans are not."""
    return isinstance(value, numbers.Real) and not is_boolean(value)


def number(value, decimals: int, signed: bool = False) -> str:
    """A number as text with so many decimals. signed: positive ones bear a plus."""
    if is_missing(value):
        return DASH
    text = f"{float(value):z.{decimals}f}"  # z: no minus before a zero
    is_positive = any(digit in text for digit in "123456789") and not text.startswith("-")
    return ("+" if signed and is_positive else "") + text.replace("-", MINUS)


def short_number(value: float) -> str:
    """A number with four significant digits and no needless zeros, for axes and descriptions."""
    return DASH if is_missing(value) else f"{value:.4g}".replace("-", MINUS)


def sort_key(value) -> str:
    """A number as scripts read it, with all its digits."""
    return str(int(value)) if is_whole(value) else repr(float(value))
