"""Every form of image leads to the same intensities, and every bad pair to one line that names the file."""

import io

import numpy as np
import pytest
from PIL import Image

from sarship.change.pairs.reading import nearest_valid, read_pair, read_raster
from sarship.command import UserError
from tests.change.pairs.speckled import grey_levels, planted, write_png, write_tiff
from tests.encoded import by_tifffile

BEFORE, AFTER, CHANGED = planted()
GREYS = grey_levels(BEFORE), grey_levels(AFTER)


@pytest.fixture
def greys(tmp_path):
    return [write_png(tmp_path / f"{name}.png", each) for name, each in zip(("before", "after"), GREYS, strict=True)]


def error_of(*argv, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        read_pair(*argv, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
@pytest.mark.parametrize("is_rgb", [False, True])
def test_grey_images_are_the_same_in_every_form(tmp_path, suffix, is_rgb, capsys):
    pixels = np.repeat(GREYS[0][:, :, None], 3, axis=2) if is_rgb else GREYS[0]
    raster = read_raster(write_png(tmp_path / f"a.{suffix}", pixels))
    assert raster.is_8_bit and raster.valid.all()
    np.testing.assert_array_equal(raster.values, GREYS[0])
    assert "luma" not in capsys.readouterr().err


def test_jpeg_is_read(tmp_path):
    Image.fromarray(GREYS[0]).save(tmp_path / "a.jpg", quality=100)
    assert np.abs(read_raster(tmp_path / "a.jpg").values - GREYS[0]).max() <= 4


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colour_becomes_luma_and_that_is_said(tmp_path, suffix, capsys):
    pixels = np.dstack([GREYS[0], GREYS[1], GREYS[0]])
    values = read_raster(write_png(tmp_path / f"a.{suffix}", pixels)).values
    np.testing.assert_allclose(values, 0.413 * GREYS[0] + 0.587 * GREYS[1], rtol=1e-9)
    assert "a." + suffix + ": is in colour; its luma" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.float32, np.float64])
def test_tiffs_keep_their_values(tmp_path, kind):
    values = (100 * BEFORE).clip(0, 30_000).astype(kind)
    np.testing.assert_array_equal(read_raster(write_tiff(tmp_path / "a.tif", values)).values, values)


def test_deep_png_keeps_its_values(tmp_path):
    values = (100 * BEFORE).clip(0, 60_000).astype(np.uint16)
    raster = read_raster(write_png(tmp_path / "a.png", values))
    np.testing.assert_array_equal(raster.values, values)
    assert not raster.is_8_bit


# -- what is refused

BAD = {
    "missing": (lambda folder: folder / "none.png", "none.png: cannot be read (No such file"),
    "a folder": (lambda folder: folder, "cannot be read"),
    "text": (lambda folder: _bytes(folder, "a.bmp", b"not an image"), "a.bmp: is no image of a kind that is read"),
    "a cut PNG": (lambda folder: _bytes(folder, "a.png", _png()[:300]), "a.png: is truncated"),
    "a cut TIFF": (
        lambda folder: _bytes(folder, "a.tif", by_tifffile(GREYS[0])[:2000]),
        "a.tif: is damaged, or no TIFF",
    ),
    "two bands": (
        lambda folder: write_tiff(folder / "a.tif", np.stack(GREYS)),
        "a.tif: has 2 bands; give a file with the one",
    ),
    "complex": (
        lambda folder: write_tiff(folder / "a.tif", BEFORE.astype(np.complex64)),
        "a.tif: has pixels of complex64",
    ),
    "constant": (
        lambda folder: write_png(folder / "a.png", np.full_like(GREYS[0], 7)),
        "a.png: has the same value, 7, in every pixel",
    ),
    "other size": (
        lambda folder: write_png(folder / "a.png", GREYS[1][:, :-1]),
        "a.png: has 64 x 63 pixels, but",
    ),
    "no data": (
        lambda folder: write_tiff(folder / "a.tif", np.full(BEFORE.shape, np.nan)),
        "a.tif: holds no data in any pixel",
    ),
    "only what is tagged": (
        lambda folder: write_tiff(folder / "a.tif", np.full(BEFORE.shape, -9999.0), nodata=-9999),
        "a.tif: holds no data in any pixel",
    ),
    "the same image": (lambda folder: folder / "before.png", "before.png: has the same pixels as"),
}


def _bytes(folder, name, data):
    (folder / name).write_bytes(data)
    return folder / name


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(GREYS[0]).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("what", BAD)
def test_bad_images_are_refused_in_one_line(tmp_path, greys, what):
    make, expected = BAD[what]
    assert expected in error_of(greys[0], make(tmp_path))


def test_small_images_are_refused(tmp_path):
    paths = [write_png(tmp_path / f"{i}.png", each[:15]) for i, each in enumerate(GREYS)]
    assert "0.png: has 15 x 64 pixels; 16 each way are needed" in error_of(*paths)


