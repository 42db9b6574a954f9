"""Difference images: what they must not depend on, and what they must show."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.change.pairs.ratios import DIFFERENCES, MEAN_WINDOW, log_ratio, mean_ratio, offset, signed_log_ratio
from tests.change.pairs.speckled import as_pair, planted

NAMES = list(DIFFERENCES)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 50), factor=st.floats(1e-4, 1e4))
def test_a_factor_common_to_both_images_changes_nothing(name, seed, factor):
    before, after, _ = planted(seed, 32)
    plain = DIFFERENCES[name](as_pair(before, after))
    scaled = DIFFERENCES[name](as_pair(factor * before, factor * after))
    np.testing.assert_allclose(scaled, plain, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 50))
def test_the_order_of_the_dates_changes_nothing(name, seed):
    before, after, _ = planted(seed, 32)
    np.testing.assert_allclose(
        DIFFERENCES[name](as_pair(before, after)), DIFFERENCES[name](as_pair(after, before)), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
def test_change_stands_out_and_equal_images_show_none(name):
    before, after, changed = planted()
    levels = DIFFERENCES[name](as_pair(before, after))
    assert levels[changed].mean() > 2 * levels[~changed].mean()
    assert DIFFERENCES[name](as_pair(before, before)).max() == 0


@pytest.mark.parametrize("name", NAMES)
def test_zeros_give_numbers(name):
    before, after, _ = planted()
    before[:8], after[4:12] = 0, 0
    assert np.isfinite(DIFFERENCES[name](as_pair(before, after))).all()


def test_log_ratio_by_hand():
    pair = as_pair(np.full((4, 4), 10.0), np.full((4, 4), 30.0))
    assert offset(pair) == pytest.approx(0.2)
    assert log_ratio(pair)[0, 0] == pytest.approx(np.log(30.2 / 10.2))
    assert signed_log_ratio(pair)[0, 0] > 0


def test_mean_ratio_by_hand():
    before, after, _ = planted()
    row, col, half = 20, 30, MEAN_WINDOW // 2
    m, n = (each[row - half : row + half + 1, col - half : col + half + 1].mean() for each in (before, after))
    levels = mean_ratio(as_pair(before, after))
    assert levels[row, col] == pytest.approx(1 - min(m / n, n / m))
    assert levels.min() >= 0 and levels.max() <= 1
