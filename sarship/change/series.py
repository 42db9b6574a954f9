"""An area's series of images as it lies on disk: acquisitions.csv, GeoTIFFs, elevation.tif, land_cover.tif.

Everything is checked before pixels are used: one grid for all, two bands, decibels, conditions for every image.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from sarship.change.conditions import Acquisition, read_acquisitions
from sarship.change.cover import COVERS, UNKNOWN
from sarship.command import UserError, log

POLARIZATIONS = ("VV", "VH")
ACQUISITIONS, ELEVATION, LAND_COVER, IMAGES = "acquisitions.csv", "elevation.tif", "land_cover.tif", "images"
SCALES = ("auto", "db", "linear")
# Sigma nought of land at C band lies below 0 dB but for a few corners of buildings: an image without any negative value
# is none in decibels.
_SAMPLE_SIDE = 512  # pixels of an image that are looked at to tell its scale, at most this many each way


@dataclass(frozen=True)
class Area:
    """One place's series. rows, cols: of every image. is_linear: images hold linear power, not decibels.

    cover_values: codes of land_cover.tif by name of COVERS, None without land cover. crs, transform: of the grid.
    """

    folder: Path
    acquisitions: tuple[Acquisition, ...]
    rows: int
    cols: int
    crs: object = field(repr=False)
    transform: object = field(repr=False)
    is_linear: bool = False
    cover_values: Mapping[str, Sequence[int]] | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    def image(self, acquisition: Acquisition, window: Window | None = None) -> np.ndarray:
        """(2, rows, cols) float32 VV and VH in dB, NaN where there is no data; of `window` or the whole grid."""
        path = self.folder / acquisition.file
        with opened(path) as dataset:
            bands = _band_numbers(dataset, path)
            values = _read(dataset, path, bands, window)
        if not self.is_linear:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0, 10 * np.log10(values), np.nan).astype(np.float32)

    def elevation(self, window: Window | None = None) -> np.ndarray:
        """(rows, cols) float32 metres, NaN where there is no data."""
        path = self.folder / ELEVATION
        with opened(path) as dataset:
            return _read(dataset, path, [1], window)[0]

    def cover(self, window: Window | None = None) -> np.ndarray:
        """(rows, cols) uint8, codes of COVERS; UNKNOWN where the land cover has other values or there is none."""
        size = (self.rows, self.cols) if window is None else (int(window.height), int(window.width))
        cover = np.full(size, UNKNOWN, np.uint8)
        if self.cover_values is None:
            return cover
        path = self.folder / LAND_COVER
        with opened(path) as dataset:
            stored = _read_raw(dataset, path, [1], window)[0]
        for name, values in self.cover_values.items():
            cover[np.isin(stored, values)] = COVERS[name]
        return cover


def read_area(folder: Path, scale: str = "auto", cover_values: Mapping[str, Sequence[int]] | None = None) -> Area:
    """An area's series, checked. scale: one of SCALES; auto finds out and says so where it is linear power.

    cover_values: codes of land_cover.tif by name of COVERS; None for those of COVERS.
    Raises UserError for a file that is missing or unreadable, images that are not on the grid of elevation.tif, do not
    have two bands, or are linear power in part, and for what `read_acquisitions` refuses.
    """
    acquisitions = read_acquisitions(folder / ACQUISITIONS)
    with opened(folder / ELEVATION) as dataset:
        grid = dataset.height, dataset.width, dataset.crs, dataset.transform
    linear = []
    for each in acquisitions:
        path = folder / each.file
        _refuse_outside(folder, path)
        with opened(path) as dataset:
            check_grid(dataset, path, grid)
            _band_numbers(dataset, path)
            if scale == "auto" and _looks_linear(dataset, path):
                linear.append(each)
    is_linear = scale == "linear" or _all_linear(folder, linear, acquisitions)
    if is_linear and scale == "auto":
        log(f"{folder}: the images hold linear power, not decibels; they are converted (--scale db if that is wrong)")
    _say_unlisted(folder, acquisitions)
    has_cover = (folder / LAND_COVER).exists()
    if has_cover:
        with opened(folder / LAND_COVER) as dataset:
            check_grid(dataset, folder / LAND_COVER, grid)
    values = (cover_values or {name: (code,) for name, code in COVERS.items()}) if has_cover else None
    return Area(folder, tuple(acquisitions), *grid, is_linear, values)


def find_areas(folders: Sequence[Path]) -> list[Path]:
    """The folders that hold an acquisitions.csv, among `folders` and just below them; UserError where there is none."""
    found = []
    for folder in folders:
        below = sorted(path.parent for path in folder.glob(f"*/{ACQUISITIONS}") if not path.parent.name.startswith("."))
        own = [folder] if (folder / ACQUISITIONS).exists() else below
        if not own:
            raise UserError(f"{folder}: holds no {ACQUISITIONS}, nor does a folder in it")
        found += own
    names = [path.resolve().name for path in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name}: two areas have this name; rename a folder")
    return found


def refuse_overlaps(areas: Sequence[Area]) -> None:
    """UserError if two areas show the same ground: a place of one could train, and of the other test."""
    placed = [area for area in areas if area.crs is not None]  # of others nothing says where they lie
    for area, other in combinations(placed, 2):
        west, south, east, north = array_bounds(area.rows, area.cols, area.transform)
        box = array_bounds(other.rows, other.cols, other.transform)
        if other.crs != area.crs:
            box = transform_bounds(other.crs, area.crs, *box)
        pixel = abs(area.transform.a)
        wide = min(east, box[2]) - max(west, box[0])
        high = min(north, box[3]) - max(south, box[1])
        if min(wide, high) > pixel:
            raise UserError(f"{other.folder}: overlaps {area.folder}; areas must lie apart")


@contextmanager
def opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    """A raster, open for reading. Raises UserError if it is none or is missing."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        # Only these: a text that names other files or hosts is a raster to some of GDAL's drivers.
        dataset = rasterio.open(path, driver="GTiff")
    except RasterioError as error:
        raise UserError(f"{path}: is no GeoTIFF that can be read ({error})") from error
    with dataset:
        yield dataset


