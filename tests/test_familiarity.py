"""Chips unlike the training data: distances by hand, a threshold that keeps its promise, and kinds that are told."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.stats import betabinom
from torch import nn

from models import build
from sarship.device import Device
from sarship.familiarity import (
    BEYOND,
    NEIGHBOURS,
    REFERENCE_CHIPS,
    WIDEST,
    Familiarity,
    fit_familiarity,
    unit_vectors,
)
from sarship.features import FeatureStore
from sarship.training import LabelledChips, Recipe, fit

CPU = Device("cpu", torch.float32)


class Pixels(nn.Module):
    """A network whose features are the chip's pixels."""

    is_constant_backbone = False

    def pooled_features(self, chips: torch.Tensor) -> torch.Tensor:
        return chips.flatten(1)


def some_pixels(chips: int, seed: int, side: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (chips, side, side), np.uint8)


def fitted(train: int, val: int, seed: int = 0) -> Familiarity:
    return fit_familiarity(Pixels(), some_pixels(train, 2 * seed), some_pixels(val, 2 * seed + 1), CPU, seed)


def features_of(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).flatten(1).float()


# -- distances


@pytest.mark.parametrize("references", [3, 40])
def test_a_distance_is_the_mean_over_the_nearest_by_hand(references):
    rng = np.random.default_rng(0)
    kept, new = rng.normal(size=(references, 6)), rng.normal(size=(9, 6))
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    cosines = new @ kept.T / np.linalg.norm(new, axis=1, keepdims=True)
    by_hand = np.sort(1 - cosines, axis=1)[:, :NEIGHBOURS].mean(axis=1)
    found = Familiarity(torch.from_numpy(kept).half(), float(np.median(by_hand)) + 0.002, "val", 10)
    distances = found.distances(torch.from_numpy(new).float())
    assert distances == pytest.approx(by_hand, abs=1e-3)
    assert found.is_unlike(distances).sum() == 4
    assert set(np.flatnonzero(found.is_unlike(distances))) == set(np.argsort(by_hand)[-4:])


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_distances_lie_between_the_same_and_the_opposite_whatever_the_brightness(seed, factor):
    features = torch.from_numpy(np.random.default_rng(seed).normal(size=(8, 5))).float()
    found = Familiarity(unit_vectors(features[:1]).half(), 0.0, "val", 1)
    distances = found.distances(features)
    assert (distances >= 0).all() and (distances <= 2 + 1e-5).all()
    assert distances[0] < 1e-5
    assert found.distances(-features[:1]) == pytest.approx(2, abs=1e-5)
    assert found.distances(factor * features) == pytest.approx(distances, abs=1e-5)


def test_what_a_pooling_leaves_of_an_extent_is_averaged():
    maps = torch.rand(3, 8, 4, 5)
    assert torch.allclose(unit_vectors(maps), unit_vectors(maps.mean((2, 3))))
    assert unit_vectors(maps.bfloat16()).dtype == torch.float32
    assert torch.allclose(unit_vectors(maps).norm(dim=1), torch.ones(3))
    flattened = torch.rand(2, 49 * WIDEST)
    by_hand = unit_vectors(flattened.unflatten(1, (WIDEST, 49)).mean(2))
    assert torch.allclose(unit_vectors(flattened), by_hand, atol=1e-6)


# -- what is kept


def test_the_reference_is_a_sample_of_the_training_chips_and_of_no_others():
    train = some_pixels(REFERENCE_CHIPS + 100, 0)
    found = fit_familiarity(Pixels(), train, some_pixels(30, 1), CPU, seed=1)
    kept = {tuple(row) for row in found.reference.tolist()}
    every = {tuple(row) for row in unit_vectors(features_of(train)).half().tolist()}
    assert len(kept) == REFERENCE_CHIPS and kept < every
    again, other = (fit_familiarity(Pixels(), train, some_pixels(30, 1), CPU, seed) for seed in (1, 2))
    assert torch.equal(again.reference, found.reference) and again.threshold == found.threshold
    assert not torch.equal(other.reference, found.reference)


def test_without_val_chips_left_out_of_the_reference_set_the_threshold():
    train = some_pixels(50, 0)
    found = fit_familiarity(Pixels(), train, train[:0], CPU, seed=0)
    assert (found.split, found.chips, len(found.reference)) == ("train", 10, 40)
    assert "no val split" in found.caveat
    distances = found.distances(features_of(train))
    assert distances.max() == pytest.approx(found.threshold, abs=1e-6), "the farthest of ten that were left out"
    with pytest.raises(ValueError, match="no reference"):
        fit_familiarity(Pixels(), train[:1], train[:0], CPU, seed=0)


def test_it_lies_in_a_file_of_tensors_and_plain_values():
    found, file = fitted(600, 20), io.BytesIO()
    torch.save({"familiarity": found.to_state()}, file)
    file.seek(0)
    back = Familiarity.from_state(torch.load(file, weights_only=True)["familiarity"])
    assert torch.equal(back.reference, found.reference) and back.caveat == found.caveat
    new = features_of(some_pixels(20, 9))
    assert (back.is_unlike(back.distances(new)) == found.is_unlike(found.distances(new))).all()


@pytest.mark.parametrize("heads", ["fitted", "published"])
@pytest.mark.parametrize("model", ["CNN", "Fine_ResNet"])
def test_the_state_of_every_head_is_small(model, heads):
    """The published CNN's head has no pooling: 16,384 features of chips of 64 x 64 pixels."""
    network = build(model, 3, 64, heads)
    found = fit_familiarity(network, some_pixels(4, 0, 64), some_pixels(2, 1, 64), CPU, 0)
    width = found.reference.shape[1]
    assert found.reference.dtype == torch.float16 and 2 * REFERENCE_CHIPS * width <= 4 << 20


