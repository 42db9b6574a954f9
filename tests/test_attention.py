"""The ship mask finds ships, and only ships; the shares are what can be counted by hand."""

import io
import zipfile

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.attention import attention_on_ship, is_constant, sea_threshold, ship_mask


def sea(seed: int, side: int = 128, sigma: float = 15) -> np.ndarray:
    """Single-look amplitude: Rayleigh."""
    return np.random.default_rng(seed).rayleigh(sigma, (side, side)).clip(0, 255).astype(np.uint8)


def with_ship(chip: np.ndarray, rows: slice, cols: slice) -> np.ndarray:
    chip = chip.copy()
    chip[rows, cols] = 200
    return chip


@given(
    seed=st.integers(0, 1000),
    half_length=st.integers(4, 40),
    half_width=st.integers(2, 6),
    shift=st.integers(-8, 8),
    sigma=st.floats(2, 30),
)
@settings(max_examples=30, deadline=None)
def test_mask_covers_a_planted_ship_and_little_else(seed, half_length, half_width, shift, sigma):
    rows = slice(64 + shift - half_length, 64 + shift + half_length)
    cols = slice(64 - half_width, 64 + half_width)
    truth = with_ship(np.zeros((128, 128), np.uint8), rows, cols) > 0
    mask = ship_mask(with_ship(sea(seed, sigma=sigma), rows, cols))
    assert mask[truth].all()
    around = np.zeros_like(mask)  # the dilation of 2 px, twice over for sea spikes that touch the ship
    around[max(0, rows.start - 6) : rows.stop + 6, cols.start - 6 : cols.stop + 6] = True
    assert not mask[~around].any()


def test_second_ship_in_the_rim_is_not_taken_and_does_not_hide_the_first():
    chip = with_ship(with_ship(sea(0), slice(54, 74), slice(60, 68)), slice(0, 128), slice(118, 128))
    mask = ship_mask(chip)
    assert mask[54:74, 60:68].all() and not mask[:, 110:].any()


def test_scatterers_with_gaps_are_one_ship():
    chip = sea(1)
    for row in range(40, 90, 8):
        chip[row : row + 4, 62:66] = 200
    assert ship_mask(chip)[40:88, 62:66].all()


def test_side_lobes_are_no_ship():
    chip = with_ship(sea(2, sigma=3), slice(60, 68), slice(60, 68))
    chip[64, :] = np.maximum(chip[64, :], 40)  # 14 dB below the ship, and far above the sea
    assert sea_threshold(chip) < 40
    assert ship_mask(chip).sum() < 300


def test_open_sea_has_a_ship_in_at_most_one_chip_of_a_hundred():
    found = sum(ship_mask(sea(seed)).any() for seed in range(200))
    assert found <= 2


@pytest.mark.parametrize("level", [0, 7, 255])
def test_flat_chip_has_no_ship(level):
    assert not ship_mask(np.full((64, 64), level, dtype=np.uint8)).any()


def test_every_real_ship_is_found(real_data):
    """Official chips, whole: 4 of FUSAR-Ship and all VV chips of three scenes."""
    chips = [tifffile.imread(path) for path in sorted(real_data.glob("fusar/*/*.tiff"))]
    for archive in sorted(real_data.glob("opensarship/*GRDH*.zip")):
        with zipfile.ZipFile(archive) as scene:
            names = [name for name in scene.namelist() if "Patch_Uint8/" in name and name.endswith(".tif")]
            names = [name for name in names if "_vh" not in name]
            chips += [tifffile.imread(io.BytesIO(scene.read(name))) for name in names]
    shares = np.array([ship_mask(chip).mean() for chip in chips])
    assert len(shares) > 100
    assert (shares > 0).all()
    assert (shares < 0.25).mean() > 0.97  # more is a quay


def test_shares_by_hand():
    cam = np.array([[0, 0, 0], [0, 0.5, 1], [0, 0.5, 0]])
    mask = np.array([[0, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)
    shares = attention_on_ship(cam, mask)
    assert shares == pytest.approx(
        {"energy_on_ship": 0.75, "peak_on_ship": 1, "uniform_energy": 2 / 9, "uniform_peak": 2 / 9}
    )
    assert attention_on_ship(cam, ~mask)["peak_on_ship"] == 0


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_shares_of_ship_and_of_the_rest_add_up_to_one(seed):
    rng = np.random.default_rng(seed)
    cam, mask = rng.random((16, 16)).astype(np.float32), rng.random((16, 16)) < 0.3
    on, off = attention_on_ship(cam, mask), attention_on_ship(cam, ~mask)
    assert {key: on[key] + off[key] for key in on} == pytest.approx(dict.fromkeys(on, 1))


def test_a_nearly_uniform_map_has_the_energy_of_the_uniform_one():
    cam, mask = np.ones((64, 64)), np.zeros((64, 64), dtype=bool)
    cam[0, 0], mask[20:30, 20:40] = 0, True
    shares = attention_on_ship(cam, mask)
    assert shares["energy_on_ship"] == pytest.approx(shares["uniform_energy"], rel=1e-3)
    assert shares["peak_on_ship"] == pytest.approx(shares["uniform_peak"], rel=1e-3)


def test_no_ship_or_constant_map_gives_nan_and_not_zero():
    cam, mask = np.eye(4), np.eye(4, dtype=bool)
    for shares in (attention_on_ship(cam, mask & False), attention_on_ship(np.full((4, 4), 0.3), mask)):
        assert np.isnan(shares["energy_on_ship"]) and np.isnan(shares["peak_on_ship"])
    assert is_constant(np.zeros((4, 4))) and not is_constant(cam)
