"""The series folder: its contract, the same bytes however it is made, the noise-free image, errors in one line."""

import csv
import hashlib
import json
import shutil
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sarship.change.conditions import COLUMNS, ORBITS, Acquisition, read_acquisitions
from sarship.change.cover import BOG, FIELD, FOREST, WATER
from sarship.change.simulator import clean_image, command, imaging, simulate_series
from sarship.change.simulator.areas import Options, area_land, area_weather, plan_shots
from sarship.change.simulator.speckle import equivalent_looks
from sarship.command import UserError

SMALL = {"areas": 2, "size": 96, "start": date(2020, 9, 1), "days": 36, "seed": 3}


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "series"
    simulate_series(folder, **SMALL, workers=2)
    return folder


@pytest.fixture(scope="module")
def area(series) -> Path:
    return series / "area_1"


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def image(area: Path, acquisition: Acquisition) -> np.ndarray:
    with rasterio.open(area / acquisition.file) as file:
        return file.read()


def band(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


# ---- the contract


def test_acquisitions_are_told_as_the_import_reads_them(series):
    for name in ("area_1", "area_2"):
        text = (series / name / "acquisitions.csv").read_bytes()
        assert b"\r" not in text
        rows = list(csv.DictReader(text.decode().splitlines()))
        assert tuple(rows[0]) == COLUMNS
        assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)
        found = read_acquisitions(series / name / "acquisitions.csv")
        assert {each.orbit for each in found} == set(ORBITS)
        assert {each.satellite for each in found} == {"S1A", "S1B"}
        assert len({each.incidence_angle_deg for each in found}) == 4
        there = {str(path.relative_to(series / name)) for path in (series / name / "images").iterdir()}
        assert {each.file for each in found} == there
        for each in found:
            assert each.file == f"images/{each.date:%Y-%m-%dT%H%M}_{each.orbit}_{each.satellite}.tif"


def test_images_are_two_bands_in_decibels_on_the_grid_of_the_maps(area):
    first = read_acquisitions(area / "acquisitions.csv")[0]
    with rasterio.open(area / first.file) as file, rasterio.open(area / "elevation.tif") as ground:
        assert file.descriptions == ("VV", "VH")
        assert file.dtypes == ("float32", "float32")
        assert np.isnan(file.nodata)
        assert file.crs.to_epsg() == 3067
        assert file.res == (10, 10)
        assert file.profile["tiled"]
        assert (file.profile["blockxsize"], file.profile["compress"]) == (256, "deflate")
        assert (file.transform, file.shape, file.crs) == (ground.transform, (96, 96), ground.crs)
        vv, vh = file.read()
    assert np.isfinite(vv).all()
    assert -40 < np.percentile(vv, 1) < np.percentile(vv, 99) < 5
    assert np.median(vv) > np.median(vh) + 4


def test_maps_are_elevation_and_known_covers(area):
    with rasterio.open(area / "elevation.tif") as elevation, rasterio.open(area / "land_cover.tif") as cover:
        assert (elevation.count, elevation.dtypes[0]) == (1, "float32")
        assert (cover.count, cover.dtypes[0]) == (1, "uint8")
        assert cover.transform == elevation.transform
        assert 50 < elevation.read(1).mean() < 450
        assert set(np.unique(cover.read(1))) <= {1, 2, 3, 4, 5}


def test_areas_are_different_places(series):
    corners = []
    for name in ("area_1", "area_2"):
        with rasterio.open(series / name / "elevation.tif") as file:
            corners.append(file.bounds)
    assert corners[0].right < corners[1].left
    assert (band(series / "area_1" / "land_cover.tif") != band(series / "area_2" / "land_cover.tif")).mean() > 0.1


def test_there_is_a_summary_and_nothing_else(series):
    assert {path.name for path in series.iterdir()} == {"area_1", "area_2", "summary.png"}
    assert (series / "summary.png").stat().st_size > 50_000
    said = json.loads((series / "area_2" / "simulation.json").read_text())
    assert (said["seed"], said["area"], said["size"], said["start"]) == (3, 1, 96, "2020-09-01")


# ---- the same bytes


def test_any_number_of_workers_gives_the_same_bytes(series, tmp_path):
    simulate_series(tmp_path / "series", **SMALL, workers=1)
    assert digests(tmp_path / "series") == digests(series)


def test_another_seed_is_another_land_and_another_weather(area, tmp_path):
    simulate_series(tmp_path / "series", **SMALL | {"areas": 1, "seed": 4, "days": 12})
    other = tmp_path / "series" / "area_1"
    assert np.abs(band(other / "elevation.tif") - band(area / "elevation.tif")).mean() > 5
    mine, theirs = (read_acquisitions(each / "acquisitions.csv")[0] for each in (area, other))
    assert mine.temperature_c != theirs.temperature_c


