"""Large arrays in files of their own (.npy), held against a checksum when they are opened.

The CRC-32 of all that is before it stands in the last four bytes of the file, after the array, where NumPy never looks.
"""

import io
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sarship.files import reserve

CRC_BYTES = 4
_BLOCK_BYTES = 1 << 24


def new_array(path: Path, dtype: np.dtype, shape: Sequence[int]) -> np.memmap:
    """An array to fill, in a file that has all of its disk already. Raises OSError if the disk is too full for it."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))
    reserve(path, path.stat().st_size)
    return array


def seal(path: Path) -> None:
    """Write the checksum at the end of a file whose array is filled and flushed."""
    with path.open("r+b") as file:
        crc = _crc(file, path.stat().st_size)
        file.write(crc.to_bytes(CRC_BYTES, "little"))


def sealed_start(file: BinaryIO, dtype: np.dtype, shape: Sequence[int]) -> int | None:
    """Where the array of a sealed file begins, in bytes; None if the file is not just what was written.

    The header is compared, not parsed: of one array there is only one, and a damaged one can be any text.
    """
    header = io.BytesIO()
    form = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(header, form)
    start = header.tell()
    end = start + dtype.itemsize * math.prod(shape)
    if os.fstat(file.fileno()).st_size != end + CRC_BYTES or file.read(start) != header.getvalue():
        return None
    crc = _crc(file, end)
    return start if int.from_bytes(file.read(CRC_BYTES), "little") == crc else None


def _crc(file: BinaryIO, end: int) -> int:
    """CRC-32 of the bytes of a file up to `end`, where it stands afterwards."""
    file.seek(0)
    crc = 0
    while block := file.read(min(_BLOCK_BYTES, end - file.tell())):
        crc = zlib.crc32(block, crc)
    return crc
