"""The baselines learn what they can, keep to probabilities, and bear missing classes and missing val chips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from sarship import baselines
from sarship.baselines import fit_temperature, hog_features, hog_svm, largest_share, majority

SIDE = 64


def chips(labels: np.ndarray, seed: int, side: int = SIDE) -> np.ndarray:
    """Bright bars across (0), along (1) and along but twice as long (2), in Rayleigh speckle; the place varies."""
    rng = np.random.default_rng(seed)
    pixels = rng.rayleigh(20, (len(labels), side, side))
    for chip, label in zip(pixels, labels, strict=True):
        row, col = side // 2 + rng.integers(-3, 4, size=2)
        half = side // 4 if label == 2 else side // 8
        view = chip.T if label == 0 else chip
        view[row - half : row + half, col - 2 : col + 2] += 120
    return pixels.clip(0, 255).astype(np.uint8)


def labels(n: int, k: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(k, size=n)


def run(train_labels, val_labels, test_labels, k=3, seed=0) -> np.ndarray:
    train, val, test = (chips(these, index) for index, these in enumerate((train_labels, val_labels, test_labels)))
    return hog_svm(train, train_labels, val, val_labels, {"test": test}, k=k, seed=seed)["test"]


def test_majority_answers_the_training_frequencies():
    probabilities = majority(np.array([1, 1, 1, 0]), n_test=3, k=3)
    assert probabilities.tolist() == [[0.25, 0.75, 0]] * 3


def test_hog_svm_learns_shapes_in_speckle_and_is_repeatable():
    test_labels = labels(60, seed=2)
    probabilities = run(labels(90), labels(40, seed=1), test_labels)
    assert f1_score(test_labels, probabilities.argmax(axis=1), average="macro") > 0.8
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert (probabilities == run(labels(90), labels(40, seed=1), test_labels)).all()


def test_of_more_chips_than_it_learns_from_rare_classes_keep_theirs(monkeypatch, capsys):
    many = np.repeat([0, 1, 2], [60, 50, 10])
    test_labels = labels(60, seed=2)
    monkeypatch.setattr(baselines, "LARGEST_TRAINING", 70)
    probabilities = run(many, labels(40, seed=1), test_labels)
    assert "HOG_SVM: learns from 70 of 120 training chips, at most 30 of a class" in capsys.readouterr().err
    assert f1_score(test_labels, probabilities.argmax(axis=1), average="macro") > 0.8
    assert (probabilities == run(many, labels(40, seed=1), test_labels)).all()


@given(st.lists(st.integers(0, 40), min_size=2, max_size=6).filter(any), st.integers(6, 100))
def test_the_share_that_is_learnt_from_is_as_large_and_as_even_as_it_can_be(counts, largest):
    given_labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "LARGEST_TRAINING", largest)
        kept = largest_share(given_labels, len(counts), seed=0)
    left = np.bincount(given_labels[kept], minlength=len(counts))
    assert (np.diff(kept) > 0).all() and len(kept) <= largest
    cut = left < counts
    if cut.any():
        assert len(set(left[cut])) == 1 and left.max() == left[cut][0]
        assert len(kept) > largest - cut.sum()  # one more of each would be too many
    else:
        assert len(kept) == sum(counts)


def test_shuffled_labels_give_chance():
    truth = labels(90)
    train = chips(truth, 0)
    shuffled = np.random.default_rng(9).permutation(truth)
    val_labels, test_labels = labels(40, seed=1), labels(90, seed=2)
    val, test = chips(val_labels, 1), chips(test_labels, 2)
    answers = hog_svm(train, shuffled, val, val_labels, {"t": test}, k=3, seed=0)["t"].argmax(axis=1)
    assert f1_score(test_labels, answers, average="macro") < 0.55


def test_two_classes():
    test_labels = labels(40, k=2, seed=2)
    probabilities = run(labels(60, k=2), labels(30, k=2, seed=1), test_labels, k=2)
    assert probabilities.shape == (40, 2)
    assert (probabilities.argmax(axis=1) == test_labels).mean() > 0.9


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_class_without_training_chips_has_probability_0(missing):
    seen = np.array([label for label in range(3) if label != missing])
    probabilities = run(seen[labels(40, k=2)], labels(30, seed=1), labels(20, seed=2))
    assert (probabilities[:, missing] == 0).all()
    assert np.isfinite(probabilities).all() and probabilities.sum(axis=1) == pytest.approx(1)


def test_one_training_class_is_always_answered():
    assert run(np.full(5, 2), labels(6, seed=1), labels(4, seed=2)).tolist() == [[0, 0, 1]] * 4


def test_without_val_chips_it_still_answers():
    test_labels = labels(40, seed=2)
    probabilities = run(labels(90), np.empty(0, dtype=int), test_labels)
    assert (probabilities.argmax(axis=1) == test_labels).mean() > 0.7


def test_test_set_without_chips_gives_no_answers():
    assert run(labels(30), labels(20, seed=1), np.empty(0, dtype=int)).shape == (0, 3)


def test_it_learns_from_chips_and_their_mirror_images():
    pixels = chips(labels(5), 0)
    features, learnt = baselines._to_learn_from(pixels, labels(5), 3, seed=0)
    mirrored = [pixels, pixels[:, ::-1], pixels[:, :, ::-1], pixels[:, ::-1, ::-1]]
    assert (features == np.concatenate([hog_features(each) for each in mirrored])).all()
    assert learnt.tolist() == labels(5).tolist() * 4


@pytest.mark.parametrize("side", [64, 100, 128, 224])
def test_features_fit_every_chip_size(side):
    features = hog_features(chips(np.array([0, 1]), 0, side))
    assert features.shape == (2, 8100) and np.isfinite(features).all() and features.any()


def test_temperature_is_the_one_that_made_the_labels():
    rng = np.random.default_rng(0)
    decision = rng.normal(0, 3, (20_000, 3))
    gumbel = rng.gumbel(size=decision.shape)
    drawn = (decision / 2.5 + gumbel).argmax(axis=1)  # the Gumbel-max trick: labels drawn from softmax(decision / 2.5)
    assert fit_temperature(decision, drawn) == pytest.approx(2.5, rel=0.05)


def test_temperature_leaves_out_chips_of_impossible_classes():
    decision = np.array([[1.0, 0, -np.inf], [0, 1.0, -np.inf], [1.0, 0, -np.inf], [1.0, 0, -np.inf]])
    answers = np.array([0, 1, 1, 2])
    assert fit_temperature(decision, answers) == pytest.approx(fit_temperature(decision[:3], answers[:3]))
    assert fit_temperature(decision[3:], answers[3:]) == 1