def test_images_that_share_no_data_are_refused(tmp_path):
    first, second = BEFORE.copy(), AFTER.copy()
    first[:, :32], second[:, 32:] = np.nan, np.nan
    paths = [write_tiff(tmp_path / f"{i}.tif", each) for i, each in enumerate((first, second))]
    assert "has data nowhere where the other image has some" in error_of(*paths)


def test_geotiffs_must_lie_on_one_grid(tmp_path):
    first = write_tiff(tmp_path / "a.tif", BEFORE, epsg=32618)
    assert "b.tif: is in EPSG:32617, but" in error_of(first, write_tiff(tmp_path / "b.tif", AFTER, epsg=32617))
    moved = write_tiff(tmp_path / "c.tif", AFTER, epsg=32618, east_m=500_020)
    assert "c.tif: does not lie on the grid of" in error_of(first, moved)
    assert "off by 2.0 columns and 0.0 rows" in error_of(first, moved)
    read_pair(first, write_tiff(tmp_path / "d.tif", AFTER, epsg=32618, east_m=500_004))  # less than half a pixel
    read_pair(first, write_tiff(tmp_path / "e.tif", AFTER))  # says nothing of its place


# -- no data


def test_no_data_is_left_out_and_counted(tmp_path, capsys):
    first, second = BEFORE.copy(), AFTER.copy()
    first[0, :10], second[1, :6] = np.nan, -9999
    pair = read_pair(write_tiff(tmp_path / "a.tif", first), write_tiff(tmp_path / "b.tif", second, nodata=-9999))
    assert pair.valid.sum() == BEFORE.size - 16 and not pair.valid[0, 9] and not pair.valid[1, 5]
    assert f"16 of {BEFORE.size} pixels (0.4 %) hold no data" in capsys.readouterr().err
    assert np.isfinite(pair.before).all() and pair.after.min() >= 0


def test_a_value_can_be_named_as_no_data(tmp_path):
    first = GREYS[0].copy()
    first[:4] = 0
    path = write_png(tmp_path / "a.png", first)
    pair = read_pair(path, write_png(tmp_path / "b.png", GREYS[1]), nodata=0)
    assert not pair.valid[:4].any() and pair.valid[4:].all()


@pytest.mark.parametrize("stood_there", [0.0, 1e6, np.inf])
def test_what_stands_where_there_is_no_data_has_no_effect(tmp_path, stood_there):
    """The other image's pixels there are left out, too, whatever they hold."""
    first, second = BEFORE.copy(), AFTER.copy()
    first[10:20, 10:20] = np.nan
    pairs = []
    for index, value in enumerate((55.0, stood_there)):
        second[10:20, 10:20] = value
        paths = write_tiff(tmp_path / "a.tif", first), write_tiff(tmp_path / f"b{index}.tif", second)
        pairs.append(read_pair(*paths))
    for name in ("before", "after", "valid"):
        np.testing.assert_array_equal(getattr(pairs[0], name), getattr(pairs[1], name))


def test_the_nearest_value_fills_gaps():
    valid = np.array([[True, False, False, False, True]])
    np.testing.assert_array_equal(nearest_valid(np.array([[1.0, 9, 9, 9, 2]]), valid)[:, [0, 1, 3, 4]], [[1, 1, 2, 2]])


# -- decibels


def decibels(values):
    return (10 * np.log10(values / 1000)).astype(np.float64)


def test_decibels_are_found_out_and_become_linear(tmp_path, capsys):
    pair = read_pair(*(write_tiff(tmp_path / f"{i}.tif", decibels(each)) for i, each in enumerate((BEFORE, AFTER))))
    np.testing.assert_allclose(pair.before, BEFORE / 1000, rtol=1e-9)
    assert capsys.readouterr().err.count("is taken as dB and converted to linear intensities") == 2


def test_some_values_below_0_are_for_the_user_to_explain(tmp_path, capsys):
    noisy = BEFORE.copy()
    noisy[:2] = -0.5
    paths = write_tiff(tmp_path / "a.tif", noisy), write_tiff(tmp_path / "b.tif", AFTER)
    assert "a.tif: has values below 0 in 3.1 % of its pixels; say with --scale" in error_of(*paths)
    assert read_pair(*paths, scale="linear").before[0, 0] == 0
    assert "a.tif: 128 values below 0 are taken for 0" in capsys.readouterr().err
    assert read_pair(*paths, scale="db").before[0, 0] == pytest.approx(10**-0.05)


def test_scales_that_cannot_be_are_refused(tmp_path):
    db, linear = write_tiff(tmp_path / "db.tif", decibels(BEFORE)), write_tiff(tmp_path / "linear.tif", AFTER)
    assert "linear.tif: has no value below 0, but" in error_of(db, linear)
    assert "linear.tif: has no value below 0, but" in error_of(linear, db)
    assert "db.tif: has mostly values below 0, which no intensity has" in error_of(db, linear, scale="linear")
