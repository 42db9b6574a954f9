"""Mean and standard deviation, summed in blocks: the same to the bit as of one array."""

import numpy as np
import pytest

from sarship import input_scaling as module
from sarship.input_scaling import input_scaling
from sarship.stored_chips import joined


def of_one_array(chips: np.ndarray) -> tuple[float, float]:
    scaled = chips.astype(np.float32) / 255
    return float(scaled.mean()), float(scaled.std())


@pytest.mark.parametrize("at_once", [128, 1000, 4096])
@pytest.mark.parametrize(("chips", "side"), [(1, 8), (3, 5), (100, 37), (41, 64)])
def test_grey_chips_in_blocks_have_the_bits_of_one_array(chips, side, at_once, monkeypatch):
    monkeypatch.setattr(module, "SUMMED_AT_ONCE", at_once)
    pixels = np.random.default_rng(chips).integers(0, 256, (chips, side, side), np.uint8)
    assert input_scaling(pixels) == of_one_array(pixels)
    in_two = joined([pixels[: chips // 3], pixels[chips // 3 :]])
    assert input_scaling(in_two) == of_one_array(pixels)


def test_more_pixels_than_float32_can_count():
    pixels = np.random.default_rng(0).integers(0, 256, (2001, 97, 97), np.uint8)
    assert pixels.size > 2**24 and int(np.float32(pixels.size)) != pixels.size
    assert input_scaling(pixels) == of_one_array(pixels)
