"""Images of any kind: the pixels that are in them."""

import io
import struct
from fractions import Fraction

import numpy as np
import pytest
import tifffile
from PIL import Image

from sarship.readers.images import (
    CMYK,
    COLOUR_TO_GREY,
    DEEP,
    GREY_REPEATED,
    OTHER_COLOURS,
    PALETTE,
    TRANSPARENT,
    decode_image,
    read_picture,
)
from tests.encoded import (
    DEEP_GREY,
    DEEP_RGB,
    GREY,
    RANDOM,
    RGB,
    SENTINEL,
    SMOOTH,
    by_pillow,
    by_tifffile,
    deep_png,
    error_of,
    png,
)


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 in 16-bit fixed point."""
    red, green, blue = (rgb[..., band].astype(np.int64) for band in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


# -- eight bits


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP", "GIF"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["colour", "grey"])
def test_what_keeps_all_pixels_is_read_exactly(kind, pixels):
    if kind == "GIF" and pixels is RGB:
        pixels = RGB // 128 * 255  # eight colours
    data = by_pillow(pixels, kind, **({"lossless": True} if kind == "WEBP" else {}))
    in_colour = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
    found = decode_image(data)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, in_colour)
    np.testing.assert_array_equal(decode_image(data, "grey"), pixels if pixels.ndim == 2 else luma(pixels))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}], ids=str)
def test_a_jpeg_is_read_nearly(options):
    found = decode_image(by_pillow(SMOOTH, "JPEG", quality=95, **options))
    assert np.abs(found.astype(int) - SMOOTH).mean() < 4


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "packbits", "tiff_adobe_deflate", "zstd"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P", "1"])
def test_a_compressed_tiff_is_read_as_pillow_reads_it(compression, mode):
    image = Image.fromarray(SMOOTH).convert(mode)
    if compression == "jpeg" and mode in ("RGBA", "P", "1"):
        pytest.skip("JPEG has no such pixels")
    data = by_pillow(image, "TIFF", compression=compression)
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(decode_image(data), np.asarray(opened.convert("RGB")))


def test_a_fax_is_read():
    bits = Image.fromarray(GREY > 100)
    for compression in ("group3", "group4", "tiff_ccitt"):
        np.testing.assert_array_equal(
            decode_image(by_pillow(bits, "TIFF", compression=compression), "grey"), np.asarray(bits) * 255
        )


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_bands_first_and_last(planar):
    stored = RGB if planar == "contig" else np.moveaxis(RGB, -1, 0)
    np.testing.assert_array_equal(decode_image(by_tifffile(stored, photometric="rgb", planarconfig=planar)), RGB)


def test_cmyk_is_converted():
    # Ink of cyan, magenta, yellow and black: none, all cyan, all black, half magenta.
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 128, 0, 0]]], np.uint8)
    data = by_pillow(Image.fromarray(inks, "CMYK"), "TIFF")
    expected = [[[255, 255, 255], [0, 255, 255], [0, 0, 0], [255, 127, 255]]]
    np.testing.assert_array_equal(decode_image(data), expected)
    assert read_picture(data).conversions == (CMYK,)
    jpeg = by_pillow(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode_image(jpeg).astype(int) - SMOOTH).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_is_looked_up(kind):
    image = Image.fromarray((GREY % 4).astype(np.uint8), "P")
    colours = [[10, 20, 30], [200, 0, 0], [0, 200, 0], [255, 255, 255]]
    image.putpalette([value for colour in colours for value in colour])
    data = by_pillow(image, kind)
    np.testing.assert_array_equal(decode_image(data), np.array(colours, np.uint8)[GREY % 4])
    assert read_picture(data).conversions == (PALETTE,)


def test_a_palette_with_transparent_colours_keeps_them():
    image = Image.fromarray((GREY % 4).astype(np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 255, 255, 255])
    for transparency in (0, bytes([0, 50, 255, 255])):
        found = decode_image(by_pillow(image, "PNG", transparency=transparency))
        np.testing.assert_array_equal(found[GREY % 4 == 0], [[10, 20, 30]] * (GREY % 4 == 0).sum())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_is_dropped_and_the_colour_beneath_stays(kind):
    rgba = np.dstack([RGB, np.zeros_like(GREY)])
    rgba[:10, :, 3] = 128
    data = by_pillow(rgba, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(decode_image(data), RGB)
    assert read_picture(data).conversions == (TRANSPARENT,)
    assert read_picture(data, "grey").conversions == (TRANSPARENT, COLOUR_TO_GREY)


def test_grey_with_transparency():
    data = by_pillow(Image.fromarray(np.dstack([GREY, GREY // 2]), "LA"), "PNG")
    np.testing.assert_array_equal(decode_image(data, "grey"), GREY)
    assert read_picture(data).conversions == (TRANSPARENT, GREY_REPEATED)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_becomes_black_and_white(kind):
    bits = GREY > 100
    data = by_pillow(Image.fromarray(bits), kind)
    found = decode_image(data, "grey")
    np.testing.assert_array_equal(found, bits * np.uint8(255))


def test_white_is_of_deep_images_only():
    bits = GREY > 100
    for data in (by_pillow(Image.fromarray(bits), "TIFF"), by_pillow(bits * np.uint8(255), "TIFF")):
        np.testing.assert_array_equal(decode_image(data, "grey", 2750), bits * np.uint8(255))


@pytest.mark.parametrize("depth, largest", [(2, 3), (4, 15)])
def test_few_bits_are_spread_over_all(depth, largest):
    per_byte = 8 // depth
    values = RANDOM.integers(0, largest + 1, (5, 4 * per_byte))
    packed = sum(values[:, i::per_byte] << (8 - depth * (i + 1)) for i in range(per_byte)).astype(np.uint8)
    data = png(depth, 0, *values.shape, b"".join(b"\0" + row.tobytes() for row in packed))
    np.testing.assert_array_equal(decode_image(data, "grey"), values * 255 // largest)


def test_ycbcr_and_lab_are_converted():
    for mode in ("YCbCr", "LAB"):
        data = by_pillow(Image.fromarray(SMOOTH).convert(mode), "TIFF")
        assert np.abs(decode_image(data).astype(int) - SMOOTH).mean() < 4
        assert read_picture(data).conversions == (OTHER_COLOURS,)


def test_the_orientation_in_exif_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a right angle
    assert decode_image(by_pillow(SMOOTH, "JPEG", exif=exif)).shape == SMOOTH.shape


def test_a_camera_preview_behind_a_jpeg_is_no_second_frame():
    first, second = Image.fromarray(SMOOTH), Image.fromarray(SMOOTH[:10, :10])
    data = by_pillow(first, "MPO", save_all=True, append_images=[second])
    assert decode_image(data).shape == SMOOTH.shape


# -- sixteen bits


def scaled(values: np.ndarray, white: int) -> np.ndarray:
    """Exact, in fractions; same shape."""
    exact = [min(255, round(Fraction(255 * int(value), white))) for value in values.flat]
    return np.array(exact, np.uint8).reshape(values.shape)


DEEP_GREYS = {
    "png": deep_png(DEEP_GREY),
    "tiff": by_tifffile(DEEP_GREY, photometric="minisblack"),
    "big-endian tiff": by_tifffile(DEEP_GREY.astype(">u2"), byteorder=">", photometric="minisblack"),
    "white is zero": by_tifffile(65535 - DEEP_GREY, photometric="miniswhite"),
    "by pillow": by_pillow(Image.fromarray(DEEP_GREY), "PNG"),
}


@pytest.mark.parametrize("form", DEEP_GREYS)
@pytest.mark.parametrize("white", [None, 65535, 2750, 40000])
def test_deep_grey_is_scaled_and_not_whitened(form, white):
    found = decode_image(DEEP_GREYS[form], "grey", white)
    np.testing.assert_array_equal(found, scaled(DEEP_GREY, white or 65535))
    assert read_picture(DEEP_GREYS[form], "grey").conversions == (DEEP,)
    assert read_picture(DEEP_GREYS[form]).conversions == (DEEP, GREY_REPEATED)


DEEP_RGBS = {
    "png": deep_png(DEEP_RGB),
    "png with alpha": deep_png(np.dstack([DEEP_RGB, np.zeros_like(DEEP_GREY)])),
    "bands last": by_tifffile(DEEP_RGB, photometric="rgb", planarconfig="contig", compression="lzw"),
    "bands first": by_tifffile(np.moveaxis(DEEP_RGB, -1, 0), photometric="rgb", planarconfig="separate"),
    "deflated": by_tifffile(DEEP_RGB, photometric="rgb", compression="deflate", predictor=True),
    "tiles": by_tifffile(DEEP_RGB, photometric="rgb", tile=(16, 16), compression="zstd"),
    "big-endian": by_tifffile(DEEP_RGB.astype(">u2"), byteorder=">", photometric="rgb"),
    "big": by_tifffile(DEEP_RGB, photometric="rgb", bigtiff=True),
}


@pytest.mark.parametrize("form", DEEP_RGBS)
def test_deep_colour_is_scaled_in_every_band(form):
    for white in (None, 2750):
        np.testing.assert_array_equal(decode_image(DEEP_RGBS[form], white=white), scaled(DEEP_RGB, white or 65535))
    assert DEEP in read_picture(DEEP_RGBS[form]).conversions
    np.testing.assert_array_equal(decode_image(DEEP_RGBS[form], "grey"), luma(scaled(DEEP_RGB, 65535)))


def test_deep_grey_with_transparency():
    data = deep_png(np.dstack([DEEP_GREY, DEEP_GREY]))
    np.testing.assert_array_equal(decode_image(data, "grey"), scaled(DEEP_GREY, 65535))
    assert read_picture(data, "grey").conversions == (DEEP, TRANSPARENT)


def test_white_of_twelve_bits_is_4095():
    values = np.array([[0, 4095, 1000, 2048, 1, 4094, 16, 255]] * 8)
    pairs = values.reshape(8, 4, 2)
    packed = np.stack(
        [pairs[..., 0] >> 4, (pairs[..., 0] & 15) << 4 | pairs[..., 1] >> 8, pairs[..., 1] & 255], axis=-1
    )
    data = by_tifffile(packed.reshape(8, 12).astype(np.uint8), photometric="minisblack", rowsperstrip=8)
    for code, old, new in ((256, 12, 8), (258, 8, 12)):  # ImageWidth, BitsPerSample
        place = max(data.find(struct.pack("<HHLL", code, 4, 1, old)), data.find(struct.pack("<HHLL", code, 3, 1, old)))
        data = data[: place + 8] + struct.pack("<L", new) + data[place + 12 :]
    np.testing.assert_array_equal(decode_image(data, "grey"), scaled(values, 4095))


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_named_bands_of_many(planar):
    stored = SENTINEL if planar == "contig" else np.moveaxis(SENTINEL, -1, 0)
    data = by_tifffile(stored, photometric="minisblack", planarconfig=planar)
    expected = scaled(SENTINEL[:, :, [3, 2, 1]], 2750)
    np.testing.assert_array_equal(decode_image(data, white=2750, rgb_bands=(3, 2, 1)), expected)
    np.testing.assert_array_equal(decode_image(data, "grey", 2750, (3, 2, 1)), luma(expected))
    assert "has 13 bands, and nothing says which are red, green and blue" in error_of(data)
    assert "none of them is band 13" in error_of(data, rgb_bands=(13, 2, 1))


def test_named_bands_of_eight_bits_and_of_images_that_have_three():
    four = np.dstack([RGB, GREY])
    data = by_tifffile(four, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(decode_image(data, rgb_bands=(2, 1, 3)), four[:, :, [2, 1, 3]])
    np.testing.assert_array_equal(decode_image(by_pillow(RGB, "TIFF"), rgb_bands=(3, 2, 1)), RGB)


# -- frames and pages


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused(kind):
    frames = [Image.fromarray(np.roll(SMOOTH, 9 * shift, axis=0)) for shift in range(3)]
    data = by_pillow(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    assert error_of(data) == "holds 3 frames"


def test_several_pages_are_refused():
    assert error_of(by_tifffile(np.stack([GREY] * 3), photometric="minisblack")) == "holds 3 pages"
    assert error_of(by_tifffile(np.stack([DEEP_GREY] * 3), photometric="minisblack")) == "holds 3 pages"


def test_smaller_copies_of_the_page_are_none():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(RGB, photometric="rgb", metadata=None)
        tiff.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(decode_image(file.getvalue()), RGB)
