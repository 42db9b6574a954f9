"""Bytes that are no image, or a bad one: in a few words why there are no pixels, and never a crash."""

import io
import random
import struct
import warnings

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sarship.readers import images
from sarship.readers.images import MAX_PIXELS, ImageError, decode_image, place_of
from tests.encoded import DEEP_GREY, DEEP_RGB, ENCODED, GREY, RGB, by_pillow, by_tifffile, error_of, png

REFUSED = {
    "no bytes": (b"", "holds no bytes"),
    "text": (b"not an image at all", "is no image of a kind that is read"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image of a kind that is read"),
    "floats": (by_tifffile(GREY.astype(np.float32)), "has pixels of floats"),
    "half floats": (by_tifffile(GREY.astype(np.float16)), "has pixels of floats"),
    "with a sign": (by_tifffile(GREY.astype(np.int16)), "neither 8 nor 16 bits without a sign"),
    "32 bits": (by_tifffile(GREY.astype(np.uint32)), "neither 8 nor 16 bits without a sign"),
    "deep CMYK": (
        by_tifffile(np.dstack([DEEP_RGB, DEEP_GREY]), photometric="separated", planarconfig="contig"),
        "has 4 inks of 16 bits, not CMYK of 8",
    ),
    "two bands": (
        by_tifffile(np.dstack([GREY, GREY]), photometric="minisblack", planarconfig="contig"),
        "has 2 bands, and nothing says which",
    ),
    "four bands": (
        by_tifffile(np.dstack([RGB, GREY]), photometric="minisblack", planarconfig="contig"),
        "has 4 bands, and nothing says which",
    ),
    "a volume": (by_tifffile(np.stack([GREY] * 16), volumetric=True, tile=(16, 16, 16)), "has pixels of shape"),
    "another compression": (by_tifffile(RGB, photometric="rgb", compression="jpeg2000"), "is a TIFF of a kind that"),
    "a PNG of which little is left": (by_pillow(RGB, "PNG")[:20], "is truncated"),
    "a GIF of which little is left": (by_pillow(GREY, "GIF")[:200], "is truncated or damaged"),
    "tiff without a page": (b"II*\0\0\0\0\0", "is"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_image_is_said(what):
    data, expected = REFUSED[what]
    assert error_of(data).startswith(expected) or expected in error_of(data)


@pytest.mark.parametrize("form", ENCODED)
def test_half_an_image_is_refused(form):
    decode_image(ENCODED[form], rgb_bands=(3, 2, 1))
    half = ENCODED[form][: len(ENCODED[form]) // 2]
    text = error_of(half, rgb_bands=(3, 2, 1))
    assert "is truncated" in text or "is damaged" in text


@pytest.mark.parametrize("form", ["jpeg", "png", "tiff", "gif", "bmp", "deep tiff"])
def test_a_cut_image_is_called_truncated(form):
    assert error_of(ENCODED[form][: len(ENCODED[form]) * 3 // 4]) == "is truncated"


def huge_tiff(kind: str) -> bytes:
    data = by_tifffile(GREY if kind == "8" else DEEP_GREY, photometric="minisblack")
    for code, old in ((256, 31), (257, 20)):
        place = max(data.find(struct.pack("<HHLL", code, 4, 1, old)), data.find(struct.pack("<HHLL", code, 3, 1, old)))
        data = data[:place] + struct.pack("<HHLL", code, 4, 1, 60_000) + data[place + 12 :]
    return data


def huge_bmp() -> bytes:
    data = bytearray(by_pillow(GREY, "BMP"))
    struct.pack_into("<ll", data, 18, 60_000, 60_000)
    return bytes(data)


def huge_gif() -> bytes:
    data = bytearray(by_pillow(GREY, "GIF"))
    struct.pack_into("<HH", data, 6, 60_000, 60_000)
    return bytes(data)


def huge_jpeg() -> bytes:
    data = bytearray(by_pillow(GREY, "JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 60_000, 60_000)
    return bytes(data)


HUGE = {
    "jpeg": huge_jpeg(),
    "png": png(8, 2, 60_000, 60_000),
    "png that pillow only warns of": png(8, 2, 10_000, 10_000),
    "deep png": png(16, 2, 60_000, 60_000),
    "tiff": huge_tiff("8"),
    "deep tiff": huge_tiff("16"),
    "bmp": huge_bmp(),
    "gif": huge_gif(),
}


@pytest.mark.parametrize("form", HUGE)
def test_what_is_too_large_is_refused_before_it_is_decoded(form, monkeypatch):
    def decoded(*_, **__):
        raise AssertionError("was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    monkeypatch.setattr(imagecodecs, "png_decode", decoded)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", decoded)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f"{MAX_PIXELS:,}" in error_of(HUGE[form])


def test_the_largest_image_is_read(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 20 * 31)
    for form in ("png", "tiff", "deep tiff", "deep png"):
        decode_image(ENCODED[form])
    monkeypatch.setattr(images, "MAX_PIXELS", 20 * 31 - 1)
    for form in ("png", "tiff", "deep tiff", "deep png"):
        assert "20 x 31 pixels" in error_of(ENCODED[form])


def test_too_many_bands_are_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 16 * 17 * 13 // 3)
    assert "has 13 bands of 16 x 17 pixels, which are too many" in error_of(ENCODED["sentinel"], rgb_bands=(3, 2, 1))


def test_a_strip_without_bytes_is_refused():
    data = ENCODED["deep tiff"]
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        counts = tiff.pages[0].tags["StripByteCounts"]
    size = {3: 2, 4: 4}[counts.dtype]
    damaged = data[: counts.valueoffset] + bytes(size) + data[counts.valueoffset + size :]
    assert error_of(damaged) == "is truncated"


# -- any bytes


def check_any(data: bytes) -> None:
    """Pixels or ImageError, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bands in ("rgb", "grey"):
            try:
                found = decode_image(data, bands, rgb_bands=(3, 2, 1))
            except ImageError as error:
                assert str(error) and "\n" not in str(error)
            else:
                assert found.dtype == np.uint8 and found.ndim == (3 if bands == "rgb" else 2)
                assert found.shape[2:] in ((), (3,)) and found.size
        place_of(data)


any_bytes = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_bytes
@given(start=st.sampled_from([data[:12] for data in ENCODED.values()] + [b""]), data=st.binary(max_size=200))
def test_random_bytes(start, data):
    check_any(start + data)


@any_bytes
@given(form=st.sampled_from(sorted(ENCODED)), share=st.floats(0, 1))
def test_cut_bytes(form, share):
    check_any(ENCODED[form][: int(share * len(ENCODED[form]))])


@pytest.mark.parametrize("form", ENCODED)
def test_flipped_bytes(form, capfd):
    rng = random.Random(form)
    whole = ENCODED[form]
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            # Mostly headers, which lie at the start and, in a TIFF, at the end.
            some = min(250, len(whole))
            place = rng.choice([rng.randrange(len(whole)), rng.randrange(some), len(whole) - 1 - rng.randrange(some)])
            damaged[place] = rng.randrange(256)
        check_any(bytes(damaged))
    if form != "jpeg in tiff":  # libtiff speaks up
        assert capfd.readouterr() == ("", "")  # the libraries keep to themselves what they find wrong
