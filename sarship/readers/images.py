"""Any image a user may have, as 8-bit pixels; and where on the ground a GeoTIFF lies.

Pillow decodes most of it. It halves the depth of 16-bit colour without asking, so such PNGs go through imagecodecs; it
knows no TIFF of 13 bands, and libtiff inside it prints what it finds wrong, so TIFFs go through tifffile.
"""

import io
import logging
import math
import warnings
from pathlib import PurePosixPath
from typing import NamedTuple

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp")
# Others are left alone: Pillow hands EPS to a program that executes it.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")

# Pixels of the largest image that is decoded, 67 million: 186 times those of an image of AID, the largest in the sets
# of scene_sets.py; 200 MB in three bands; and fewer than the 89 million at which Pillow begins to warn of bombs.
MAX_PIXELS = 1 << 26
# The same in three bands of 16 bits, uncompressed.
MAX_FILE_BYTES = MAX_PIXELS * 3 * 2

# What had to be done to an image, as lines for a log: `Picture.conversions`, to be counted.
GREY_REPEATED = "{} grey images were repeated into three bands"
COLOUR_TO_GREY = "{} colour images were made grey (ITU-R 601)"
CMYK = "{} CMYK images were converted to RGB, without a colour profile"
PALETTE = "{} palette images were converted to their colours"
TRANSPARENT = "{} images have a band of transparency, which was dropped: their colours are taken as stored"
OTHER_COLOURS = "{} images of other colour spaces (YCbCr, Lab) were converted to RGB"
DEEP = "{} images of more than 8 bits were scaled to 8"
CONVERSIONS = (GREY_REPEATED, COLOUR_TO_GREY, CMYK, PALETTE, TRANSPARENT, OTHER_COLOURS, DEEP)

