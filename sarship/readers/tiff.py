"""Pixels of one TIFF, or why there are none: files are checked before anything is allocated for them."""

import io
import logging

import imagecodecs
import numpy as np
import tifffile

from sarship.archives import Entry, Source
from sarship.readers import UNREADABLE, Rejected

# Official chips have sides of 13 to 512 pixels; a header that declares more than this is not believed.
MAX_SIDE = 4096
_MAX_FILE_BYTES = MAX_SIDE * MAX_SIDE * 2 * 4  # two float32 bands, uncompressed

# tifffile logs what it finds wrong without the name of the file; `Rejected` says it with the name.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_pixels(source: Source, entry: Entry, dtype: str, bands: int = 1) -> np.ndarray | Rejected:
    """The first page of a TIFF, which must be grey, of this type and with as many bands.

    dtype: "uint8" or "float32". Returns (rows, cols), or (rows, cols, bands) for more than one band; or Rejected.
    Raises UserError if the archive round the file is damaged.
    """
    where = f"{source.name}/{entry.name}"
    if not 0 < entry.size <= _MAX_FILE_BYTES:
        return Rejected(where, UNREADABLE, f"has {entry.size:,} bytes")
    data = source.read(entry)
    try:
        pixels = _decode(data, dtype, bands)
    except Exception as error:  # tifffile raises some twenty types on damaged files; none may end the whole run
        return Rejected(where, UNREADABLE, " ".join(f"{type(error).__name__}: {error}".split()))
    return pixels


def empty(pixels: np.ndarray) -> bool:
    """Whether all pixels are equal: there is no ship to be seen."""
    return bool(pixels.min() == pixels.max())


def _decode(data: bytes, dtype: str, bands: int) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        _check(page, len(data), dtype, bands)
        pixels = _strips(page, data)
        if pixels is None:
            pixels = page.asarray(maxworkers=1)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("has pixels that are no numbers")
    return pixels


def _strips(page: tifffile.TiffPage, data: bytes) -> np.ndarray | None:
    """Grey 8-bit pixels of whole strips, (rows, cols), three times faster than through tifffile.

    None for anything else: tiles, other types, strips that hold more or less than their rows.
    """
    plain = page.dtype == np.uint8 and page.bitspersample == 8 and page.fillorder == 1 and page.predictor == 1
    if not plain or page.ndim != 2 or page.is_tiled or page.is_subsampled or page.rowsperstrip < 1:
        return None
    pixels = np.empty(page.imagelength * page.imagewidth, np.uint8)
    strip_pixels = min(page.rowsperstrip, page.imagelength) * page.imagewidth
    starts = range(0, len(pixels), strip_pixels)
    if len(starts) != len(page.dataoffsets):
        return None
    for start, offset, count in zip(starts, page.dataoffsets, page.databytecounts, strict=True):
        strip = pixels[start : start + strip_pixels]
        packed = memoryview(data)[offset : offset + count]
        if not (_unpack if page.compression == tifffile.COMPRESSION.PACKBITS else _copy)(packed, strip):
            return None
    return pixels.reshape(page.shape)


def _unpack(packed: memoryview, strip: np.ndarray) -> bool:
    """Whether PackBits fill a strip exactly."""
    try:
        return len(imagecodecs.packbits_decode(packed, out=strip)) == len(strip)
    except imagecodecs.PackbitsError:
        return False


def _copy(packed: memoryview, strip: np.ndarray) -> bool:
    """Whether bytes fill a strip exactly."""
    if len(packed) != len(strip):
        return False
    strip[:] = packed
    return True


def _check(page: tifffile.TiffPage, file_bytes: int, dtype: str, bands: int) -> None:
    rows, cols = page.imagelength, page.imagewidth
    if not (0 < rows <= MAX_SIDE and 0 < cols <= MAX_SIDE):
        raise ValueError(f"declares {rows} x {cols} pixels")
    if page.dtype != dtype or page.shape != ((rows, cols) if bands == 1 else (rows, cols, bands)):
        raise ValueError(f"is {page.dtype} of shape {page.shape}, not {dtype} with {bands} bands")
    if page.photometric != tifffile.PHOTOMETRIC.MINISBLACK:
        raise ValueError("is no grey image")
    # What official chips have. Others unpack to more than a header declares, and some run code of many libraries.
    if page.compression not in (tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.PACKBITS):
        raise ValueError(f"has compression {page.compression}")
    # tifffile fills a strip without bytes with zeros.
    strips = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if any(count <= 0 or offset + count > file_bytes for offset, count in strips):
        raise ValueError("is truncated")
