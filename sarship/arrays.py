"""Large arrays in files of their own (.npy), written through a memory map and held against a checksum when read.

The CRC-32 of all that is before it stands in the last four bytes of the file, after the array, where NumPy never looks.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path

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
    crc = _crc(path, path.stat().st_size)
    with path.open("ab") as file:
        file.write(crc.to_bytes(CRC_BYTES, "little"))


def sealed_array(path: Path, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray | None:
    """The array of a sealed file, mapped: writing into it changes no file. None if it is not just what was written.

    Raises FileNotFoundError.
    """
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)  # c: PyTorch takes arrays that may be written only
    except (ValueError, EOFError):
        return None
    end = path.stat().st_size - CRC_BYTES
    if array.shape != tuple(shape) or array.dtype != dtype or end != array.offset + array.nbytes:
        return None
    with path.open("rb") as file:
        file.seek(end)
        return array if int.from_bytes(file.read(CRC_BYTES), "little") == _crc(path, end) else None


def _crc(path: Path, end: int) -> int:
    """CRC-32 of the bytes of a file up to `end`."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(min(_BLOCK_BYTES, end - file.tell())):
            crc = zlib.crc32(block, crc)
    return crc
