"""Bytes of TIFF and zip files that are the same whenever the content is: no dates, no names of programs."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tifffile

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold


class ZipWriter:
    """A zip archive that stores its entries as they are: speckle hardly shrinks, and deflate varies by version."""

    def __init__(self, file):
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)

    def add(self, name: str, data: bytes) -> None:
        """One file; a name that ends with a slash is a folder."""
        entry = zipfile.ZipInfo(name, date_time=_EPOCH)
        entry.create_system = 0  # MS-DOS on every machine, as a constant
        self._zip.writestr(entry, data)

    def close(self) -> None:
        self._zip.close()


@contextmanager
def zip_writer(file) -> Iterator[ZipWriter]:
    """A ZipWriter on a path or an open binary file."""
    writer = ZipWriter(file)
    try:
        yield writer
    finally:
        writer.close()


def packbits_tiff(pixels: np.ndarray, rows_per_strip: int | None = None) -> bytes:
    """(rows, cols) uint8 as a PackBits TIFF, the compression of 8-bit chips in both archives."""
    return _tiff(pixels, compression="packbits", rowsperstrip=rows_per_strip)


def float_tiff(pixels: np.ndarray) -> bytes:
    """(rows, cols) or (rows, cols, bands) float32 as an uncompressed TIFF with its bands interleaved."""
    return _tiff(pixels.astype(np.float32), planarconfig="contig" if pixels.ndim == 3 else None)


def _tiff(pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="minisblack", metadata=None, software=False, **options)
    return buffer.getvalue()
