"""The mask of what has truly changed, in any of the forms in which such masks go round."""

import io
import warnings
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from sarship.change.pairs.reading import TIFF_STARTS, Raster, check_same_grid, read_bytes
from sarship.command import UserError
from sarship.readers.images import MAX_PIXELS, ImageError, decode_image


def read_mask(path: Path, like: Raster) -> np.ndarray:
    """(rows, cols) bool, True where there is change. like: an image whose grid the mask must have.

    Changed is 1 or 255, unchanged 0: in grey, in colour with equal bands, or with a palette. Of a palette the displayed
    colours count if they are black and white, else the numbers of the colours. Raises UserError.
    """
    data = read_bytes(path)
    try:
        forms, georeferenced = _tiff(path) if data.startswith(TIFF_STARTS) else (_picture(data), (None, None))
    except (ImageError, RasterioError) as error:
        raise UserError(f"{path}: {error if isinstance(error, ImageError) else 'is damaged, or no TIFF'}") from error
    form = next((form for form in forms if _is_binary(form)), None)
    check_same_grid(like, Raster(path, forms[0], np.ones(forms[0].shape, bool), *georeferenced))
    if form is None:
        found = np.unique(forms[0])
        some = ", ".join(f"{value:g}" for value in found[:4]) + (", ..." if len(found) > 4 else "")
        raise UserError(f"{path}: a mask is 0 and 1, or 0 and 255, but this has {some}; save it anew, without JPEG")
    return form > 0


def _is_binary(values: np.ndarray) -> bool:
    found = set(np.unique(values).tolist())
    return found <= {0, 1} or found <= {0, 255}


def _picture(data: bytes) -> list[np.ndarray]:
    """(rows, cols) arrays that may be the mask, the likeliest first."""
    colours = decode_image(data)
    with Image.open(io.BytesIO(data)) as image:
        numbers = np.asarray(image) if image.mode == "P" else None
    return _forms(colours, numbers)


def _forms(colours: np.ndarray, numbers: np.ndarray | None) -> list[np.ndarray]:
    """colours: (rows, cols, 3); numbers: (rows, cols), into a palette, None without one."""
    is_grey = (colours == colours[:, :, :1]).all()
    if numbers is not None:
        return [colours[:, :, 0], numbers] if is_grey else [numbers]
    if not is_grey:
        raise ImageError("is in colour; a mask is black and white")
    return [colours[:, :, 0]]


def _tiff(path: Path) -> tuple[list[np.ndarray], tuple]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            if source.width * source.height > MAX_PIXELS:
                raise ImageError(f"has {source.height:,} x {source.width:,} pixels, more than {MAX_PIXELS:,}")
            if source.count not in (1, 3):
                raise ImageError(f"has {source.count} bands; a mask has one")
            values = np.moveaxis(source.read(), 0, -1)
            georeferenced = (source.crs, source.transform) if source.crs else (None, None)
            palette = source.colormap(1) if _has_palette(source) else None
    if palette is None:
        return _forms(values, None), georeferenced
    table = np.array([palette.get(number, (0, 0, 0, 0))[:3] for number in range(256)])
    return _forms(table[values[:, :, 0]], values[:, :, 0]), georeferenced


def _has_palette(source) -> bool:
    return source.colorinterp[0] == rasterio.enums.ColorInterp.palette
