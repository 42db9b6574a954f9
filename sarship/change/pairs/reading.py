"""Two images of one place at two dates, whatever their form, as intensities on one grid.

Read are 8-bit JPEG, PNG, BMP, GIF and WebP, PNG of 16 bits, and TIFF of any number type but complex, with the no-data
value, projection and corner that a GeoTIFF states.
"""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from scipy.ndimage import distance_transform_edt

from sarship.command import UserError, log
from sarship.readers.images import GREY_REPEATED, MAX_PIXELS, ImageError, decode_image, read_picture

SCALES = ("auto", "linear", "db")
SMALLEST_SIDE = 16  # pixels; three times the neighbourhood of the clustering, and little more
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_START, _PNG_DEPTH_AT = b"\x89PNG\r\n\x1a\n", 24  # PNG specification, 11.2.1
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601

# GDAL says through this logger what it finds wrong in a file; UserError says it with the file's name.
logging.getLogger("rasterio").addHandler(logging.NullHandler())


@dataclass(frozen=True, eq=False)
class Raster:
    """One image as stored. values: (rows, cols) float64; valid: (rows, cols) bool, False where there is no data.

    crs, transform: of a GeoTIFF, None without. is_8_bit: whether the values are grey levels from 0 to 255.
    """

    path: Path
    values: np.ndarray
    valid: np.ndarray
    crs: object = None
    transform: object = None
    is_8_bit: bool = False


@dataclass(frozen=True, eq=False)
class Pair:
    """Intensities of two dates on one grid. before, after: (rows, cols) float64, 0 or more.

    valid: (rows, cols) bool, True where both have data; elsewhere both hold what they have at the nearest such pixel,
    so that neighbourhoods can be computed and nothing that stood there has an effect.
    is_8_bit: whether both are grey levels from 0 to 255. grid: the first image as stored.
    """

    before: np.ndarray
    after: np.ndarray
    valid: np.ndarray
    is_8_bit: bool = False
    grid: Raster | None = None


def read_pair(before: Path, after: Path, scale: str = "auto", nodata: float | None = None) -> Pair:
    """Both images as intensities. scale: one of SCALES, see `to_intensity`; nodata: a value that stands for no data.

    Raises UserError for files that cannot be read, for images of different size, projection or place, for such
    without data and such of one value, and for an image paired with itself.
    """
    first, second = read_raster(before, nodata), read_raster(after, nodata)
    check_same_grid(first, second)
    valid = first.valid & second.valid
    for raster in (first, second):
        _check_size(raster)
    for raster in (first, second):
        _check_content(raster, valid, scale)
    _report_no_data(valid)
    is_db = scale == "db" or (scale == "auto" and _are_decibels(first, second, valid))
    values = [to_intensity(raster, valid, is_db) for raster in (first, second)]
    if np.array_equal(values[0][valid], values[1][valid]):
        raise UserError(f"{after}: has the same pixels as {before}; give two different dates")
    filled = [nearest_valid(each, valid) for each in values]
    return Pair(*filled, valid, first.is_8_bit and second.is_8_bit, first)


def check_same_grid(first: Raster, second: Raster) -> None:
    """UserError unless both have one size and, where both state it, one projection and place (to half a pixel)."""
    if first.values.shape != second.values.shape:
        (rows, cols), (others, theirs) = second.values.shape, first.values.shape
        raise UserError(
            f"{second.path}: has {rows} x {cols} pixels, but {first.path} has {others} x {theirs}; "
            "bring both onto one grid"
        )
    if first.crs is None or second.crs is None:
        return
    if first.crs != second.crs:
        raise UserError(
            f"{second.path}: is in {second.crs}, but {first.path} in {first.crs}; reproject one onto the other"
        )
    rows, cols = first.values.shape
    for corner in ((0, 0), (cols, rows)):
        col, row = ~first.transform @ (second.transform @ corner)
        if max(abs(col - corner[0]), abs(row - corner[1])) > 0.5:
            raise UserError(
                f"{second.path}: does not lie on the grid of {first.path} (a corner is off by "
                f"{col - corner[0]:.1f} columns and {row - corner[1]:.1f} rows); resample one onto the other"
            )


def read_raster(path: Path, nodata: float | None = None) -> Raster:
    """One image; colours whose bands differ become their luma. Raises UserError."""
    data = read_bytes(path)
    try:
        if data.startswith(TIFF_STARTS):
            raster = _by_rasterio(path)
        elif data.startswith(_PNG_START) and data[_PNG_DEPTH_AT : _PNG_DEPTH_AT + 1] == b"\x10":
            raster = _deep_png(path, data)
        else:
            raster = _picture(path, data)
    except (ImageError, RasterioError) as error:
        raise UserError(f"{path}: {error if isinstance(error, ImageError) else 'is damaged, or no TIFF'}") from error
    valid = raster.valid & np.isfinite(raster.values)
    if nodata is not None:
        valid &= raster.values != nodata
    return Raster(path, raster.values, valid, raster.crs, raster.transform, raster.is_8_bit)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises UserError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _picture(path: Path, data: bytes) -> Raster:
    pixels, conversions = read_picture(data)
    for line in conversions:
        if line != GREY_REPEATED:
            log(f"{path}: {line.format(1)}")
    return _raster(path, pixels, is_8_bit=True)


