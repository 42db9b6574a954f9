"""A chip's TIFF gives its pixels or a Rejected, whatever its bytes are."""

import contextlib
import io
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sarship.archives import open_source
from sarship.readers import UNREADABLE, Rejected
from sarship.readers.tiff import MAX_SIDE, _check, _strips, read_pixels
from tests.official import chip_pixels, tiff_bytes

PIXELS = chip_pixels(1, side=40)


def read(tmp_path, data: bytes, dtype: str = "uint8", bands: int = 1) -> np.ndarray | Rejected:
    (tmp_path / "chip.tif").write_bytes(data)
    with open_source(tmp_path, max_bytes=0) as source:
        return read_pixels(source, source.entries()[0], dtype, bands)


@pytest.mark.parametrize("compression", [None, "packbits"])
@pytest.mark.parametrize("rows_per_strip", [7, 40])
def test_official_forms_are_decoded(tmp_path, compression, rows_per_strip):
    found = read(tmp_path, tiff_bytes(PIXELS, compression, rowsperstrip=rows_per_strip))
    np.testing.assert_array_equal(found, PIXELS)
    assert found.dtype == np.uint8


def test_two_bands_of_floats_are_decoded(tmp_path):
    pixels = np.arange(40, dtype=np.float32).reshape(4, 5, 2)
    data = tiff_bytes(pixels, None, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read(tmp_path, data, "float32", bands=2), pixels)


BAD = {
    "no bytes": b"",
    "text": b"not a TIFF at all",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "floats": tiff_bytes(PIXELS.astype(np.float32), None),
    "16 bit": tiff_bytes(PIXELS.astype(np.uint16)),
    "colour": tiff_bytes(np.stack([PIXELS] * 3, axis=-1), photometric="rgb"),
    "white is zero": tiff_bytes(PIXELS, photometric="miniswhite"),
    "two bands": tiff_bytes(np.stack([PIXELS] * 2, axis=-1), photometric="minisblack", planarconfig="contig"),
    "deflate": tiff_bytes(PIXELS, "deflate"),
    "header only": tiff_bytes(PIXELS)[:8],
    "too wide": tiff_bytes(np.zeros((2, MAX_SIDE + 1), np.uint8)),
}


@pytest.mark.parametrize("what", BAD)
def test_what_no_official_chip_is_like_is_unreadable(tmp_path, what):
    found = read(tmp_path, BAD[what])
    assert isinstance(found, Rejected) and found.reason == UNREADABLE
    assert found.source.endswith("/chip.tif") and found.detail


def test_pixels_that_are_no_numbers_are_unreadable(tmp_path):
    pixels = np.ones((5, 5), np.float32)
    pixels[2, 2] = np.nan
    assert read(tmp_path, tiff_bytes(pixels, None), "float32").reason == UNREADABLE


def test_a_header_that_declares_gigabytes_allocates_none(tmp_path):
    data = tiff_bytes(PIXELS)
    width = struct.pack("<HHLL", 256, 4, 1, 40)  # tag 256, ImageWidth, one LONG: 40
    if width not in data:
        width = struct.pack("<HHLL", 256, 3, 1, 40)
    assert width in data
    found = read(tmp_path, data.replace(width, struct.pack("<HHLL", 256, 4, 1, 2**31)))
    assert found.reason == UNREADABLE and str(2**31) in found.detail


def test_a_strip_without_bytes_is_unreadable(tmp_path):
    data = tiff_bytes(PIXELS, rowsperstrip=7)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        counts = tiff.pages[0].tags["StripByteCounts"]
    size = {3: 2, 4: 4}[counts.dtype]  # SHORT or LONG
    damaged = data[: counts.valueoffset] + bytes(size) + data[counts.valueoffset + size :]
    with tifffile.TiffFile(io.BytesIO(damaged)) as tiff:
        assert (tiff.pages[0].asarray()[:7] == 0).all()  # what the library makes of it
    assert read(tmp_path, damaged).reason == UNREADABLE


def test_every_truncation_is_the_whole_chip_or_unreadable(tmp_path):
    for compression in (None, "packbits"):
        data = tiff_bytes(PIXELS, compression, rowsperstrip=7)
        for size in range(0, len(data), 7):
            found = read(tmp_path, data[:size])
            assert isinstance(found, Rejected) or np.array_equal(found, PIXELS)


@settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), compression=st.sampled_from([None, "packbits"]))
def test_flipped_bytes_give_pixels_or_a_rejection(tmp_path, data, compression):
    damaged = bytearray(tiff_bytes(PIXELS, compression, rowsperstrip=7))
    # Mostly the tags, which lie at the start and the end; pixels can't make the decoder fail.
    places = st.one_of(st.integers(0, 300), st.integers(len(damaged) - 200, len(damaged) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(places)] = data.draw(st.integers(0, 255))
    found = read(tmp_path, bytes(damaged))
    if isinstance(found, Rejected):
        assert found.reason == UNREADABLE
    else:
        assert found.ndim == 2 and found.dtype == np.uint8 and max(found.shape) <= MAX_SIDE


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data(), compression=st.sampled_from([None, "packbits"]), rows_per_strip=st.sampled_from([7, 40]))
def test_strips_are_what_tifffile_makes_of_them_or_left_to_it(data, compression, rows_per_strip):
    damaged = bytearray(tiff_bytes(PIXELS, compression, rowsperstrip=rows_per_strip))
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.ExitStack() as stack:
        try:
            page = stack.enter_context(tifffile.TiffFile(io.BytesIO(damaged))).pages[0]
            _check(page, len(damaged), "uint8", 1)
        except Exception:  # tifffile raises some twenty types on damaged files: it is unreadable either way
            return
        found = _strips(page, bytes(damaged))
        if found is not None:
            np.testing.assert_array_equal(found, page.asarray())


@pytest.mark.parametrize("compression", [None, "packbits"])
def test_official_forms_take_the_fast_way(compression):
    data = tiff_bytes(PIXELS, compression, rowsperstrip=7)
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(_strips(opened.pages[0], data), PIXELS)