def _read_raw(dataset, path: Path, bands: Sequence[int], window: Window | None) -> np.ndarray:
    try:
        return dataset.read(list(bands), window=window)
    except (RasterioError, ValueError) as error:
        raise UserError(f"{path}: pixels cannot be read ({error})") from error


def _read(dataset, path: Path, bands: Sequence[int], window: Window | None) -> np.ndarray:
    """(bands, rows, cols) float32; no-data, of the file's own value too, is NaN."""
    values = _read_raw(dataset, path, bands, window).astype(np.float32)
    values[~np.isfinite(values)] = np.nan
    if dataset.nodata is not None:
        values[values == np.float32(dataset.nodata)] = np.nan
    return values


def _band_numbers(dataset, path: Path) -> list[int]:
    """Numbers of the VV and the VH band: by their descriptions, or in this order where two bands have none."""
    described = [(text or "").strip().upper() for text in dataset.descriptions]
    if all(name in described for name in POLARIZATIONS):
        return [described.index(name) + 1 for name in POLARIZATIONS]
    if dataset.count != 2 or any(described):
        raise UserError(f"{path}: needs two bands, VV and VH; it has {dataset.count}, described as {described}")
    return [1, 2]


def check_grid(dataset, path: Path, grid: tuple) -> None:
    """UserError unless a raster has the size, projection and place of elevation.tif."""
    rows, cols, crs, transform = grid
    if (dataset.height, dataset.width) != (rows, cols):
        raise UserError(f"{path}: has {dataset.height} x {dataset.width} pixels, {ELEVATION} {rows} x {cols}")
    if dataset.crs != crs:
        raise UserError(f"{path}: its projection is {dataset.crs}, that of {ELEVATION} {crs}; reproject it")
    # A tenth of a pixel does no harm. The corners: two grids that agree there agree everywhere.
    boxes = [array_bounds(rows, cols, each) for each in (dataset.transform, transform)]
    if np.abs(np.subtract(*boxes)).max() > 0.1 * abs(transform.a):
        raise UserError(f"{path}: lies elsewhere than {ELEVATION}, or its pixels have another size; co-register it")


def _looks_linear(dataset, path: Path) -> bool:
    """Whether an image has values, and not one is negative."""
    rows, cols = min(dataset.height, _SAMPLE_SIDE), min(dataset.width, _SAMPLE_SIDE)
    values = _read(dataset, path, _band_numbers(dataset, path), Window(0, 0, cols, rows))
    values = values[np.isfinite(values)]
    return values.size > 0 and values.min() >= 0


def _all_linear(folder: Path, linear: Sequence[Acquisition], acquisitions: Sequence[Acquisition]) -> bool:
    if linear and len(linear) < len(acquisitions):
        raise UserError(
            f"{folder / linear[0].file}: holds linear power, others of the series decibels; bring all to decibels"
        )
    return bool(linear)


def _refuse_outside(folder: Path, path: Path) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{folder / ACQUISITIONS}: {path} lies outside of {folder}")


def _say_unlisted(folder: Path, acquisitions: Sequence[Acquisition]) -> None:
    listed = {(folder / each.file).resolve() for each in acquisitions}
    unlisted = [path for path in sorted((folder / IMAGES).glob("*.tif")) if path.resolve() not in listed]
    if unlisted:
        log(f"warning: {folder}: {len(unlisted)} images have no row in {ACQUISITIONS}, the first is {unlisted[0].name}")
