"""A series of images of several areas, as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from tqdm import tqdm

from sarship.change.conditions import write_acquisitions
from sarship.change.simulator.areas import Options, Shot, area_land, area_weather, place_m, plan_shots, write_options
from sarship.change.simulator.imaging import shot_image
from sarship.change.simulator.levels import COVERS
from sarship.change.simulator.passes import EASTING_M, NORTHING_M
from sarship.change.simulator.settlements import FIELD_SHARE
from sarship.change.simulator.summary import draw_summary
from sarship.change.simulator.terrain import PIXEL_M
from sarship.command import UserError
from sarship.files import whole_folder
from sarship.pool import Pool

CRS = "EPSG:3067"  # ETRS-TM35FIN
BLOCK_PX = 256
EARLIEST, LATEST = date(2016, 10, 1), date(2100, 1, 1)  # since then there were two satellites
SMALLEST_PX, LARGEST_PX, FEWEST_DAYS = 64, 5_000, 12  # 2,000 need half a gigabyte a process, 5,000 three
DEFAULT_START = date(2019, 7, 1)


@dataclass(frozen=True)
class _Task:
    """An image to write, or with no shot the maps of the ground. folder: of the area."""

    folder: Path
    options: Options
    area: int
    shot: Shot | None


def simulate_series(
    folder: Path,
    areas: int = 3,
    size: int = 512,
    start: date = DEFAULT_START,
    days: int = 540,
    seed: int = 1,
    missing: float = 0.1,
    lee_window: int = 5,
    regions: int = 1,
    fields: float = FIELD_SHARE,
    workers: int = 1,
) -> None:
    """Write a series of `areas` areas of (size, size) pixels into `folder`: whole, or not at all.

    start, days: period; each area is seen eight times in twelve days. missing: share of the passes that left no image,
    from 0 to below 1. lee_window: pixels of the speckle filter, odd; 1 for none. regions: how many the areas lie in, in
    turn, from 1 to `areas`; areas of one region share its weather but for showers. fields: share of each area that is
    farmed, as far as there is dry and level ground, from 0 to below 1. workers: processes; any number of them gives the
    same bytes. An existing folder is replaced.

    Raises UserError, which names the option, for a value out of range, or if the folder cannot be written.
    """
    options = Options(areas, size, start, days, seed, missing, lee_window, regions, fields)
    check(options)
    plans = {name: plan_shots(options, area) for area, name in enumerate(options.names())}
    for name, shots in plans.items():
        if not shots:
            raise UserError(f"--missing {missing}: left no image of {name}; ask for less, or for more --days")
    # The workers start before the progress bar, which is a thread.
    with whole_folder(folder) as series, Pool(_carry_out, workers) as pool:
        tasks = _tasks(series, options, plans)
        first, means = options.names()[0], {}
        with tqdm(total=len(tasks), unit=" images", disable=None) as bar:
            for task, result in pool.map((task, task) for task in tasks):
                if task.shot and task.folder.name == first:
                    means[task.shot.number] = result
                bar.update()
        for name, shots in plans.items():
            write_acquisitions(series / name / "acquisitions.csv", [shot.acquisition for shot in shots])
        in_order = np.stack([means[shot.number] for shot in plans[first]])
        acquisitions = [shot.acquisition for shot in plans[first]]
        draw_summary(series / first, area_weather(options, 0), acquisitions, in_order, series / "summary.png")


def check(options: Options) -> None:
    """Raises UserError, which names the option, for a value out of range."""
    ranges = {"areas": (1, 10_000), "size": (SMALLEST_PX, LARGEST_PX), "start": (EARLIEST, LATEST)}
    ranges |= {"days": (FEWEST_DAYS, 10_000), "seed": (0, 2**63), "lee_window": (1, SMALLEST_PX - 1)}
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be from {low} to {high}")
    if options.lee_window % 2 == 0:
        raise UserError(f"--lee-window {options.lee_window}: must be odd, so that a pixel is in its middle")
    if not 1 <= options.regions <= options.areas:
        raise UserError(f"--regions {options.regions}: must be from 1 to the number of areas, {options.areas}")
    if not 0 <= options.fields < 1:
        raise UserError(f"--fields {options.fields}: must be 0 or more, and less than 1")
    if not 0 <= options.missing < 1:
        raise UserError(f"--missing {options.missing}: must be 0 or more, and less than 1")


def _tasks(series: Path, options: Options, plans: dict[str, list[Shot]]) -> list[_Task]:
    """All that is to be done, area by area and orbit by orbit: what an orbit sees of the land is worked out once."""
    tasks = []
    for area, (name, shots) in enumerate(plans.items()):
        folder = series / name
        (folder / "images").mkdir(parents=True)
        write_options(folder / "simulation.json", options, area)
        by_orbit = sorted(shots, key=lambda shot: (shot.acquisition.orbit, shot.acquisition.incidence_angle_deg))
        tasks += [_Task(folder, options, area, shot) for shot in [None, *by_orbit]]
    return tasks


def _carry_out(task: _Task) -> np.ndarray | None:
    """Write what the task names; of an image, its means by cover, (2, covers) dB."""
    options, area = task.options, task.area
    land = area_land(options.seed, area, options.size, options.fields)
    corner = _corner_m(options, area)
    if task.shot is None:
        write_raster(task.folder / "elevation.tif", land.elevation_m[None], corner)
        write_raster(task.folder / "land_cover.tif", land.cover[None], corner)
        return None
    image = shot_image(options, area, task.shot)
    path = task.folder / task.shot.acquisition.file
    write_raster(path, image, corner, ("VV", "VH"))
    return cover_means_db(image, land.cover)


def cover_means_db(image: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Mean of (2, rows, cols) dB by cover, (2, covers) in the order of COVERS; NaN if absent. Of every fourth pixel."""
    codes = cover[::2, ::2].ravel()
    counts = np.bincount(codes, minlength=max(COVERS) + 1)
    sums = np.array([np.bincount(codes, band[::2, ::2].ravel(), minlength=len(counts)) for band in image])
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means[:, list(COVERS)]


def _corner_m(options: Options, area: int) -> tuple[float, float]:
    """Easting and northing of the upper left corner, on the grid of pixels."""
    east, north = place_m(options, area)
    half = options.size * PIXEL_M / 2
    return tuple(PIXEL_M * round(value / PIXEL_M) for value in (EASTING_M + east - half, NORTHING_M + north + half))


def write_raster(path: Path, bands: np.ndarray, corner_m: tuple[float, float], names: Sequence[str] = ()) -> None:
    """Write (bands, rows, cols) float32 or uint8 as a tiled GeoTIFF, each band with its name if there are any."""
    is_float = bands.dtype == np.float32
    profile = {
        "driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2],
        "dtype": bands.dtype.name, "crs": CRS, "transform": from_origin(*corner_m, PIXEL_M, PIXEL_M),
        "nodata": np.nan if is_float else None, "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX,
        "compress": "deflate", "zlevel": 1, "predictor": 3 if is_float else 2,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(bands)
        for index, name in enumerate(names, start=1):
            file.set_band_description(index, name)
