"""Nearest neighbours tell apart what is apart, nothing else, and not by chips of the same vessel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.interpretation.neighbours import neighbour_labels, told_apart, wilson


def cloud(chips: int, width: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(chips, width))


def test_what_is_apart_is_told_and_what_is_not_is_left_to_chance():
    names = ["a", "b"] * 150
    apart = cloud(300) + 20 * np.array([name == "b" for name in names])[:, None]
    assert told_apart(apart, names, [""] * 300)["accuracy"] == 1
    together = told_apart(cloud(300), names, [""] * 300)
    assert together["balanced_accuracy"] == pytest.approx(0.5, abs=0.08) and together["chance"] == 0.5
    assert together["low"] < together["accuracy"] < together["high"]


def test_unequal_groups_without_a_gap_are_told_as_little():
    """Of 270 and 30 chips, always to answer the larger set is 90 % right, and balanced no better than chance."""
    names = ["a"] * 270 + ["b"] * 30
    found = told_apart(cloud(300), names, [""] * 300)
    assert found["accuracy"] > 0.85 and found["balanced_accuracy"] == pytest.approx(0.5, abs=0.05)


def test_chips_of_one_vessel_are_no_neighbours():
    """Each vessel lies in a place of its own, which says nothing of its class; its other chips would give it away."""
    vessels = np.repeat(np.arange(60), 12)
    places = cloud(60)[vessels] + 1e-3 * cloud(720, seed=1)
    names = np.array(["a", "b"])[np.random.default_rng(2).integers(0, 2, 60)][vessels]
    by_vessel = told_apart(places, names, [f"v{vessel}" for vessel in vessels])
    by_chip = told_apart(places, names, [""] * 720)
    assert by_chip["accuracy"] > 0.9 and by_vessel["balanced_accuracy"] == pytest.approx(0.5, abs=0.15)


def test_one_label_tells_nothing_and_one_vessel_has_no_neighbours():
    assert told_apart(cloud(20), ["a"] * 20, [""] * 20) is None
    assert neighbour_labels(cloud(4), np.array([0, 1, 0, 1]), ["v"] * 4).tolist() == [-1] * 4
    assert np.isnan(told_apart(cloud(4), ["a", "b", "a", "b"], ["v"] * 4)["accuracy"])


@given(st.integers(0, 2**32 - 1), st.integers(5, 300), st.integers(1, 12))
def test_votes_are_those_of_a_plain_loop(seed, chips, k):
    generator = np.random.default_rng(seed)
    features, labels = generator.normal(size=(chips, 3)), generator.integers(0, 3, chips)
    answers = neighbour_labels(features, labels, [""] * chips, k)
    for chip in generator.integers(0, chips, 5):
        distances = np.linalg.norm(features - features[chip], axis=1)
        distances[chip] = np.inf
        nearest = labels[np.argsort(distances)[: min(k, chips - 1)]]
        most = np.bincount(nearest).max()
        tied = [label for label in nearest if (nearest == label).sum() == most]
        assert (nearest == answers[chip]).sum() == most
        assert k > 2 or answers[chip] == tied[0]  # of two, the nearer


@pytest.mark.parametrize(
    # Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17, 1998, table I.
    ("right", "chips", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_as_published(right, chips, low, high):
    assert wilson(right, chips) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_is_nothing():
    assert np.isnan(wilson(0, 0)).all()