def _deep_png(path: Path, data: bytes) -> Raster:
    decode_image(data)  # raises ImageError for whatever is wrong with it, before memory is taken
    values = np.atleast_3d(imagecodecs.png_decode(data))
    if values.shape[2] in (2, 4):
        log(f"{path}: has a band of transparency, which is ignored")
        values = values[:, :, :-1]
    return _raster(path, values)


def _by_rasterio(path: Path) -> Raster:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            if source.width * source.height > MAX_PIXELS:
                raise ImageError(f"has {source.height:,} x {source.width:,} pixels, more than {MAX_PIXELS:,}")
            if any(np.dtype(kind).kind not in "uif" for kind in source.dtypes):
                raise ImageError(f"has pixels of {source.dtypes[0]}; intensities are wanted")
            bands = [number for number, kind in enumerate(source.colorinterp, 1) if kind != ColorInterp.alpha]
            if len(bands) not in (1, 3):
                raise ImageError(f"has {len(bands)} bands; give a file with the one that is to be compared")
            values, valid = source.read(bands), source.dataset_mask() > 0
            georeferenced = (source.crs, source.transform) if source.crs else (None, None)
            is_8_bit = set(source.dtypes) == {"uint8"}
    return _raster(path, np.moveaxis(values, 0, -1), valid, *georeferenced, is_8_bit)


def _raster(path: Path, pixels: np.ndarray, valid=None, crs=None, transform=None, is_8_bit: bool = False) -> Raster:
    """pixels: (rows, cols, 1 or 3) of any number type."""
    if all(np.array_equal(pixels[:, :, 0], band, equal_nan=True) for band in np.moveaxis(pixels, -1, 0)):
        values = pixels[:, :, 0].astype(np.float64)
    else:
        log(f"{path}: is in colour; its luma (ITU-R BT.601) is taken")
        values = pixels.astype(np.float64) @ _LUMA
    valid = np.ones(values.shape, bool) if valid is None else valid
    return Raster(path, values, valid, crs, transform, is_8_bit)


def _check_size(raster: Raster) -> None:
    rows, cols = raster.values.shape
    if min(rows, cols) < SMALLEST_SIDE:
        raise UserError(f"{raster.path}: has {rows} x {cols} pixels; {SMALLEST_SIDE} each way are needed")
    if not raster.valid.any():
        raise UserError(f"{raster.path}: holds no data in any pixel")


def _check_content(raster: Raster, valid: np.ndarray, scale: str) -> None:
    if not valid.any():
        raise UserError(f"{raster.path}: has data nowhere where the other image has some")
    values = raster.values[valid]
    if values.min() == values.max():
        raise UserError(f"{raster.path}: has the same value, {values[0]:g}, in every pixel")
    if scale == "linear" and np.median(values) < 0:
        raise UserError(f"{raster.path}: has mostly values below 0, which no intensity has; use --scale db")


def _report_no_data(valid: np.ndarray) -> None:
    missing = valid.size - np.count_nonzero(valid)
    if missing:
        log(f"{missing} of {valid.size} pixels ({100 * missing / valid.size:.1f} %) hold no data and are left out")


def _are_decibels(first: Raster, second: Raster, valid: np.ndarray) -> bool:
    """Whether both are in dB: most values below 0. UserError where it cannot be told, or one is and one is not."""
    shares = [float((raster.values[valid] < 0).mean()) for raster in (first, second)]
    for raster, share in zip((first, second), shares, strict=True):
        if 0 < share <= 0.5:
            raise UserError(
                f"{raster.path}: has values below 0 in {100 * share:.2g} % of its pixels; say with --scale whether "
                "it is in db or linear (which takes those for 0)"
            )
    if (shares[0] > 0) != (shares[1] > 0):
        db, linear = (first, second) if shares[0] > 0 else (second, first)
        raise UserError(f"{linear.path}: has no value below 0, but {db.path} looks like dB; give both in one scale")
    return shares[0] > 0


def to_intensity(raster: Raster, valid: np.ndarray, is_db: bool) -> np.ndarray:
    """(rows, cols) of 0 or more: ratios are wrong on dB, which become 10^(dB / 10); linear values below 0 become 0.

    Grey levels and amplitudes stay as they are: the methods here know no scale but a constant factor.
    """
    values = raster.values
    if is_db:
        log(f"{raster.path}: is taken as dB and converted to linear intensities")
        with np.errstate(over="ignore", invalid="ignore"):
            return np.power(10.0, values / 10)
    below = np.count_nonzero(values[valid] < 0)
    if below:
        log(f"{raster.path}: {below} values below 0 are taken for 0")
    return np.maximum(values, 0)


def nearest_valid(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`values` with what is not valid replaced by the nearest valid value. values, valid: (rows, cols)."""
    if valid.all():
        return values
    rows, cols = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return values[rows, cols]
