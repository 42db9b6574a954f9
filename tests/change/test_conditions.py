"""acquisitions.csv and the vectors of conditions."""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sarship.change.conditions import (
    COLUMNS,
    FEATURES,
    ORBITS,
    SATELLITES,
    VECTOR_LENGTH,
    Acquisition,
    read_acquisitions,
    write_acquisitions,
)
from sarship.command import UserError

TENTHS = some.integers(0, 5000).map(lambda tenths: tenths / 10)
RECORDS = some.builds(
    Acquisition,
    some.uuids().map(lambda name: f"images/{name}.tif"),
    some.datetimes(datetime(2014, 4, 3), datetime(2040, 1, 1)).map(lambda date: date.replace(second=0, microsecond=0)),
    some.sampled_from(ORBITS),
    some.sampled_from(SATELLITES),
    some.integers(2900, 4600).map(lambda hundredths: hundredths / 100),
    some.integers(-400, 350).map(lambda tenths: tenths / 10),
    TENTHS,
    some.tuples(TENTHS, TENTHS, TENTHS, TENTHS),
)


@given(some.lists(RECORDS, min_size=1, max_size=8, unique_by=(lambda each: each.file, lambda each: each.date)))
def test_what_was_written_is_read_in_the_order_of_dates(records):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "acquisitions.csv"
        write_acquisitions(path, records)
        assert read_acquisitions(path) == sorted(records, key=lambda each: each.date)


@given(RECORDS)
def test_each_condition_has_its_place_in_the_vector(record):
    vector = record.vector()
    taken = np.concatenate([np.arange(VECTOR_LENGTH)[places] for places in FEATURES.values()])
    assert sorted(taken) == list(range(VECTOR_LENGTH))
    assert vector[FEATURES["temperature"]] == np.float32(record.temperature_c)
    assert vector[FEATURES["snow"]] == np.float32(record.snow_depth_cm)
    assert np.array_equal(vector[FEATURES["precipitation"]], np.float32(record.precipitation_mm))
    assert vector[FEATURES["incidence"]] == np.float32(record.incidence_angle_deg)
    assert vector[FEATURES["orbit"]] == (1 if record.orbit == "descending" else -1)
    assert SATELLITES[vector[FEATURES["satellite"]].argmax()] == record.satellite
    assert vector[FEATURES["satellite"]].sum() == 1


GOOD = ["images/a.tif", "2020-10-03T15:54", "ascending", "S1A", "35.1", "4.0", "0", "1", "2", "3", "4"]


def written(path: Path, *rows: list[str], header: tuple[str, ...] = COLUMNS) -> Path:
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("temperature_c", "", "line 2: temperature_c is missing"),
        ("temperature_c", "277.1", "no number from -70 to 60"),  # kelvin
        ("precipitation_3d_mm", "", "precipitation_3d_mm is missing"),
        ("precipitation_1d_mm", "nan", "no number from 0"),
        ("incidence_angle_deg", "0.61", "no number from 15"),  # radians
        ("snow_depth_cm", "-1", "no number from 0"),
        ("orbit", "north", "none of ascending, descending"),
        ("satellite", "ERS2", "none of S1A"),
        ("date", "3.10.2020", "is no date"),
        ("file", "", "file is missing"),
    ],
)
def test_a_condition_that_is_missing_or_wrong_is_named_with_its_line(tmp_path, column, cell, said):
    row = list(GOOD)
    row[COLUMNS.index(column)] = cell
    with pytest.raises(UserError, match=said):
        read_acquisitions(written(tmp_path / "acquisitions.csv", row))


def test_a_missing_column_two_images_at_once_and_an_empty_table_are_refused(tmp_path):
    path = tmp_path / "acquisitions.csv"
    with pytest.raises(UserError, match="has no column snow_depth_cm"):
        read_acquisitions(written(path, GOOD, header=tuple(name for name in COLUMNS if name != "snow_depth_cm")))
    with pytest.raises(UserError, match=r"the file images/a.tif stands there 2 times"):
        read_acquisitions(written(path, GOOD, GOOD))
    with pytest.raises(UserError, match="the date 2020-10-03 15:54:00 stands there 2 times"):
        read_acquisitions(written(path, GOOD, ["images/b.tif", *GOOD[1:]]))
    with pytest.raises(UserError, match="holds no acquisition"):
        read_acquisitions(written(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        read_acquisitions(path)


def test_a_date_with_a_time_zone_is_brought_to_utc(tmp_path):
    row = [GOOD[0], "2020-10-03T18:54+03:00", *GOOD[2:]]
    assert read_acquisitions(written(tmp_path / "a.csv", row))[0].date == datetime(2020, 10, 3, 15, 54)
