"""A small series written by hand: noise over a fixed pattern that follows the rain, so that something can be learnt."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from sarship.change.conditions import ORBITS, Acquisition, write_acquisitions
from sarship.change.cover import FIELD, FOREST, WATER
from sarship.change.sample_set import SampleSet, read_samples
from sarship.change.samples import Cutting, cut
from sarship.change.series import read_area

START = datetime(2020, 1, 1, 15, 54)
DAYS_APART = 3


def acquisitions(count: int) -> list[Acquisition]:
    generator = np.random.default_rng(5)
    made = []
    for number in range(count):
        date = START + timedelta(days=DAYS_APART * number)
        orbit = ORBITS[number % 2]
        rain = (float(generator.choice([0.0, 10.0])), 0.0, 0.0, 0.0)
        angle = 33.0 + 5 * (number % 2)
        name = f"images/{date:%Y%m%d}_{orbit}.tif"
        made.append(Acquisition(name, date, orbit, "S1A", angle, 5.0, 0.0, rain))
    return made


def pattern(rows: int, cols: int) -> np.ndarray:
    """(2, rows, cols) dB: bright and dark squares, VH below VV."""
    squares = (np.add.outer(np.arange(rows) // 8, np.arange(cols) // 8) % 2) * 4.0
    return np.stack([squares - 12, squares - 19]).astype(np.float32)


def image_of(acquisition: Acquisition, rows: int, cols: int) -> np.ndarray:
    """(2, rows, cols) float32 dB: the pattern, 2 dB higher after rain, and noise of 0.5 dB."""
    generator = np.random.default_rng(int(acquisition.date.timestamp()))
    wet = 2.0 * (acquisition.precipitation_mm[0] > 0)
    return (pattern(rows, cols) + wet + generator.normal(0, 0.5, (2, rows, cols))).astype(np.float32)


def write_raster(path: Path, values: np.ndarray, descriptions: tuple[str, ...] = (), **changes) -> None:
    """Write (bands, rows, cols) as GeoTIFF. changes: of the profile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, rows, cols = values.shape
    profile = {"driver": "GTiff", "count": bands, "height": rows, "width": cols, "dtype": values.dtype}
    profile |= {"crs": "EPSG:3067", "transform": from_origin(400_000, 7_000_000, 10, 10)}
    with rasterio.open(path, "w", **profile | changes) as dataset:
        dataset.write(values)
        if descriptions:
            dataset.descriptions = descriptions


def cover_of(rows: int, cols: int) -> np.ndarray:
    """(rows, cols) uint8: forest, with a strip of field on the left of every 32 columns and a little water."""
    cover = np.full((rows, cols), FOREST, np.uint8)
    cover[:, np.arange(cols) % 32 < 8] = FIELD
    cover[:2, :2] = WATER
    return cover


def write_area(folder: Path, rows: int = 112, cols: int = 96, count: int = 36, north: float = 7_000_000) -> Path:
    """Write a whole area; returns its folder."""
    own = acquisitions(count)
    write_acquisitions_of(folder, own)
    grid = {"transform": from_origin(400_000, north, 10, 10)}
    for each in own:
        write_raster(folder / each.file, image_of(each, rows, cols), ("VV", "VH"), **grid)
    elevation = np.add.outer(np.arange(rows), np.arange(cols)).astype(np.float32)
    write_raster(folder / "elevation.tif", elevation[None], **grid)
    write_raster(folder / "land_cover.tif", cover_of(rows, cols)[None], **grid)
    return folder


def write_acquisitions_of(folder: Path, own: list[Acquisition]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_acquisitions(folder / "acquisitions.csv", own)


def cut_area(folder: Path) -> SampleSet:
    """The samples of one area, cut into places of 16 pixels below `folder`."""
    cut([read_area(write_area(folder / "a"))], Cutting(16, 0, 4, 4, 0.3, 0.1, 60, 1), folder / "samples", {"patch": 16})
    return read_samples(folder / "samples")