def test_areas_of_a_region_share_its_weather_and_other_regions_have_another():
    one, two = (Options(**SMALL | {"areas": 4}, missing=0.1, lee_window=5, regions=regions) for regions in (1, 2))
    rain = [area_weather(two, area).rain_mm for area in range(4)]
    together = np.corrcoef(rain)
    assert together[0, 2] > 0.7 and together[1, 3] > 0.7
    assert np.abs(together[[0, 0, 1, 2], [1, 3, 2, 3]]).max() < 0.4
    for area in (0, 2):  # the first region is the only one of a series without others
        np.testing.assert_array_equal(rain[area], area_weather(one, area).rain_mm)


def test_as_much_is_farmed_as_is_asked_for():
    shares = [np.mean(area_land(3, 0, 192, fields).cover == FIELD) for fields in (0.0, 0.1, 0.3)]
    assert shares[0] == 0
    assert shares[1:] == pytest.approx([0.1, 0.3], abs=0.04)


def test_missing_images_are_missing_at_random_and_change_no_other(tmp_path):
    found = {}
    for missing in (0.0, 0.5):
        simulate_series(tmp_path / "series", **SMALL | {"areas": 1, "size": 64}, missing=missing)
        found[missing] = digests(tmp_path / "series" / "area_1" / "images")
    assert len(found[0.0]) == 24
    assert 6 <= len(found[0.5]) <= 18
    assert found[0.5].items() < found[0.0].items()


@pytest.mark.parametrize("window", [1, 5])
def test_an_image_does_not_depend_on_the_strips_that_it_is_made_in(window, monkeypatch):
    options = Options(**SMALL, missing=0.0, lee_window=window)
    shot = plan_shots(options, 0)[0]
    images = []
    for rows in (1000, 64, 7):
        monkeypatch.setattr(imaging, "STRIP_ROWS", rows)
        images.append(imaging.shot_image(options, 0, shot))
    np.testing.assert_array_equal(images[1], images[0])
    np.testing.assert_array_equal(images[2], images[0])


# ---- the noise-free image


def test_images_are_the_clean_image_with_speckle(area):
    acquisition = read_acquisitions(area / "acquisitions.csv")[5]
    clean, seen = clean_image(area, acquisition), image(area, acquisition)
    assert clean.shape == seen.shape
    assert clean.dtype == np.float32
    forest = band(area / "land_cover.tif") == FOREST
    for index in range(2):
        ratio = 10 ** ((seen - clean)[index, forest] / 10)
        assert ratio.mean() == pytest.approx(1, abs=0.15)  # jitter, and wetness that no column tells
        assert 7 < equivalent_looks(ratio) < 60
    assert np.corrcoef(clean[0].ravel(), seen[0].ravel())[0, 1] > 0.6


def test_the_clean_image_has_no_hidden_noise_and_knows_nothing_of_the_file(area):
    first, second = read_acquisitions(area / "acquisitions.csv")[:2]
    once = clean_image(area, first)
    clean_image(area, second)
    np.testing.assert_array_equal(clean_image(area, replace(first, file="no/such.tif")), once)


def test_flipping_the_orbit_exchanges_slopes_and_leaves_the_mean(area):
    first = read_acquisitions(area / "acquisitions.csv")[0]
    one, other = (clean_image(area, replace(first, orbit=orbit, incidence_angle_deg=38.0))[0] for orbit in ORBITS)
    cover, ground = band(area / "land_cover.tif"), band(area / "elevation.tif")
    forest = cover == FOREST
    east_facing_fall = -np.gradient(ground, 10)[1]
    steep_east, steep_west = forest & (east_facing_fall > 0.1), forest & (east_facing_fall < -0.1)
    assert steep_east.sum() > 50
    assert steep_west.sum() > 50
    assert (one - other)[steep_west].mean() > 1
    assert (one - other)[steep_east].mean() < -1
    assert abs((one - other)[cover == FIELD].mean()) < 0.6


def test_flipping_the_rain_changes_open_ground_and_no_lake(area):
    dry = replace(read_acquisitions(area / "acquisitions.csv")[0], precipitation_mm=(0.0,) * 4, temperature_c=9.0)
    change = clean_image(area, replace(dry, precipitation_mm=(15.0, 5.0, 0.0, 0.0))) - clean_image(area, dry)
    cover = band(area / "land_cover.tif")
    inside = {code: np.zeros_like(cover, bool) for code in (FIELD, FOREST, WATER, BOG)}
    for code, where in inside.items():
        # Without the borders, which the sensor's resolution mixes.
        where[1:-1, 1:-1] = np.all([cover[r : r + 94, c : c + 94] == code for r in range(3) for c in range(3)], axis=0)
    assert np.median(change[0, inside[FIELD]]) > 1.2
    assert 0 < np.median(change[0, inside[FOREST]]) < 0.9
    assert change[:, inside[FIELD] | inside[FOREST] | inside[BOG]].min() > -0.02
    assert np.abs(change[:, inside[WATER]]).max() < 0.02


