"""Series of images as they lie on disk, and what is refused of them."""

import numpy as np
import pytest
from rasterio.transform import from_origin
from rasterio.windows import Window

from sarship.change.series import find_areas, read_area, refuse_overlaps
from sarship.command import UserError
from tests.change.small_series import acquisitions, cover_of, image_of, write_area, write_raster

SIZE = (48, 40)


@pytest.fixture
def area(tmp_path):
    return write_area(tmp_path / "place", *SIZE, count=3)


def first_image(area):
    return area / acquisitions(1)[0].file


def test_pixels_elevation_and_cover_come_as_they_were_written(area):
    read = read_area(area)
    told = read.acquisitions[0]
    whole = image_of(told, *SIZE)
    assert np.array_equal(read.image(told), whole)
    window = Window(3, 5, 20, 10)
    assert np.array_equal(read.image(told, window), whole[:, 5:15, 3:23])
    assert read.elevation(window)[0, 0] == 8
    assert np.array_equal(read.cover(), cover_of(*SIZE))
    assert not read.is_linear


def test_bands_are_known_by_their_descriptions(area):
    told = acquisitions(1)[0]
    write_raster(first_image(area), image_of(told, *SIZE)[::-1].copy(), ("VH", "VV"))
    assert np.array_equal(read_area(area).image(told), image_of(told, *SIZE))
    write_raster(first_image(area), image_of(told, *SIZE))  # without descriptions: VV, VH
    assert np.array_equal(read_area(area).image(told), image_of(told, *SIZE))


def test_no_data_by_value_and_infinite_pixels_are_nan(area):
    told = acquisitions(1)[0]
    values = image_of(told, *SIZE)
    values[0, 1, 2], values[1, 3, 4] = -9999, np.inf
    write_raster(first_image(area), values, ("VV", "VH"), nodata=-9999)
    image = read_area(area).image(told)
    assert np.isnan(image[0, 1, 2])
    assert np.isnan(image[1, 3, 4])
    assert np.isnan(image).sum() == 2


def test_linear_power_is_found_out_said_and_converted(area, capsys):
    for each in acquisitions(3):
        write_raster(area / each.file, 10 ** (image_of(each, *SIZE) / 10), ("VV", "VH"))
    read = read_area(area)
    assert "linear power, not decibels; they are converted" in capsys.readouterr().err
    told = read.acquisitions[1]
    assert np.allclose(read.image(told), image_of(told, *SIZE), atol=1e-4)
    assert read_area(area, "db").image(told).min() > 0  # the user insists


def test_a_series_of_which_one_image_is_linear_power_is_refused(area):
    told = acquisitions(1)[0]
    write_raster(first_image(area), 10 ** (image_of(told, *SIZE) / 10), ("VV", "VH"))
    with pytest.raises(UserError, match="holds linear power, others of the series decibels"):
        read_area(area)


def test_zero_power_is_no_data(area):
    for each in acquisitions(3):
        power = 10 ** (image_of(each, *SIZE) / 10)
        power[:, 0, 0] = 0
        write_raster(area / each.file, power, ("VV", "VH"))
    read = read_area(area, "linear")
    image = read.image(read.acquisitions[0])
    assert np.isnan(image[:, 0, 0]).all()
    assert np.isfinite(image).sum() == image.size - 2


@pytest.mark.parametrize(
    ("values", "changes", "said"),
    [
        (np.zeros((2, 40, 40), np.float32), {}, "has 40 x 40 pixels, elevation.tif 48 x 40"),
        (np.zeros((2, *SIZE), np.float32), {"crs": "EPSG:32635"}, "its projection is EPSG:32635"),
        (np.zeros((2, *SIZE), np.float32), {"transform": from_origin(400_500, 7_000_000, 10, 10)}, "lies elsewhere"),
        (np.zeros((2, *SIZE), np.float32), {"transform": from_origin(400_000, 7_000_000, 20, 20)}, "another size"),
        (np.zeros((1, *SIZE), np.float32), {}, "needs two bands, VV and VH; it has 1"),
        (np.zeros((3, *SIZE), np.float32), {}, "needs two bands, VV and VH; it has 3"),
    ],
)
def test_an_image_that_does_not_fit_is_named(area, values, changes, said):
    write_raster(first_image(area), values, **changes)
    with pytest.raises(UserError, match=f"{first_image(area).name}: .*{said}"):
        read_area(area)


def test_bands_of_other_polarizations_are_refused(area):
    write_raster(first_image(area), np.zeros((2, *SIZE), np.float32), ("HH", "HV"))
    with pytest.raises(UserError, match="needs two bands, VV and VH"):
        read_area(area)


def test_missing_damaged_foreign_and_far_files_are_refused(area, tmp_path):
    path = first_image(area)
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(UserError, match="there is no such file"):
        read_area(area)
    path.write_bytes(b"no tiff")
    with pytest.raises(UserError, match="is no GeoTIFF that can be read"):
        read_area(area)
    # GDAL opens this text as a raster that lies elsewhere, if it is let.
    path.write_text('<VRTDataset rasterXSize="40" rasterYSize="48"><VRTRasterBand/></VRTDataset>')
    with pytest.raises(UserError, match="is no GeoTIFF that can be read"):
        read_area(area)
    (tmp_path / "far.tif").write_bytes(whole)
    table = (area / "acquisitions.csv").read_text().replace(acquisitions(1)[0].file, "../far.tif")
    (area / "acquisitions.csv").write_text(table)
    with pytest.raises(UserError, match="lies outside of"):
        read_area(area)


def test_pixels_that_are_cut_off_are_one_line_too(area):
    told = acquisitions(1)[0]
    noise = np.random.default_rng(1).normal(-12, 3, (2, *SIZE)).astype(np.float32)
    write_raster(first_image(area), noise, ("VV", "VH"), compress="deflate")
    path = first_image(area)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=path.name):
        read_area(area).image(told)


def test_images_without_a_row_are_said(area, capsys):
    write_raster(area / "images" / "other.tif", image_of(acquisitions(1)[0], *SIZE), ("VV", "VH"))
    read_area(area)
    assert "1 images have no row in acquisitions.csv, the first is other.tif" in capsys.readouterr().err


def test_areas_are_found_and_those_that_overlap_are_refused(tmp_path):
    write_area(tmp_path / "a", *SIZE, count=2)
    write_area(tmp_path / "b", *SIZE, count=2, north=7_000_000 - 480)  # right below
    areas = [read_area(folder) for folder in find_areas([tmp_path])]
    assert [area.name for area in areas] == ["a", "b"]
    refuse_overlaps(areas)
    write_area(tmp_path / "c", *SIZE, count=2, north=7_000_000 - 300)
    with pytest.raises(UserError, match="overlaps"):
        refuse_overlaps([*areas, read_area(tmp_path / "c")])
    with pytest.raises(UserError, match=r"holds no acquisitions.csv"):
        find_areas([tmp_path / "a" / "images"])
    with pytest.raises(UserError, match="two areas have this name"):
        find_areas([tmp_path / "a", tmp_path / "a"])


def test_other_codes_of_land_cover(area):
    write_raster(area / "land_cover.tif", np.where(cover_of(*SIZE) == 1, 24, 12).astype(np.uint8)[None])
    cover = read_area(area, cover_values={"forest": [23, 24]}).cover()
    assert np.array_equal(cover == 1, cover_of(*SIZE) == 1)
    assert set(np.unique(cover)) == {0, 1}  # what no name was given is unknown