def test_a_constant_backbone_is_not_asked_again(tmp_path):
    torch.manual_seed(0)
    network = build("Fine_ResNet", 3, 32).eval()
    train, val = some_pixels(12, 0, 32), some_pixels(6, 1, 32)
    directly = fit_familiarity(network, train, val, CPU, 0)
    store = FeatureStore(tmp_path)
    for pixels in (train, val):
        store.features(network, pixels, (0,), CPU)
    network.features.register_forward_hook(lambda *_: pytest.fail("the backbone was asked"))
    kept = fit_familiarity(network, train, val, CPU, 0, store)
    assert torch.equal(kept.reference, directly.reference) and kept.threshold == pytest.approx(directly.threshold)


# -- the threshold's promise


@pytest.mark.parametrize("val", [9, 30, 100])
def test_the_share_of_like_chips_that_is_marked_is_what_is_said(val):
    """Over many samples of val chips; the usual interpolated percentile would mark 8 % after 30 val chips."""
    draws, new = 300, 40
    marked = []
    for seed in range(draws):
        found = fitted(60, val, seed)
        marked.append(found.is_unlike(found.distances(features_of(some_pixels(new, 10_000 + seed)))).mean())
    error = np.std(marked) / np.sqrt(draws)
    assert found.expected_share == (0.1 if val == 9 else BEYOND)
    assert f"{100 * found.expected_share:.0f} % of chips that are like" in found.caveat
    assert abs(np.mean(marked) - found.expected_share) < 4 * error < 0.025


# -- what is told apart: drawn chips of one sensor, and chips of other kinds

SIDE, CLASSES = 32, 3


def sea(generator: np.random.Generator, looks: int, blur_px: float) -> np.ndarray:
    """Amplitude of multi-look speckle, (SIDE, SIDE), as wide in correlation as the sensor's point-spread function."""
    intensity = generator.gamma(looks, 1 / looks, (SIDE, SIDE))
    return 25 * np.sqrt(ndimage.gaussian_filter(intensity, blur_px, mode="wrap"))


def ships(chips: int, seed: int, looks: int = 4, blur_px: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Chips with a bar whose length is the class, turned at random; and their labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, chips)
    pixels = np.empty((chips, SIDE, SIDE), np.uint8)
    for index, label in enumerate(labels):
        bar = np.zeros((SIDE, SIDE))
        half = 2 + 4 * label + generator.integers(0, 2)
        bar[SIDE // 2 - half : SIDE // 2 + half, SIDE // 2 - 1 : SIDE // 2 + 2] = generator.uniform(120, 200)
        turned = ndimage.rotate(bar, generator.uniform(0, 180), reshape=False, order=1)
        pixels[index] = np.clip(sea(generator, looks, blur_px) + turned, 0, 255)
    return pixels, labels.astype(np.int64)


def noise(chips: int) -> np.ndarray:
    return np.random.default_rng(50).integers(0, 256, (chips, SIDE, SIDE), np.uint8)


def gradients(chips: int) -> np.ndarray:
    """As smooth as a photograph of the sky: a ramp in some direction between two grey levels."""
    generator = np.random.default_rng(51)
    rows, cols = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angles = generator.uniform(0, 2 * np.pi, (chips, 1, 1))
    ramps = np.cos(angles) * rows + np.sin(angles) * cols
    return (128 + generator.uniform(20, 80, (chips, 1, 1)) * ramps).astype(np.uint8)


def another_sensor(chips: int) -> np.ndarray:
    """The same ships in single-look speckle without correlation."""
    return ships(chips, 52, looks=1, blur_px=0)[0]


@pytest.fixture(scope="module")
def trained():
    """A CNN trained on drawn ships, its familiarity, and the share of other chips of the same kind that it marks."""
    (train, train_labels), (val, val_labels) = ships(300, 1), ships(400, 2)
    torch.manual_seed(0)
    network = build("CNN", CLASSES, SIDE)
    chips, held_out = LabelledChips(train, train_labels, CLASSES), LabelledChips(val, val_labels, CLASSES)
    recipe = Recipe(4, 32, 1e-3, 0.0, "cross_entropy", "none", "strict", False, 1)
    progress = fit(network, chips, held_out, recipe, CPU, None)
    assert progress.history[-1]["val_macro_f1"] > 0.6, "it has learnt something"
    return network, fit_familiarity(network, train, val, CPU, 1)


def marked(trained, pixels: np.ndarray) -> int:
    network, found = trained
    with torch.no_grad():
        features = network.pooled_features(torch.from_numpy(pixels)[:, None].float() / 255)
    return int(found.is_unlike(found.distances(features)).sum())


def test_about_one_in_twenty_held_out_chips_is_marked(trained):
    """The threshold is the kth of n val chips, so the count among m others is beta-binomial, whatever the distances."""
    n, m = trained[1].chips, 1000
    k = round((1 - BEYOND) * (n + 1))
    low, high = betabinom(m, n + 1 - k, k).ppf([0.005, 0.995])
    assert high < 0.1 * m, "an interval that says something"
    assert low <= marked(trained, ships(m, 3)[0]) <= high


@pytest.mark.parametrize("kind", [noise, gradients, another_sensor])
def test_chips_of_another_kind_are_marked_far_more_often(trained, kind):
    assert marked(trained, kind(200)) > 0.5 * 200
