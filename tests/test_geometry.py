"""Metric resampling and the continued sea."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from sarship.geometry import chip_size, continue_sea, is_smaller, metric_chip, resized_chip
from tests import plain_geometry


def sea_chip(side: int, seed: int) -> np.ndarray:
    """Four looks of correlated speckle, as in Sentinel-1 GRD, and a bright bar a quarter of the side long."""
    generator = np.random.default_rng(seed)
    looks = gaussian_filter(generator.standard_normal((8, side, side)), (0, 0.8, 0.8), mode="wrap")  # real, imaginary
    intensity = np.square(looks).sum(axis=0)
    amplitude = 12 * np.sqrt(intensity / np.median(intensity))
    middle, half = side // 2, max(side // 8, 1)
    amplitude[middle - half : middle + half + 1, middle - 1 : middle + 2] = 220
    return amplitude.clip(0, 255).astype(np.uint8)


@given(
    rows=st.integers(20, 140),
    row_m=st.floats(1, 14),
    col_m=st.floats(1, 14),
    spacing=st.sampled_from([4.0, 8.0]),
)
@settings(max_examples=25, deadline=None)
def test_every_chip_gets_the_same_shape(rows, row_m, col_m, spacing):
    chip = metric_chip(sea_chip(rows, 1), (row_m, col_m), 512, spacing, seed=1)
    assert chip.shape == (chip_size(512, spacing),) * 2
    assert chip.dtype == np.uint8


@given(length_m=st.floats(40, 300), pixel_m=st.sampled_from([(1.7, 1.124), (10.0, 10.0), (13.93, 3.82)]))
@settings(max_examples=25, deadline=None)
def test_a_ship_keeps_its_length_whatever_the_sensor(length_m, pixel_m):
    count = int(900 / pixel_m[0]), int(900 / pixel_m[1])
    row_m = (np.arange(count[0]) - (count[0] - 1) / 2) * pixel_m[0]
    col_m = (np.arange(count[1]) - (count[1] - 1) / 2) * pixel_m[1]
    ship = (np.abs(row_m)[:, None] <= length_m / 2) & (np.abs(col_m)[None, :] <= 30)
    chip = metric_chip(np.where(ship, 200, 5).astype(np.uint8), pixel_m, 512, 4, seed=1)
    measured_m = 4 * (chip[:, chip.shape[1] // 2] > 100).sum()
    assert measured_m == pytest.approx(length_m, abs=2 * max(pixel_m) + 4)


def test_averaging_is_of_intensity():
    checkerboard = np.indices((512, 512)).sum(axis=0) % 2 * 200
    chip = metric_chip(checkerboard.astype(np.uint8), (1.0, 1.0), 512, 8, seed=1)
    assert chip[8:-8, 8:-8] == pytest.approx(200 / np.sqrt(2), abs=1)


def test_continued_sea_only_where_the_chip_is_smaller():
    assert is_smaller((51, 60), (10.0, 10.0), 512)
    assert not is_smaller((52, 60), (10.0, 10.0), 512)
    chip = sea_chip(70, 3)
    assert (metric_chip(chip, (10, 10), 512, 4, seed=1) == metric_chip(chip, (10, 10), 512, 4, seed=2)).all()
    chip = sea_chip(30, 3)
    assert (metric_chip(chip, (10, 10), 512, 4, seed=1) == metric_chip(chip, (10, 10), 512, 4, seed=1)).all()
    assert (metric_chip(chip, (10, 10), 512, 4, seed=1) != metric_chip(chip, (10, 10), 512, 4, seed=2)).any()


@given(
    rows=st.integers(16, 60),
    cols=st.integers(16, 60),
    spacing=st.sampled_from([(10.0, 10.0), (13.93, 3.82), (9.7, 11.3)]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_small_chips_are_those_of_the_plain_way_to_the_pixel(rows, cols, spacing, seed):
    chip = np.ascontiguousarray(sea_chip(60, seed)[:rows, :cols])
    assert not np.ptp(
        metric_chip(chip, spacing, 512, 4, seed) - plain_geometry.metric_chip(chip, spacing, 512, 4, seed)
    )


@given(
    row_m=st.floats(1.70, 1.73),
    side=st.sampled_from([512, 480, 200]),
    target=st.sampled_from([4.0, 8.0, 2.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_large_chips_are_those_of_the_plain_way_to_the_pixel(row_m, side, target, seed):
    """Where linear algebra sums in another order, rounding may decide one pixel in millions, by one grey level."""
    chip, extent_m = (
        np.random.default_rng(seed).gamma(1.5, 4, (side, side)).clip(0, 255).astype(np.uint8),
        2 * side // 4 * 2,
    )
    with threadpool_limits(1):
        fast = metric_chip(chip, (row_m, 1.124), extent_m // 32 * 32, target, seed).astype(int)
        plain = plain_geometry.metric_chip(chip, (row_m, 1.124), extent_m // 32 * 32, target, seed)
    assert np.abs(fast - plain).max() <= 1
    assert (fast != plain).sum() <= 1


def border_and_centre(chip: np.ndarray, margin: int, seed: int) -> dict[str, tuple[float, float]]:
    """Statistics of the continued sea (first) and of the chip's own rim (second), and of the seam and the rim."""
    rows, cols = chip.shape
    continued = continue_sea(chip, margin, margin, np.random.default_rng(seed)).astype(float)
    inside = continued[margin : margin + rows, margin : margin + cols]
    assert (inside == chip).all(), "the chip itself must not change"
    outside = np.ones(continued.shape, bool)
    outside[margin : margin + rows, margin : margin + cols] = False
    width = rows // 6
    rim = np.concatenate([inside[:width].ravel(), inside[-width:].ravel()])
    jump = np.abs(np.diff(continued, axis=0))
    columns = slice(margin, margin + cols)
    seam = np.concatenate([jump[margin - 1, columns], jump[margin + rows - 1, columns]])
    own = np.concatenate([jump[margin : margin + width, columns], jump[margin + rows - 1 - width : -margin, columns]])
    beyond = jump[: margin - 1]
    return {
        "median": (np.median(continued[outside]), np.median(rim)),
        "spread": (continued[outside].std(), rim.std()),
        "roughness": (beyond.mean(), own.mean()),
        "seam": (seam.mean(), own.mean()),
    }


