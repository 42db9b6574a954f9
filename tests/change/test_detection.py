"""AUC, ROC and SVC from counted pixels, against scikit-learn on the pixels themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sklearn.metrics import roc_auc_score

from sarship.change.detection import BIN_DB, BINS, PixelSample, ScoreCounts, draw_places, interval


def drawn(seed: int, shift: float, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    mask = generator.random((size, size)) < generator.uniform(0.05, 0.6)
    mask[0, :2] = True, False
    return generator.normal(0, 1.5, (2, size, size)) + shift * mask, mask


@given(some.lists(some.integers(0, 2**32), min_size=1, max_size=5, unique=True), some.floats(-4, 4))
@settings(max_examples=40)
def test_auc_is_that_of_scikit_learn_with_images_weighed_alike(seeds, shift):
    counts = ScoreCounts(2)
    lengths, labels, weights = [], [], []
    for index, seed in enumerate(seeds):
        difference, mask = drawn(seed, shift)
        counts.add(index % 2, difference, mask)
        lengths.append(np.linalg.norm(difference, axis=0).ravel())
        labels.append(mask.ravel())
        weights.append(np.where(mask, 1.0, mask.sum() / (~mask).sum()).ravel())
    binned = np.floor(np.concatenate(lengths) / BIN_DB)
    wanted = roc_auc_score(np.concatenate(labels), binned, sample_weight=np.concatenate(weights))
    assert np.isclose(counts.auc()[0], wanted, atol=1e-9)
    exact = roc_auc_score(np.concatenate(labels), np.concatenate(lengths), sample_weight=np.concatenate(weights))
    assert np.isclose(counts.auc()[0], exact, atol=2e-3)  # what bins cost


def test_the_area_under_the_drawn_curve_is_the_auc():
    counts = ScoreCounts(1)
    counts.add(0, *drawn(3, -2.5))
    false, true = counts.roc()
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert len(false) == BINS + 1
    assert np.isclose(np.trapezoid(true, false), counts.auc()[0])


def test_a_difference_that_says_everything_and_one_that_says_nothing():
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    told, untold = ScoreCounts(1), ScoreCounts(1)
    told.add(0, np.stack([mask * -2.5, mask * -2.5]), mask)
    untold.add(0, np.zeros((2, 8, 8)), mask)
    assert told.auc()[0] == 1
    assert untold.auc()[0] == 0.5


def test_pixels_beyond_the_last_bin_count():
    counts = ScoreCounts(1)
    mask = np.array([True, False])
    counts.add_pixels(0, np.array([[500.0, 0.0], [0.0, 0.0]]), mask)
    assert counts.auc()[0] == 1


def test_draws_of_places_weigh_the_places():
    counts = ScoreCounts(2)
    counts.add(0, *drawn(1, -4))
    counts.add(1, *drawn(2, 0))
    alone = [ScoreCounts(1), ScoreCounts(1)]
    alone[0].add(0, *drawn(1, -4))
    alone[1].add(0, *drawn(2, 0))
    auc = counts.auc(np.array([[2.0, 0.0], [0.0, 1.0]]))
    assert np.allclose(auc, [one.auc()[0] for one in alone])
    draws = draw_places(2, 1)
    assert (draws.sum(axis=1) == 2).all()
    low, high = interval(counts.auc(draws))
    assert low == pytest.approx(min(auc))
    assert high == pytest.approx(max(auc))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Places differ in how well change shows; intervals from 30 of them should hold the mean over many places."""
    generator = np.random.default_rng(8)

    def place(counts: ScoreCounts, index: int) -> None:
        shift = generator.normal(-2.5, 0.5)
        mask = np.zeros((12, 12), bool)
        mask[:4] = True
        counts.add(index, generator.normal(0, 1.5, (2, 12, 12)) + shift * mask, mask)

    many = ScoreCounts(1)
    for _ in range(3000):
        place(many, 0)
    truth, held = many.auc()[0], 0
    for trial in range(60):
        counts = ScoreCounts(30)
        for index in range(30):
            place(counts, index)
        low, high = interval(counts.auc(draw_places(30, trial)[:400]))
        held += low <= truth <= high
    assert 50 <= held <= 60  # 95 % of 60 is 57


def test_the_svc_uses_the_sign_and_is_tested_on_other_places():
    pixels = PixelSample()
    for index in range(6):
        difference, mask = drawn(index, -3.0)
        pixels.add(index % 3, difference, mask, np.random.default_rng(index))
    right, count = pixels.correct(3)
    assert (count % 2 == 0).all()  # as many changed as unchanged
    assert 0.85 < right.sum() / count.sum() < 0.99

    # What is told of one place only must not help there: labels that a place alone has are learnt from others.
    turned = PixelSample()
    for index in range(3):
        mask = np.zeros((16, 16), bool)
        mask[:8] = True
        shift = 3.0 if index == 0 else -3.0
        turned.add(index, shift * mask + np.zeros((2, 16, 16)), mask, np.random.default_rng(index))
    right, count = turned.correct(3)
    assert right[0] / count[0] <= 0.5
