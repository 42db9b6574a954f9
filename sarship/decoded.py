"""Decoded chips of a prepared data set, in one file: each PNG is decoded once, for all runs and commands.

cache/<Dataset>-<size>-<fingerprint>.npy   (chips, size, size) uint8, in the order of manifest.csv; colour: (..., 3)

The fingerprint is the manifest's, which names every chip by its SHA-256, and each chip is held against it when it is
decoded: the file cannot be stale. It ends with a checksum, and is made again if that is wrong. Processes that build it
at once each write their own and rename it; the last stays. The folder can be removed at any time.
"""

import errno
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from sarship.arrays import new_array, seal
from sarship.command import UserError, log
from sarship.files import remove_leftovers, whole_file
from sarship.pool import available_cores
from sarship.stored_chips import StoredChips, open_chips

QUEUED = 4096  # chips that wait for a thread: each takes a kilobyte


def decoded_chips(
    cache: Path, dataset: str, fingerprint: str, paths: Sequence[Path], sha256: Sequence[str]
) -> StoredChips:
    """The chips at `paths`, (chips, size, size[, 3]) uint8, in the file below `cache`, made if it is not there.

    fingerprint: of the manifest. sha256: of each PNG file.
    Raises UserError for a chip that is lost, damaged, not the manifest's or of another shape than the first.
    """
    shape = (len(paths), *chip_shape(paths[0]))
    path = cache / f"{dataset}-{shape[1]}-{fingerprint[:16]}.npy"
    chips = _opened(path, shape)
    if chips is None:
        _build(path, shape, paths, sha256)
        for stale in cache.glob(f"{dataset}-*-*.npy"):
            if stale != path:
                stale.unlink(missing_ok=True)
        chips = _opened(path, shape)
    return chips


def chip_shape(path: Path) -> tuple[int, ...]:
    """(size, size) of a prepared grey chip, (size, size, 3) of a colour one. Raises UserError if lost or damaged."""
    try:
        with Image.open(path) as image:
            return (image.size[0], image.size[0], *([3] if image.mode == "RGB" else []))
    except OSError as error:
        raise _lost(path) from error


def _opened(path: Path, shape: tuple[int, ...]) -> StoredChips | None:
    """The chips in a file; None if there is none, or it is not as it was written."""
    try:
        chips = open_chips(path, shape)
    except FileNotFoundError:
        return None
    if chips is None:
        log(f"{path}: is damaged and is made again")
    return chips


def _build(path: Path, shape: tuple[int, ...], paths: Sequence[Path], sha256: Sequence[str]) -> None:
    remove_leftovers(path.parent)
    with whole_file(path) as file:
        start = new_array(file, np.uint8, shape).offset  # not through the map: what is written there is resident
        with file.open("r+b", buffering=0) as opened:

            def decode(place: int) -> None:
                chip = np.ascontiguousarray(_decode(paths[place], sha256[place], shape[1:]))
                if os.pwrite(opened.fileno(), chip, start + place * chip.nbytes) < chip.nbytes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            _for_each(decode, len(paths), f"decode {paths[0].parents[2].name}")
        seal(file)


def _for_each(decode: Callable[[int], None], count: int, label: str) -> None:
    """Call `decode` with 0 to count - 1, several at once."""
    # Threads will do: reading, hashing and inflating let go of the interpreter.
    with (
        ThreadPoolExecutor(available_cores()) as workers,
        tqdm(desc=label, total=count, unit=" chips", disable=None) as bar,
    ):
        for start in range(0, count, QUEUED):
            for _ in workers.map(decode, range(start, min(start + QUEUED, count))):
                bar.update()


def _decode(path: Path, sha256: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _lost(path)
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
    except OSError as error:
        raise _lost(path) from error
    if pixels.shape != shape or pixels.dtype != np.uint8:
        kind = "colour" if len(shape) == 3 else "grey"
        size = f"{shape[0]} x {shape[1]} pixels"
        raise UserError(f"{path}: is not {size} of 8-bit {kind}; run dataset_prep.py --overwrite")
    return pixels


def _lost(path: Path) -> UserError:
    return UserError(f"{path}: is lost, damaged or not the chip of manifest.csv; run dataset_prep.py --overwrite")
