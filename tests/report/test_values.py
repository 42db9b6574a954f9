"""Values as a report writes them."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.report.values import DASH, is_missing, number, short_number, sort_key


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, pd.NA, pd.NaT, np.float32("nan")])
def test_what_is_not_there_is_a_dash(value):
    assert is_missing(value)
    assert number(value, 2) == DASH
    assert short_number(value) == DASH


@pytest.mark.parametrize(
    ("value", "text"),
    [(71.2, "71.20"), (-3.456, "−3.46"), (-0.001, "0.00"), (7, "7.00"), (np.float32(0.5), "0.50")],
)
def test_numbers(value, text):
    assert number(value, 2) == text


def test_signed_numbers_have_a_sign_unless_they_are_shown_as_zero():
    shown = [number(value, 1, signed=True) for value in (1.25, -1.25, 0.04, -0.04, 0)]
    assert shown == ["+1.2", "−1.2", "0.0", "0.0", "0.0"]


def test_truth_values_are_neither_missing_nor_numbers():
    assert not is_missing(False)
    assert not is_missing(np.True_)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15))
def test_the_sort_key_has_all_digits(value):
    assert float(sort_key(value)) == value


@given(st.floats(-1e9, 1e9), st.integers(0, 6))
def test_what_is_shown_is_the_value_rounded(value, decimals):
    shown = float(number(value, decimals).replace("−", "-"))
    assert shown == pytest.approx(value, abs=0.5001 * 10**-decimals)
