"""Where a GeoTIFF lies on the ground."""

import random

import numpy as np
import pytest

from sarship.readers.images import place_of
from tests.encoded import ENCODED, GREY, by_tifffile


def geotiff(
    shape: tuple[int, ...] = (64, 64), *, code: int = 32632, keys: tuple = (), tiepoint=(0, 0, 0, 345000, 5615000, 0)
) -> bytes:
    entries = [(1024, 0, 1, 1), (1025, 0, 1, 1), (3072, 0, 1, code), *keys]
    entries = sorted({entry[0]: entry for entry in entries}.values())
    directory = [1, 1, 0, len(entries)] + [number for entry in entries for number in entry]
    tags = [
        (33550, "d", 3, (10.0, 20.0, 0.0), True),
        (33922, "d", 6, tuple(map(float, tiepoint)), True),
        (34735, "H", len(directory), tuple(directory), True),
    ]
    return by_tifffile(np.zeros(shape, np.uint8), photometric="minisblack", extratags=tags)


def test_the_place_is_the_centre():
    place = place_of(geotiff())
    assert place == ("EPSG:32632", 345000 + 32 * 10, 5615000 - 32 * 20, 20, 10)
    assert place.row_spacing_m == 20 and place.col_spacing_m == 10


def test_a_tie_point_may_be_anywhere_and_of_a_centre():
    inner = place_of(geotiff((64, 32), tiepoint=(2, 3, 0, 345000, 5615000, 0)))
    assert inner[1:3] == (345000 + (16 - 2) * 10, 5615000 - (32 - 3) * 20)
    points = place_of(geotiff(keys=((1025, 0, 1, 2),)))
    assert points[1:3] == (345000 + 31.5 * 10, 5615000 - 31.5 * 20)


NO_PLACE = {
    "no tags": by_tifffile(GREY),
    "png": ENCODED["png"],
    "nothing": b"",
    "degrees": geotiff(code=0, keys=((2048, 0, 1, 4326),)),
    "a system of its own": geotiff(code=32767),
    "feet": geotiff(keys=((3076, 0, 1, 9002),)),
    "no number": geotiff(tiepoint=(0, 0, 0, float("nan"), 5615000, 0)),
    "far out": geotiff(tiepoint=(0, 0, 0, float("inf"), 5615000, 0)),
    "cut": geotiff()[:200],
}


@pytest.mark.parametrize("what", NO_PLACE)
def test_no_place(what):
    assert place_of(NO_PLACE[what]) is None


def test_places_of_damaged_tags(capfd):
    rng = random.Random(1)
    whole = geotiff((8, 8))
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
        place = place_of(bytes(damaged))
        assert place is None or np.isfinite(place[1:]).all()
    assert capfd.readouterr() == ("", "")
