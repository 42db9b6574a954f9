"""Chip: fingerprints, and calibrated pixels to 8 bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.chip import SIGMA0_HIGH_DB, SIGMA0_LOW_DB, Chip, sigma0_to_uint8


def chip(pixels: np.ndarray) -> Chip:
    text = dict.fromkeys(
        [
            "name",
            "dataset",
            "category",
            "subcategory",
            "vessel",
            "scene",
            "sensor",
            "product",
            "polarization",
            "source",
        ],
        "",
    )
    numbers = dict.fromkeys(["row_spacing_m", "col_spacing_m", "length_m", "width_m"], 10.0)
    return Chip(pixels=pixels, **text, **numbers)


def test_fingerprint_is_of_shape_type_and_pixels():
    pixels = np.arange(12, dtype=np.uint8)
    prints = {
        chip(pixels.reshape(3, 4)).fingerprint(),
        chip(pixels.reshape(4, 3)).fingerprint(),
        chip(pixels.reshape(3, 4).astype(np.float32)).fingerprint(),
        chip(pixels[::-1].reshape(3, 4)).fingerprint(),
    }
    assert len(prints) == 4
    assert chip(pixels.reshape(3, 4)).fingerprint() == chip(pixels.copy().reshape(3, 4)).fingerprint()
    assert chip(np.asfortranarray(pixels.reshape(3, 4))).fingerprint() in prints, "memory order is not content"


@pytest.mark.parametrize(("decibel", "level"), [(-99, 0), (SIGMA0_LOW_DB, 0), (SIGMA0_HIGH_DB, 255), (60, 255)])
def test_the_documented_bounds(decibel, level):
    assert sigma0_to_uint8(np.array([[10 ** (decibel / 10)]]))[0, 0] == level


def test_no_backscatter_at_all_is_the_lowest_level():
    assert (sigma0_to_uint8(np.zeros((2, 2), np.float32)) == 0).all()


@given(st.lists(st.floats(1e-5, 1e4), min_size=2, max_size=20))
def test_order_is_kept_and_a_level_is_a_fifth_of_a_decibel(values):
    sigma0 = np.sort(np.array(values, np.float32))[None]
    levels = sigma0_to_uint8(sigma0).astype(float)
    assert (np.diff(levels) >= 0).all()
    inside = (levels > 0) & (levels < 255)
    decibel = SIGMA0_LOW_DB + levels / 255 * (SIGMA0_HIGH_DB - SIGMA0_LOW_DB)
    assert np.abs(decibel - 10 * np.log10(sigma0))[inside].max(initial=0) < 0.12