def test_an_area_that_does_not_say_how_it_was_made_has_no_clean_image(area, tmp_path):
    acquisition = read_acquisitions(area / "acquisitions.csv")[0]
    with pytest.raises(UserError, match=r"simulation\.json"):
        clean_image(tmp_path, acquisition)
    said = json.loads((area / "simulation.json").read_text())
    (tmp_path / "simulation.json").write_text(json.dumps(said | {"version": 99}))
    with pytest.raises(UserError, match="another version"):
        clean_image(tmp_path, acquisition)
    for broken in ("[]", "{", "{}", json.dumps(said | {"start": 5}), json.dumps(said | {"wind": 1})):
        (tmp_path / "simulation.json").write_text(broken)
        with pytest.raises(UserError, match="does not say"):
            clean_image(tmp_path, acquisition)


# ---- the command


def chosen(out: Path, *words: str) -> Namespace:
    parser = ArgumentParser(exit_on_error=False)
    command.add_options(parser)
    return Namespace(out=out, **vars(parser.parse_args(words)))


WORDS = ("--areas", "1", "--size", "64", "--days", "12", "--start", "2020-10-01", "--workers", "1")


def test_the_command_writes_below_out_and_does_it_once(tmp_path, capsys):
    command.run(chosen(tmp_path, *WORDS))
    assert "1 areas of 64 x 64" in capsys.readouterr().out
    before = digests(tmp_path)
    assert "change/series/area_1/acquisitions.csv" in before
    (tmp_path / "change" / "series" / "summary.png").write_bytes(b"mine")
    command.run(chosen(tmp_path, *WORDS))
    assert "is up to date" in capsys.readouterr().out
    assert (tmp_path / "change" / "series" / "summary.png").read_bytes() == b"mine"
    command.run(chosen(tmp_path, *WORDS, "--overwrite"))
    assert digests(tmp_path) == before


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seed", "9"),
        ("--missing", "0.2"),
        ("--lee-window", "7"),
        ("--days", "13"),
        ("--start", "2020-10-02"),
        ("--regions", "2"),
        ("--fields", "0.3"),
    ],
)
def test_another_option_on_the_same_folder_is_named(area, tmp_path, option, value):
    folder = tmp_path / "change" / "series" / "area_1"
    folder.mkdir(parents=True)
    shutil.copy(area / "simulation.json", folder)
    same = ("--areas", "2", "--size", "96", "--start", "2020-09-01", "--days", "36", "--seed", "3")
    command.run(chosen(tmp_path, *same))
    with pytest.raises(UserError, match=option) as error:
        command.run(chosen(tmp_path, *same, option, value))
    assert "--overwrite" in str(error.value)


def test_a_folder_that_is_no_series_is_not_replaced(tmp_path):
    mine = tmp_path / "change" / "series" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match="no simulated series"):
        command.run(chosen(tmp_path, *WORDS))
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--areas", "0"),
        ("--size", "63"),
        ("--size", "1000000"),
        ("--days", "11"),
        ("--start", "2010-01-01"),
        ("--seed", "-1"),
        ("--missing", "1"),
        ("--missing", "-0.1"),
        ("--missing", "nan"),
        ("--lee-window", "4"),
        ("--lee-window", "0"),
        ("--workers", "0"),
        ("--regions", "0"),
        ("--regions", "4"),
        ("--fields", "-0.1"),
        ("--fields", "1"),
    ],
)
def test_options_out_of_range_are_named_in_one_line_and_nothing_is_written(tmp_path, option, value):
    with pytest.raises(UserError) as error:
        command.run(chosen(tmp_path, *WORDS, option, value))
    assert str(error.value).startswith(f"{option} ")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_series_without_an_image_is_refused(tmp_path):
    with pytest.raises(UserError, match="--missing"):
        simulate_series(tmp_path / "series", areas=1, size=64, days=12, missing=0.999)
    assert not list(tmp_path.iterdir())


def test_a_series_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise UserError("the disk is full")

    monkeypatch.setattr("sarship.change.simulator.series.draw_summary", fail)
    with pytest.raises(UserError, match="disk"):
        simulate_series(tmp_path / "new" / "series", areas=1, size=64, days=12)
    assert not list(tmp_path.iterdir())
