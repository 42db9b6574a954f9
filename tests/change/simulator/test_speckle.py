"""Speckle has the looks and the resolution of IW GRDH, and the filter takes it away without moving the mean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.change.simulator.speckle import (
    LOOKS,
    blurred,
    equivalent_looks,
    lee_filter,
    speckle,
    speckle_noise,
)


def even_area(mean: float = 1.0, size: int = 400, seed: int = 0) -> np.ndarray:
    return np.float32(mean) * speckle(speckle_noise((size, size), np.random.default_rng(seed)))


def test_speckle_has_mean_one_and_the_looks_of_the_product():
    area = even_area()
    assert area.min() > 0
    assert area.mean() == pytest.approx(1, abs=0.01)
    assert equivalent_looks(area) == pytest.approx(LOOKS, rel=0.05)
    skewness = float(np.mean((area - 1) ** 3) / area.std() ** 3)
    assert skewness == pytest.approx(2 / np.sqrt(LOOKS), rel=0.1)  # of a gamma variate; 0 of a normal one


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbours_are_alike_as_twenty_metres_of_resolution_make_them(axis):
    area = even_area()
    apart = [np.corrcoef(np.delete(area, np.s_[:lag], axis).ravel(), np.delete(area, np.s_[area.shape[axis] - lag :], axis).ravel())[0, 1] for lag in (1, 2, 3)]  # fmt: skip  # noqa: E501
    assert apart[0] == pytest.approx(0.49, abs=0.04)
    assert np.abs(apart[1:]).max() < 0.03


def test_images_and_bands_have_speckle_of_their_own():
    rng = np.random.default_rng(0)
    first, second = (speckle(speckle_noise((300, 300), rng)) for _ in range(2))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


@pytest.mark.parametrize(("window", "looks"), [(3, 6), (5, 10), (7, 14)])
def test_lee_filter_keeps_the_mean_and_raises_the_looks(window, looks):
    area = even_area(0.07)
    filtered = lee_filter(area, window)
    assert filtered.mean() == pytest.approx(area.mean(), rel=0.02)
    assert equivalent_looks(filtered) > looks


@given(mean=st.floats(1e-3, 10), window=st.sampled_from([3, 5, 9]))
@settings(max_examples=15, deadline=None)
def test_lee_filter_does_not_care_for_units(mean, window):
    area = even_area(size=60)
    scaled = lee_filter(area * np.float32(mean), window)
    assert scaled == pytest.approx(lee_filter(area, window) * np.float32(mean), rel=1e-3)


def test_lee_filter_leaves_edges_and_points_where_they_are():
    step = np.ones((60, 60), np.float32)
    step[:, 30:] = 20
    step[15, 10] = 100
    filtered = lee_filter(step, 7)
    mean = np.ones((60, 60)) * step[:, :30].min()
    assert filtered[15, 10] > 60
    # Beside the edge the filter follows the pixel rather than the mean of both sides, 9.1 and 11.9.
    assert filtered[40, 29] < 4
    assert filtered[40, 30] > 15
    assert filtered[40, :20] == pytest.approx(mean[40, :20])


def test_a_window_of_one_filters_nothing():
    area = even_area(size=50)
    np.testing.assert_array_equal(lee_filter(area, 1), area)


def test_blurring_spreads_a_point_over_two_pixels_and_keeps_its_power():
    point = np.zeros((9, 9), np.float32)
    point[4, 4] = 16
    spread = blurred(point)
    assert spread.sum() == pytest.approx(16)
    assert spread[4, 3:6].tolist() == [2, 4, 2]
    assert (spread == spread.T).all()
