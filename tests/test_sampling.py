"""Samplers: how often each class and each chip is shown."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sarship.sampling import SAMPLERS, epoch_order

LABELS = st.lists(st.sampled_from([0, 1, 2, 4]), min_size=1, max_size=80)  # class 3 never has chips
SEEDS = st.integers(0, 2**32 - 1)
REBALANCING = [name for name in SAMPLERS if name != "none"]
POWERS = {"balanced": 0.0, "sqrt": 0.5}


def order(labels: list[int], sampler: str, seed: int = 0) -> list[int]:
    indices = epoch_order(torch.tensor(labels), sampler, torch.Generator().manual_seed(seed))
    assert indices.dtype == torch.int64
    return indices.tolist()


def shares(labels: list[int], sampler: str) -> dict[int, float]:
    """Places of each class in an epoch, not rounded."""
    weights = {label: count ** POWERS[sampler] for label, count in Counter(labels).items()}
    return {label: len(labels) * weight / sum(weights.values()) for label, weight in weights.items()}


@given(LABELS, SEEDS)
def test_none_shows_every_chip_once(labels, seed):
    assert sorted(order(labels, "none", seed)) == list(range(len(labels)))


@pytest.mark.parametrize("sampler", REBALANCING)
@given(LABELS, SEEDS)
def test_classes_get_their_share_to_rounding_and_chips_take_turns(sampler, labels, seed):
    shown = Counter(order(labels, sampler, seed))
    assert sum(shown.values()) == len(labels)
    for label, share in shares(labels, sampler).items():
        of_chips = [shown[chip] for chip, other in enumerate(labels) if other == label]
        assert math.floor(share + 1e-9) <= sum(of_chips) <= math.ceil(share - 1e-9)
        assert max(of_chips) - min(of_chips) <= 1
        assert sum(of_chips) >= 1


@pytest.mark.parametrize("sampler", REBALANCING)
@given(chips=st.integers(1, 20), classes=st.integers(1, 5), seed=SEEDS)
def test_classes_of_equal_size_are_shown_as_they_are(sampler, chips, classes, seed):
    assert sorted(order(list(range(classes)) * chips, sampler, seed)) == list(range(chips * classes))


@pytest.mark.parametrize("sampler", REBALANCING)
def test_rounding_favours_no_class(sampler):
    labels = [0] * 31 + [1] * 7 + [2] * 3
    epochs = 2000
    places = Counter(labels[chip] for seed in range(epochs) for chip in order(labels, sampler, seed))
    for label, share in shares(labels, sampler).items():
        # a share is rounded up or down, so it varies by at most 1/2 from epoch to epoch: this is 4 standard errors
        assert places[label] / epochs == pytest.approx(share, abs=4 * 0.5 / math.sqrt(epochs))


def test_the_chips_left_over_are_others_in_every_epoch():
    labels = [0] * 40 + [1] * 10
    extra = [Counter(order(labels, "sqrt", seed)) for seed in range(300)]
    often = [sum(shown[chip] for shown in extra) for chip in range(40, 50)]  # 50 / 3 places for ten chips
    assert min(often) > 300 * 1.5
    assert max(often) < 300 * 1.85


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_whole_epoch_is_shuffled(sampler):
    labels = [0] * 300 + [1] * 100
    shown = order(labels, sampler)
    halves = [Counter(labels[chip] for chip in half) for half in (shown[:200], shown[200:])]
    assert abs(halves[0][0] - halves[1][0]) < 50  # more than 5 standard deviations


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_generator_decides(sampler):
    labels = [0] * 30 + [1] * 10
    assert order(labels, sampler, 1) == order(labels, sampler, 1)
    assert order(labels, sampler, 1) != order(labels, sampler, 2)