_OF_MODE = {
    "CMYK": CMYK,
    "P": PALETTE,
    "PA": PALETTE,
    "LA": TRANSPARENT,
    "La": TRANSPARENT,
    "RGBA": TRANSPARENT,
    "RGBa": TRANSPARENT,
    "YCbCr": OTHER_COLOURS,
    "LAB": OTHER_COLOURS,
}
_GREY_MODES = ("1", "L", "LA", "La")

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_START = b"\x89PNG\r\n\x1a\n"
_STARTS = (*_TIFF_STARTS, _PNG_START, b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")
_PNG_DEPTH_AT = 24  # behind the start: length and name of IHDR, width, height (PNG specification, 11.2.1)
_COMPRESSION, _PHOTOMETRIC = tifffile.COMPRESSION, tifffile.PHOTOMETRIC
# Others unpack to more than a header declares, and some run code of many libraries.
_BY_TIFFFILE = {_COMPRESSION[name] for name in ("NONE", "PACKBITS", "LZW", "ADOBE_DEFLATE", "DEFLATE", "ZSTD")}
# libtiff, inside Pillow, prints on stderr what it finds wrong in these.
_BY_LIBTIFF = {_COMPRESSION[name] for name in ("JPEG", "CCITTRLE", "CCITT_T4", "CCITT_T6")}
_COLOURS = {_PHOTOMETRIC[name] for name in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE", "SEPARATED")}
_ALPHA = (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA)
_METRE = 9001  # EPSG code of the unit

# tifffile logs what it finds wrong without the name of the file; ImageError says it, and its reader adds the name.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def is_image(name: str) -> bool:
    """Whether a file of this name, with its folders, is to be read: by its suffix, and not if anything is hidden."""
    path = PurePosixPath(name)
    is_hidden = any(part.startswith(".") for part in path.parts)  # .ipynb_checkpoints holds copies of images
    return path.suffix.lower() in SUFFIXES and not is_hidden


class ImageError(ValueError):
    """Why bytes give no pixels, in a few words: "is truncated"."""


class Picture(NamedTuple):
    """pixels: uint8, (rows, cols, 3) or (rows, cols); conversions: which of CONVERSIONS it went through."""

    pixels: np.ndarray
    conversions: tuple[str, ...]


def decode_image(
    data: bytes, bands: str = "rgb", white: int | None = None, rgb_bands: tuple[int, int, int] | None = None
) -> np.ndarray:
    """Pixels of a JPEG, PNG, TIFF, BMP, GIF or WebP, as `read_picture` has them. Raises ImageError."""
    return read_picture(data, bands, white, rgb_bands).pixels


def read_picture(
    data: bytes, bands: str = "rgb", white: int | None = None, rgb_bands: tuple[int, int, int] | None = None
) -> Picture:
    """A JPEG, PNG, TIFF, BMP, GIF or WebP of one frame, whatever its bytes are.

    bands: "rgb" for (rows, cols, 3), "grey" for (rows, cols).
    white: the value that becomes 255 in images of more than 8 bits; without, the largest that their bits can hold.
    Values are divided by it, rounded, and clipped; 8-bit images are left as they are.
    rgb_bands: which bands, from 0, are red, green and blue in a TIFF of more than three.

    The orientation in EXIF is not applied: data sets were labelled, and their papers' networks trained, on images as
    they are stored. Raises ImageError for what is damaged, cut, no image, of several frames, of floats, or larger than
    MAX_PIXELS, which is found out before memory is taken.
    """
    if not data:
        raise ImageError("holds no bytes")
    with warnings.catch_warnings():
        # Pillow warns of tags and sizes that it finds odd. Whatever matters becomes an ImageError.
        warnings.simplefilter("ignore")
        try:
            stored, conversions = _stored(data, white, rgb_bands)
            return _as_bands(stored, conversions, bands)
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            raise ImageError(f"has more than {MAX_PIXELS:,} pixels") from error
        except UnidentifiedImageError as error:
            if data.startswith(_STARTS):
                raise ImageError("is truncated or damaged") from error
            raise ImageError(f"is no image of a kind that is read ({', '.join(_FORMATS)})") from error
        except Exception as error:  # the libraries raise some thirty types on damaged files; none may end a whole run
            said = " ".join(str(error).split())
            is_cut = "truncated" in said.lower()
            raise ImageError("is truncated" if is_cut else f"is damaged ({type(error).__name__}: {said})") from error


def _stored(data: bytes, white: int | None, rgb_bands: tuple[int, int, int] | None) -> tuple[np.ndarray, list[str]]:
    """8-bit pixels, (rows, cols) or (rows, cols, 3), and what was converted so far."""
    if data.startswith(_TIFF_STARTS):
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = _only_page(tiff)
            _check_page(page, len(data))
            if page.compression in _BY_TIFFFILE and page.photometric in _COLOURS:
                return _by_tifffile(page, white, rgb_bands)
            if page.bitspersample > 8 or not (page.compression in _BY_LIBTIFF or page.compression == 1):
                kind = f"{page.bitspersample} bits, compression {page.compression}, colours {page.photometric}"
                raise ImageError(f"is a TIFF of a kind that is not read ({kind})")
            return _by_pillow(data)
    if data.startswith(_PNG_START) and data[_PNG_DEPTH_AT : _PNG_DEPTH_AT + 1] == b"\x10":
        return _deep_png(data, white)
    return _by_pillow(data)


def _as_bands(stored: np.ndarray, conversions: list[str], bands: str) -> Picture:
    is_grey = stored.ndim == 2
    if bands == "rgb" and is_grey:
        return Picture(np.repeat(stored[:, :, None], 3, axis=2), (*conversions, GREY_REPEATED))
    if bands == "grey" and not is_grey:
        return Picture(grey(stored), (*conversions, COLOUR_TO_GREY))
    return Picture(stored, tuple(conversions))


def grey(pixels: np.ndarray) -> np.ndarray:
    """(rows, cols, 3) uint8 to (rows, cols): luma of ITU-R BT.601, as Pillow's mode L has it."""
    return np.asarray(Image.fromarray(pixels).convert("L"))


def _check_size(rows: int, cols: int) -> None:
    if rows < 1 or cols < 1:
        raise ImageError(f"declares {rows} x {cols} pixels")
    if rows * cols > MAX_PIXELS:
        raise ImageError(f"has {rows:,} x {cols:,} pixels, more than {MAX_PIXELS:,}")


# -- by Pillow


def _by_pillow(data: bytes) -> tuple[np.ndarray, list[str]]:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        _check_size(image.height, image.width)
        _check_frames(image)
        if image.mode.startswith(("I", "F")):
            raise ImageError(f"has pixels of {'32-bit numbers' if image.mode.startswith('I') else 'floats'}")
        conversions = [_OF_MODE[image.mode]] if image.mode in _OF_MODE else []
        return np.asarray(image.convert("L" if image.mode in _GREY_MODES else "RGB")), conversions


def _check_frames(image: Image.Image) -> None:
    if image.format in ("TIFF", "MPO"):
        return  # pages of a TIFF: _only_page; MPO is what cameras write, a JPEG with previews behind it
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise ImageError(f"holds {frames} frames")


# -- PNG of 16 bits


def _scaled(values: np.ndarray, white: int) -> np.ndarray:
    """uint8 of unsigned integers, of which `white` becomes 255; any shape."""
    table = np.rint(np.arange(np.iinfo(values.dtype).max + 1) * 255 / white).clip(0, 255).astype(np.uint8)
    scaled = np.empty(values.shape, np.uint8)
    for scaled_row, row in zip(scaled, values, strict=True):
        scaled_row[...] = table[row]  # by rows: numpy makes eight bytes of every index
    return scaled


def _deep_png(data: bytes, white: int | None) -> tuple[np.ndarray, list[str]]:
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        _check_size(image.height, image.width)
        _check_frames(image)
    values = imagecodecs.png_decode(data)  # (rows, cols), or (rows, cols, bands)
    count = 1 if values.ndim == 2 else values.shape[2]
    if count in (1, 3):
        return _scaled(values, white or 0xFFFF), [DEEP]
    return _scaled(values[:, :, 0] if count == 2 else values[:, :, :3], white or 0xFFFF), [DEEP, TRANSPARENT]


# -- TIFF


def _only_page(tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    """The page that is no smaller copy or mask of another."""
    pages = [page for page in tiff.pages if not (page.is_reduced or page.is_mask)]
    if len(pages) != 1:
        raise ImageError(f"holds {len(pages)} pages" if pages else "is truncated")
    return pages[0]


def _check_page(page: tifffile.TiffPage, file_bytes: int) -> None:
    """Whatever the tags show to be wrong, before memory is taken for pixels."""
    rows, cols, count, bits = page.imagelength, page.imagewidth, page.samplesperpixel, page.bitspersample
    _check_size(rows, cols)
    if page.sampleformat == tifffile.SAMPLEFORMAT.IEEEFP:
        raise ImageError("has pixels of floats")
    if page.sampleformat != tifffile.SAMPLEFORMAT.UINT or not isinstance(bits, int) or bits > 16:
        raise ImageError(f"has pixels of {page.dtype or bits}, neither 8 nor 16 bits without a sign")
    if rows * cols * count > 3 * MAX_PIXELS:
        raise ImageError(f"has {count} bands of {rows:,} x {cols:,} pixels, which are too many")
    # tifffile fills a strip without bytes with zeros.
    strips = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not strips or any(size <= 0 or offset + size > file_bytes for offset, size in strips):
        raise ImageError("is truncated")


def _by_tifffile(
    page: tifffile.TiffPage, white: int | None, rgb_bands: tuple[int, int, int] | None
) -> tuple[np.ndarray, list[str]]:
    values = _values(page)
    bits = page.bitspersample
    if page.photometric == _PHOTOMETRIC.PALETTE:
        return _coloured(values, page.colormap), [PALETTE]
    if page.photometric == _PHOTOMETRIC.SEPARATED:
        if bits != 8 or page.samplesperpixel != 4:
            raise ImageError(f"has {page.samplesperpixel} inks of {bits} bits, not CMYK of 8")
        return np.asarray(Image.fromarray(values, "CMYK").convert("RGB")), [CMYK]
    taken = _taken_bands(page, values, rgb_bands)
    conversions = [DEEP] if bits > 8 else []
    if page.samplesperpixel in (2, 4) and rgb_bands is None:
        conversions.append(TRANSPARENT)
    largest = (1 << bits) - 1
    if page.photometric == _PHOTOMETRIC.MINISWHITE:
        taken = largest - taken
    if bits == 8:
        return np.ascontiguousarray(taken), conversions
    return _scaled(taken, white if white and bits > 8 else largest), conversions


def _values(page: tifffile.TiffPage) -> np.ndarray:
    """(rows, cols) or (rows, cols, bands), as stored."""
    count, bands_first = page.samplesperpixel, page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    size = (page.imagelength, page.imagewidth)
    expected = size if count == 1 else (count, *size) if bands_first else (*size, count)
    if page.shape != expected:
        raise ImageError(f"has pixels of shape {page.shape}")
    values = page.asarray(maxworkers=1)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    return np.moveaxis(values, 0, -1) if count > 1 and bands_first else values


def _coloured(values: np.ndarray, colormap: np.ndarray) -> np.ndarray:
    """values: (rows, cols), numbers of colours; colormap: (3, colours), 16 bits. Returns (rows, cols, 3)."""
    image = Image.fromarray(values, "P")
    image.putpalette((colormap >> 8).astype(np.uint8).T.tobytes())
    return np.asarray(image.convert("RGB"))


def _taken_bands(page: tifffile.TiffPage, values: np.ndarray, rgb_bands: tuple[int, int, int] | None) -> np.ndarray:
    """(rows, cols) or (rows, cols, 3)."""
    count = page.samplesperpixel
    if count > 3 and rgb_bands is not None:
        if max(rgb_bands) >= count:
            raise ImageError(f"has {count} bands, none of them is band {max(rgb_bands)} from 0")
        return values[:, :, list(rgb_bands)]
    if count in (1, 3):
        return values
    if count == 2 and page.extrasamples and page.extrasamples[0] in _ALPHA:
        return values[:, :, 0]
    if count == 4 and page.photometric == _PHOTOMETRIC.RGB:
        return values[:, :, :3]
    raise ImageError(f"has {count} bands, and nothing says which are red, green and blue")


# -- places


class Place(NamedTuple):
    """Where the centre of an image lies. system: e.g. "EPSG:32632"; spacings: of its pixels, positive."""

    system: str
    east_m: float
    north_m: float
    row_spacing_m: float
    col_spacing_m: float


def place_of(data: bytes) -> Place | None:
    """The place of a GeoTIFF in a projected system of metres that has an EPSG code; None for anything else.

    Read are ModelTiepoint and ModelPixelScale (GeoTIFF 1.1, OGC 19-008r4, 7.1), which stand for an image whose rows
    run from north to south; not ModelTransformation, with which an image may be turned.
    """
    if not data.startswith(_TIFF_STARTS):
        return None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = tiff.pages[0]
            return _place(page.geotiff_tags or {}, page.imagelength, page.imagewidth)
    except Exception:  # as in read_picture: damaged tags say no place, and the pixels may yet be whole
        return None


def _place(tags: dict, rows: int, cols: int) -> Place | None:
    code = int(tags.get("ProjectedCSTypeGeoKey", 0))
    unit = int(tags.get("ProjLinearUnitsGeoKey", _METRE))
    tiepoint, scale = tags.get("ModelTiepoint"), tags.get("ModelPixelScale")
    # 1024 to 32766 are EPSG codes (GeoTIFF 1.1, 7.4.1); 32767 stands for a system that the file defines.
    if not 1024 <= code <= 32766 or unit != _METRE or not tiepoint or not scale or len(tiepoint) != 6:
        return None
    # The tie point is a corner of its pixel, or the centre if pixels are points (7.1.2 there).
    half = 0.5 if int(tags.get("GTRasterTypeGeoKey", 1)) == 2 else 0.0
    col_spacing_m, row_spacing_m = float(scale[0]), float(scale[1])
    east_m = tiepoint[3] + (cols / 2 - half - tiepoint[0]) * col_spacing_m
    north_m = tiepoint[4] - (rows / 2 - half - tiepoint[1]) * row_spacing_m
    numbers = (east_m, north_m, row_spacing_m, col_spacing_m)
    if not all(map(math.isfinite, numbers)) or min(row_spacing_m, col_spacing_m) <= 0:
        return None
    return Place(f"EPSG:{code}", *numbers)
