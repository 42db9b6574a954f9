"""Masks in every form in which they go round lead to the same pixels; others are refused in one line."""

import numpy as np
import pytest
from PIL import Image

from sarship.change.pairs.masks import read_mask
from sarship.change.pairs.reading import Raster
from sarship.command import UserError
from tests.change.pairs.speckled import planted, write_png, write_tiff

BEFORE, _, CHANGED = planted()
LIKE = Raster("before.png", BEFORE, np.ones(BEFORE.shape, bool))
LEVELS = np.where(CHANGED, np.uint8(255), np.uint8(0))


def palette_image(numbers: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(numbers, "P")
    table = np.zeros((256, 3), np.uint8)
    for number, colour in colours.items():
        table[number] = colour
    image.putpalette(table.tobytes())
    return image


NUMBERS = CHANGED.astype(np.uint8)
WHITE, BLACK, RED = (255,) * 3, (0,) * 3, (128, 0, 0)
FORMS = {
    "0 and 255": Image.fromarray(LEVELS),
    "0 and 1": Image.fromarray(NUMBERS),
    "bilevel": Image.fromarray(CHANGED),
    "RGB": Image.fromarray(np.repeat(LEVELS[:, :, None], 3, axis=2)),
    "palette, 255 is white": palette_image(LEVELS, {255: WHITE}),
    "palette, 1 is white": palette_image(NUMBERS, {1: WHITE}),
    "palette, 0 is white": palette_image(1 - NUMBERS, {0: WHITE, 1: BLACK}),
    "palette, 1 is red": palette_image(NUMBERS, {1: RED}),
    "palette, 255 is dark grey": palette_image(LEVELS, {255: (90, 90, 90)}),
}


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(tmp_path, form, suffix):
    FORMS[form].save(tmp_path / f"mask.{suffix}")
    np.testing.assert_array_equal(read_mask(tmp_path / f"mask.{suffix}", LIKE), CHANGED)


def test_a_mask_of_floats_is_read(tmp_path):
    np.testing.assert_array_equal(read_mask(write_tiff(tmp_path / "m.tif", CHANGED.astype("f4")), LIKE), CHANGED)


def test_a_no_data_tag_of_0_does_not_take_the_unchanged_pixels(tmp_path):
    np.testing.assert_array_equal(read_mask(write_tiff(tmp_path / "m.tif", NUMBERS, nodata=0), LIKE), CHANGED)


def test_a_mask_may_show_no_change(tmp_path):
    assert not read_mask(write_png(tmp_path / "m.png", 0 * LEVELS), LIKE).any()


BAD = {
    "other values": (lambda: Image.fromarray(LEVELS // 2), "a mask is 0 and 1, or 0 and 255, but this has 0, 127"),
    "many values": (lambda: Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)), "0, 1, 2, 3, ..."),
    "colour": (lambda: Image.fromarray(np.dstack([LEVELS, 0 * LEVELS, LEVELS])), "is in colour; a mask is black"),
    "three palette colours": (
        lambda: palette_image(NUMBERS + 1, {1: RED, 2: (0, 128, 0)}),
        "a mask is 0 and 1, or 0 and 255, but this has 1, 2",
    ),
    "other size": (lambda: Image.fromarray(LEVELS[:-1]), "has 63 x 64 pixels, but before.png has 64 x 64"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_masks_are_refused_in_one_line(tmp_path, what):
    make, expected = BAD[what]
    make().save(tmp_path / "mask.png")
    with pytest.raises(UserError) as caught:
        read_mask(tmp_path / "mask.png", LIKE)
    assert expected in str(caught.value) and str(caught.value).startswith(str(tmp_path / "mask.png: "))


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [("m.bmp", b"nothing", "is no image of a kind"), ("m.tif", b"II*\0nothing", "is damaged, or no TIFF")],
)
def test_what_is_no_mask_is_refused(tmp_path, name, data, expected):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{name}: {expected}"):
        read_mask(tmp_path / name, LIKE)
    with pytest.raises(UserError, match="none: cannot be read"):
        read_mask(tmp_path / "none", LIKE)
