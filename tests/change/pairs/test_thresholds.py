"""Thresholds divide two well-separated classes; Kittler-Illingworth against its formula written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.change.pairs.thresholds import kittler, kmeans, minimum_error, otsu

METHODS = {"otsu": otsu, "kittler": kittler, "kmeans": lambda values: kmeans(values, 1)}


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), apart=st.floats(12, 30), share=st.floats(0.2, 0.8))
def test_two_gaussians_that_are_far_apart_are_divided(name, seed, apart, share):
    draws = np.random.default_rng(seed)
    upper = draws.random(3000) < share
    values = draws.normal(0, 1, 3000) + apart * upper
    threshold = METHODS[name](values)
    assert 2 < threshold < apart - 2
    assert ((values > threshold) == upper).mean() > 0.999  # all but what a bin of the histogram may hold of both


def test_kittler_knows_that_one_class_is_wider():
    """Where Otsu cuts into the wide class, the minimum error lies near the crossing of the two densities."""
    draws = np.random.default_rng(1)
    values = np.concatenate([draws.normal(0, 0.3, 20_000), draws.normal(5, 2.0, 20_000)])
    wide = np.arange(40_000) >= 20_000
    errors = {name: ((values > threshold(values)) != wide).mean() for name, threshold in METHODS.items()}
    assert errors["kittler"] < 0.5 * errors["otsu"]


def by_definition(shares, centres, last):
    """J of one threshold, as Kittler and Illingworth write it; inf where a class has no width."""
    total = 1.0
    for part in (slice(0, last + 1), slice(last + 1, None)):
        p = shares[part].sum()
        if p == 0:
            return np.inf
        mean = (shares[part] * centres[part]).sum() / p
        sigma = np.sqrt((shares[part] * (centres[part] - mean) ** 2).sum() / p)
        if sigma < 1e-3:  # of a bin; all in one bin
            return np.inf
        total += 2 * p * np.log(sigma) - 2 * p * np.log(p)
    return total


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=4, max_size=24).filter(any))
def test_kittler_against_its_formula(counts):
    shares, centres = np.array(counts) / sum(counts), np.arange(len(counts)) + 0.5
    expected = [by_definition(shares, centres, last) for last in range(len(counts) - 1)]
    np.testing.assert_allclose(minimum_error(shares, centres), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("values", [np.array([0.0, 0, 0, 1]), np.repeat([2.0, 5.0], 50)])
@pytest.mark.parametrize("name", METHODS)
def test_two_values_are_divided(name, values):
    above = values > METHODS[name](values)
    assert (above == (values == values.max())).all()
