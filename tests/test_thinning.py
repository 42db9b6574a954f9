"""Thinned training sets: how many of each class stay, which, and that they are the same again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.thinning import tail_share, thinned

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [100, 100, 30]))
LISTS = st.lists(st.integers(0, 3), min_size=1, max_size=60)


def counts(labels: np.ndarray, kept: np.ndarray, classes: int = 3) -> list[int]:
    return np.bincount(labels[kept], minlength=classes).tolist()


def test_at_most_so_many_of_each_class():
    assert counts(LABELS, thinned(LABELS, 3, 1, train_chips=40)) == [40, 40, 30]


def test_classes_fall_geometrically_from_all_to_one_in_the_ratio():
    """By hand: of 100, 100 and 30 chips all, the share 100^-1/2 = 0.1, and 1/100."""
    assert counts(LABELS, thinned(LABELS, 3, 1, imbalance=100)) == [100, 10, 1], "of 30, 0.3: one is kept all the same"
    ten = np.repeat(np.arange(10), 5000)
    of_cui = [5000, 2997, 1797, 1077, 646, 387, 232, 139, 83, 50]  # long-tailed CIFAR-10 of ratio 100, rounded down
    assert counts(ten, thinned(ten, 10, 1, imbalance=100), 10) == pytest.approx(of_cui, abs=1)


def test_both_together_cut_first():
    assert counts(LABELS, thinned(LABELS, 3, 1, train_chips=50, imbalance=4)) == [50, 25, 8]


def test_every_class_of_one_is_whole():
    assert tail_share(0, 1, 10) == 1
    assert counts(np.zeros(7, int), thinned(np.zeros(7, int), 1, 1, imbalance=10), 1) == [7]


@given(LISTS, st.integers(0, 9), st.integers(1, 20), st.floats(1.1, 50))
def test_it_keeps_order_repeats_and_never_empties_a_class(labels, seed, train_chips, imbalance):
    labels = np.array(labels)
    kept = thinned(labels, 4, seed, train_chips, imbalance)
    assert (np.diff(kept) > 0).all()
    assert set(labels[kept]) == set(labels)
    assert np.array_equal(kept, thinned(labels, 4, seed, train_chips, imbalance))
    assert np.array_equal(thinned(labels, 4, seed), np.arange(len(labels)))


@given(LISTS, st.integers(0, 9), st.integers(1, 10), st.integers(1, 10))
def test_fewer_chips_are_among_the_more(labels, seed, fewer, more):
    labels = np.array(labels)
    few, many = (thinned(labels, 4, seed, count) for count in sorted((fewer, more)))
    assert set(few) <= set(many)


def test_another_seed_keeps_others_and_another_class_does_not_matter():
    first, second = (thinned(LABELS, 3, seed, train_chips=40) for seed in (1, 2))
    assert not np.array_equal(first, second)
    without = LABELS[LABELS != 2]
    of_class = [np.flatnonzero(np.isin(np.flatnonzero(labels == 0), kept)) for labels, kept in (
        (LABELS, first),
        (without, thinned(without, 3, 1, train_chips=40)),
    )]  # fmt: skip
    assert np.array_equal(*of_class)