def test_border_and_centre_of_the_sea_agree():
    """Over 40 chips, so that the agreement is of the method and not of one draw."""
    pairs = [border_and_centre(sea_chip(33, seed), 12, seed) for seed in range(40)]
    for statistic, tolerance in {"median": 0.03, "spread": 0.08, "roughness": 0.15, "seam": 0.15}.items():
        outside, rim = np.mean([pair[statistic] for pair in pairs], axis=0)
        assert outside == pytest.approx(rim, rel=tolerance), statistic


def test_border_cannot_be_told_from_the_sea_by_a_classifier():
    """A linear classifier on the pixels round the seam cannot tell where a chip ended."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    def patches(side: int) -> np.ndarray:
        """|differences| across what is the seam of 33-pixel chips, in chips of `side` pixels continued to 57."""
        features = []
        for seed in range(150):
            margin = (57 - side) // 2
            whole = continue_sea(sea_chip(side, seed), margin, margin, np.random.default_rng(seed)).astype(float)
            jumps = np.abs(np.diff(whole[8:17, 14:43], axis=0)) / np.median(whole)
            features.append([*jumps.mean(axis=1), *jumps.std(axis=1)])
        return np.array(features)

    features = np.concatenate([patches(33), patches(45)])
    labels = np.repeat([0, 1], 150)
    accuracy = cross_val_score(LogisticRegression(max_iter=2000), features, labels, cv=5).mean()
    assert accuracy < 0.5 + 3 * 0.5 / np.sqrt(300), "three standard errors of a coin"


def test_ghosts_in_the_rim_are_not_drawn():
    chip = sea_chip(40, 5)
    chip[2:5, 2:5] = 255  # a second ship at the rim
    continued = continue_sea(chip, 10, 10, np.random.default_rng(1))
    assert (continued == 255).sum() == (chip == 255).sum()


@given(value=st.integers(0, 255), side=st.integers(13, 40))
@settings(max_examples=15, deadline=None)
def test_flat_chips_stay_flat(value, side):
    chip = np.full((side, side), value, np.uint8)
    assert (continue_sea(chip, 5, 9, np.random.default_rng(1)) == value).all()


def test_as_published_everything_becomes_one_size():
    assert resized_chip(sea_chip(33, 1), 224).shape == (224, 224)
    assert (resized_chip(np.full((40, 50), 7, np.uint8), 224) == 7).all()


def test_real_chips_have_no_visible_border(real_data):
    """The same agreement on the real OpenSARShip chips that are smaller than 512 m."""
    from sarship.archives import open_source
    from sarship.readers.opensarship import read_opensarship

    ratios = []
    with open_source(real_data / "opensarship", 10**9) as source:
        for chip in read_opensarship(source):
            side = chip.pixels.shape[0] if hasattr(chip, "pixels") else 0
            if 24 <= side < 50:
                pair = border_and_centre(chip.pixels, (56 - side) // 2, 1)
                ratios.append([outside / max(rim, 1e-9) for outside, rim in pair.values()])
    assert len(ratios) > 30
    median, spread, roughness, seam = np.median(ratios, axis=0)
    assert median == pytest.approx(1, abs=0.05)
    assert spread == pytest.approx(1, abs=0.15)
    assert roughness == pytest.approx(1, abs=0.15)
    assert seam == pytest.approx(1, abs=0.2)
