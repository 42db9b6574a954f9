"""Decoded chips of a prepared data set, in one memory-mapped file: each PNG is decoded once, for all runs and commands.

cache/<Dataset>-<size>-<fingerprint>.npy   (chips, size, size) uint8, in the order of manifest.csv; colour: (..., 3)

The fingerprint is the manifest's, which names every chip by its SHA-256, and each chip is held against it when it is
decoded: the file cannot be stale. It ends with a checksum, and is made again if that is wrong. Processes that build it
at once each write their own and rename it; the last stays. The folder can be removed at any time.
"""

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from sarship.arrays import new_array, seal, sealed_array
from sarship.command import UserError, log
from sarship.files import remove_leftovers, whole_file
from sarship.pool import available_cores


def decoded_chips(
    cache: Path, dataset: str, fingerprint: str, paths: Sequence[Path], sha256: Sequence[str]
) -> np.ndarray:
    """The chips at `paths`, (chips, size, size[, 3]) uint8, from the file below `cache`, made if it is not there.

    fingerprint: of the manifest. sha256: of each PNG file. Writing into the array changes no file.
    Raises UserError for a chip that is lost, damaged, not the manifest's or of another shape than the first.
    """
    shape = (len(paths), *chip_shape(paths[0]))
    path = cache / f"{dataset}-{shape[1]}-{fingerprint[:16]}.npy"
    chips = _mapped(path, shape)
    if chips is None:
        _build(path, shape, paths, sha256)
        for stale in cache.glob(f"{dataset}-*-*.npy"):
            if stale != path:
                stale.unlink(missing_ok=True)
        chips = _mapped(path, shape)
    return chips


def chip_shape(path: Path) -> tuple[int, ...]:
    """(size, size) of a prepared grey chip, (size, size, 3) of a colour one. Raises UserError if lost or damaged."""
    try:
        with Image.open(path) as image:
            return (image.size[0], image.size[0], *([3] if image.mode == "RGB" else []))
    except OSError as error:
        raise _lost(path) from error


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array in a file; None if there is none, or it is not as it was written."""
    try:
        chips = sealed_array(path, np.uint8, shape)
    except FileNotFoundError:
        return None
    if chips is None:
        log(f"{path}: is damaged and is made again")
    return chips


def _build(path: Path, shape: tuple[int, ...], paths: Sequence[Path], sha256: Sequence[str]) -> None:
    remove_leftovers(path.parent)
    with whole_file(path) as file:
        chips = new_array(file, np.uint8, shape)

        def decode(place: int) -> None:
            chips[place] = _decode(paths[place], sha256[place], shape[1:])

        # Threads will do: reading, hashing and inflating let go of the interpreter.
        with ThreadPoolExecutor(available_cores()) as workers:
            done = workers.map(decode, range(len(paths)))
            for _ in tqdm(
                done, desc=f"decode {paths[0].parents[2].name}", total=len(paths), unit=" chips", disable=None
            ):
                pass
        chips.flush()
        seal(file)


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
