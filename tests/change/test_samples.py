"""Places, dates, splits: nothing that tests has trained. The samples folder."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from sarship.change.sample_set import read_samples
from sarship.change.samples import EARLIER, SPLITS, Cutting, check_cutting, cut, period_of, places_of, samples_of
from sarship.change.series import read_area
from sarship.command import UserError
from tests.change.small_series import acquisitions, image_of, write_area, write_raster

CUTTING = Cutting(16, 0, 4, 4, 0.3, 0.1, 60, 1)
SIZE = (64, 48)


@pytest.fixture(scope="module")
def two_areas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    write_area(folder / "a", *SIZE)
    write_area(folder / "b", *SIZE, north=7_100_000)
    return folder


@pytest.fixture(scope="module")
def cut_folder(two_areas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut") / "samples"
    cut([read_area(two_areas / name) for name in "ab"], CUTTING, folder, {"patch": 16})
    return folder


def test_no_place_and_no_date_is_in_two_splits_earlier_images_included(cut_folder):
    samples = read_samples(cut_folder)
    places, dates = {split: set() for split in SPLITS}, {split: set() for split in SPLITS}
    for sample in samples.samples:
        places[sample.split].add(sample.place)
        dates[sample.split] |= {told.date for told in samples.conditions(sample)}
    for split in SPLITS:
        assert places[split]
        for other in set(SPLITS) - {split}:
            assert not places[split] & places[other]
            assert not dates[split] & dates[other]
    assert max(dates["train"]) < min(dates["val"]) <= max(dates["val"]) < min(dates["test"])


def test_pixels_are_those_of_the_place_and_the_dates(two_areas, cut_folder):
    samples = read_samples(cut_folder)
    corners = samples.corners()
    for sample in samples.samples[::97]:
        row, col = corners[sample.place]
        for number in (*sample.earlier, sample.newest):
            whole = image_of(samples.acquisition(sample, number), *SIZE)
            wanted = whole[:, row : row + 16, col : col + 16]
            assert np.allclose(samples.image(sample, number), wanted, atol=0.01)
        assert samples.elevation(sample)[0, 0] == row + col
    assert len({sample.name for sample in samples.samples}) == len(samples.samples)


def test_the_same_seed_gives_the_same_bytes(two_areas, cut_folder, tmp_path):
    areas = [read_area(two_areas / name) for name in "ab"]
    cut(areas, CUTTING, tmp_path / "again", {"patch": 16})
    files = sorted(path.relative_to(cut_folder) for path in cut_folder.rglob("*") if path.is_file())
    assert len(files) >= 10
    for name in files:
        assert (cut_folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    cut(areas, replace(CUTTING, seed=2), tmp_path / "other", {"patch": 16})
    assert (tmp_path / "other" / "places.csv").read_bytes() != (cut_folder / "places.csv").read_bytes()


CUTTINGS = some.builds(
    Cutting,
    some.sampled_from([16, 32, 64]),
    some.integers(0, 20),
    some.floats(0.5, 20),
    some.floats(0.5, 20),
    some.floats(0.05, 0.45),
    some.floats(0.05, 0.45),
    some.floats(5, 100),
    some.integers(0, 99),
)


@given(CUTTINGS, some.integers(64, 400), some.integers(64, 400))
def test_places_do_not_share_a_pixel_and_each_split_has_some(cutting, rows, cols):
    area = SimpleNamespace(rows=rows, cols=cols, name="x", folder=Path("x"))
    step = cutting.patch + cutting.gap
    room = ((rows - cutting.patch) // step + 1) * ((cols - cutting.patch) // step + 1)
    if room < 3:
        with pytest.raises(UserError, match="needs three"):
            places_of(area, cutting)
        return
    places = places_of(area, cutting)
    seen = np.zeros((rows, cols), int)
    for place in places:
        seen[place.row : place.row + cutting.patch, place.col : place.col + cutting.patch] += 1
    assert seen.max() == 1
    assert len(places) == room
    assert {place.split for place in places} == set(SPLITS)


@given(CUTTINGS, some.lists(some.integers(0, 24 * 300), min_size=1, max_size=80, unique=True))
@settings(max_examples=200)
def test_samples_stay_within_their_period_and_age(cutting, hours):
    dates = [datetime(2020, 1, 1) + timedelta(hours=hour) for hour in sorted(hours)]
    last = dates[-1]
    for split in SPLITS:
        for newest, earlier in samples_of(range(len(dates)), dates, split, last, cutting):
            assert len(earlier) == EARLIER
            numbers = [*earlier, newest]
            assert numbers == sorted(set(numbers))
            assert {period_of(dates[number], last, cutting) for number in numbers} == {split}
            assert dates[newest] - dates[earlier[0]] <= timedelta(days=cutting.max_age_days)


def test_holes_leave_out_the_places_that_they_touch_and_are_said(tmp_path, capsys):
    area = write_area(tmp_path / "a", *SIZE)
    told = acquisitions(36)[35]
    values = image_of(told, *SIZE)
    values[1, :16, :16] = np.nan
    write_raster(area / told.file, values, ("VV", "VH"))
    heights = np.zeros((1, *SIZE), np.float32)
    heights[0, 20, 20] = np.nan
    write_raster(area / "elevation.tif", heights)
    cut([read_area(area)], CUTTING, tmp_path / "samples", {"patch": 16})
    said = capsys.readouterr().err
    assert "1 of 12 places have holes in their elevation" in said
    assert "1 of 432 images of a place have no-data" in said
    samples = read_samples(tmp_path / "samples")
    assert not [each for each in samples.samples if each.place == "a_r00016_c00016"]
    assert not [each for each in samples.samples if each.place == "a_r00000_c00000" and each.newest == 35]


def test_a_series_that_is_too_short_or_an_area_too_small_is_refused(tmp_path):
    area = read_area(write_area(tmp_path / "a", *SIZE, count=12))
    with pytest.raises(UserError, match="no train sample: five usable images"):
        cut([area], CUTTING, tmp_path / "samples", {"patch": 16})
    assert not (tmp_path / "samples").exists()
    with pytest.raises(UserError, match="has room for 2 places of 32 x 32"):
        cut([area], replace(CUTTING, patch=32), tmp_path / "samples", {"patch": 32})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch": 48}, "--patch 48: must be a power of two"),
        ({"patch": 8}, "--patch 8: must be a power of two from 16"),
        ({"gap": -1}, "--gap -1"),
        ({"test_share": 0.95}, "leave something to train on"),
        ({"val_share": 0.0}, "must be above 0"),
        ({"test_weeks": 0}, "must be above 0"),
    ],
)
def test_options_that_cannot_be(changes, said):
    with pytest.raises(UserError, match=said):
        check_cutting(replace(CUTTING, **changes))


def test_damaged_samples_are_named(cut_folder, tmp_path):
    with pytest.raises(UserError, match=r"holds no samples; run detect_changes\.py import"):
        read_samples(tmp_path)
    for name in ("acquisitions.csv", "places.csv", "options.json", "samples.csv"):
        (tmp_path / name).write_bytes((cut_folder / name).read_bytes())
    samples = read_samples(tmp_path)
    with pytest.raises(UserError, match="is missing or damaged"):
        samples.image(samples.samples[0], 0)
    (tmp_path / "options.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        read_samples(tmp_path)
