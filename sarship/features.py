"""What frozen backbones make of chips, computed once and kept on disk for all runs, seeds and commands.

cache/features-<key>.sqlite   one file a backbone: chip and flip -> pooled features, to the bit

The key stands for all that decides the features: weights, buffers and input scaling of the backbone, device, precision
and version of PyTorch; a chip is known by its pixels. So a chip of `Fusar` is not computed again as one of `Mixed`, and
nothing can be stale; each row has a checksum. Two processes may fill one file at once. The folder can be removed at any
time.

In use, features are in memory, or where they are many in another file, which has no name and is gone with its process:
there an epoch finds them in any order by their place alone.
"""

import hashlib
import math
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sarship.augment import apply_flips
from sarship.batches import Features, HeldFeatures, StreamedFeatures
from sarship.command import UserError, log
from sarship.device import Device, to_float
from sarship.files import writable_folder
from sarship.stored_chips import Chips, open_rows

LARGEST_BYTES = 20 * 2**30  # of all features; beyond it, the backbone that was asked for longest ago goes
HELD_BYTES = 2**30  # of the features of one set that are asked for; more of them stay on the disk
CHIPS_PER_COMMIT = 512  # each commit waits for the disk
FORM = 2  # of the files; the second has checksums
WAIT_SECONDS = 600  # for another process that writes


class FeatureStore:
    """Pooled features by backbone. folder: where the files lie; None keeps nothing beyond one call."""

    def __init__(self, folder: Path | None):
        self._folder = folder

    def features(self, network: nn.Module, pixels: Chips, flips: Sequence[int], device: Device) -> Features:
        """Pooled features (flips, chips, ...) of pixels (chips, rows, cols[, 3]) uint8, mirrored by each of `flips`.

        network: a ShipNetwork whose backbone is constant, in evaluation mode. Raises UserError where the folder cannot
        be written or the disk is full.
        """
        return self._through(network, device, lambda file: self._read(file, network, pixels, flips, device))

    def fill(self, network: nn.Module, pixels: Chips, flips: Sequence[int], device: Device) -> None:
        """Have the features of those chips in the folder, if there is one, for whoever asks for them next."""
        if self._folder is not None:
            self._through(network, device, lambda file: _complete(file, network, pixels, flips, device))

    def _through(self, network: nn.Module, device: Device, use: Callable[[sqlite3.Connection], Any]) -> Any:
        """What `use` makes of the backbone's file."""
        if self._folder is None:
            with _opened(":memory:") as file:
                return use(file)
        path = writable_folder(self._folder) / f"features-{backbone_key(network, device)}.sqlite"
        try:
            used = _used(path, use)
        except (sqlite3.OperationalError, OSError) as error:
            why = getattr(error, "strerror", None) or error
            raise UserError(f"{path}: cannot be used ({why}); make room, or remove the folder") from error
        path.touch()
        _forget_oldest(self._folder)
        return used

    def _read(self, file: sqlite3.Connection, network, pixels: Chips, flips: Sequence[int], device: Device) -> Features:
        chips = _complete(file, network, pixels, flips, device)
        dtype, chip_shape = _form(file)
        shape = (len(flips), len(chips), *chip_shape)
        row_bytes = math.prod(chip_shape) * dtype.itemsize
        rows = _rows(file, chips, flips, row_bytes)
        if self._folder is None or len(flips) * len(chips) * row_bytes <= HELD_BYTES:
            values = torch.empty(shape, dtype=dtype)
            places = values.view(torch.uint8).view(-1, row_bytes).numpy()
            for place, row in zip(places, rows, strict=True):  # one by one: of a large set, even twice is much
                place[:] = np.frombuffer(row, np.uint8)
            return HeldFeatures(values.to(device.name))
        with tempfile.TemporaryFile(dir=self._folder) as copy:
            copy.writelines(rows)
            there = open_rows(copy, self._folder, (len(flips) * len(chips), row_bytes))
        return StreamedFeatures(there, dtype, shape, device)


def _used(path: Path, use: Callable[[sqlite3.Connection], Any]) -> Any:
    """What `use` makes of the file, which is made again if it is damaged."""
    try:
        with _opened(path) as file:
            return use(file)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        log(f"{path}: is damaged ({error}) and is made again")
        path.unlink()
        with _opened(path) as file:
            return use(file)


@contextmanager
def _opened(path: Path | str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as file:
        file.execute(
            "CREATE TABLE IF NOT EXISTS features (chip BLOB, flip INT, data BLOB, crc INT, UNIQUE (chip, flip))"
        )
        file.execute("CREATE TABLE IF NOT EXISTS form (dtype TEXT, shape TEXT)")
        yield file


def chip_keys(pixels: Chips) -> list[bytes]:
    """SHA-256 of each of (chips, rows, cols[, 3]) uint8: chips with the same one are the same to any network."""
    return [hashlib.sha256(np.ascontiguousarray(chip)).digest() for chip in pixels]


def backbone_key(network: nn.Module, device: Device) -> str:
    """Sixteen hexadecimal digits for the form of the file and everything that decides pooled features but the chips."""
    layers = f"{network.features} {network.classifier[0]}"
    digest = hashlib.sha256(f"{FORM} {torch.__version__} {device.name} {device.autocast_dtype} {layers}".encode())
    for name, value in network.state_dict().items():
        if not name.startswith("classifier."):
            digest.update(name.encode())
            digest.update(_to_bytes(value))
    return digest.hexdigest()[:16]


def _complete(file: sqlite3.Connection, network, pixels: Chips, flips: Sequence[int], device: Device) -> list[bytes]:
    """Put the features of those chips into the file that are not there yet; returns the keys of all."""
    chips = chip_keys(pixels)
    for flip in flips:
        _complete_flip(file, network, pixels, chips, flip, device)
    return chips


def _complete_flip(file: sqlite3.Connection, network, pixels, chips: list[bytes], flip: int, device: Device) -> None:
    known = {chip for (chip,) in file.execute("SELECT chip FROM features WHERE flip = ?", (flip,))}
    missing = [index for index, chip in enumerate(chips) if chip not in known]
    at_once = device.chips_at_once(pixels.shape[1] * pixels.shape[2])
    done = 0
    with tqdm(total=len(missing), desc="frozen backbone", unit=" chips", leave=False, disable=None) as bar:
        for start in range(0, len(missing), at_once):
            batch = missing[start : start + at_once]
            values = pooled(network, torch.from_numpy(pixels[batch]), flip, device).cpu()
            _write(file, [chips[index] for index in batch], flip, values)
            if done // CHIPS_PER_COMMIT < (done := done + len(batch)) // CHIPS_PER_COMMIT:
                file.commit()
            device.profile.count(len(batch), network.features, (3, *pixels.shape[1:3]), backward=False)
            bar.update(len(batch))
    file.commit()


@torch.no_grad()
def pooled(network: nn.Module, pixels: Tensor, flip: int, device: Device) -> Tensor:
    """Pooled features (chips, ...), on the device, of pixels (chips, rows, cols[, 3]) uint8, all mirrored by `flip`."""
    chips = apply_flips(to_float(pixels.to(device.name)), torch.full((len(pixels),), flip))
    with device.autocast():
        return network.pooled_features(chips)


def _write(file: sqlite3.Connection, chips: list[bytes], flip: int, values: Tensor) -> None:
    if not file.execute("SELECT 1 FROM form").fetchone():
        form = (str(values.dtype).removeprefix("torch."), " ".join(map(str, values.shape[1:])))
        file.execute("INSERT INTO form VALUES (?, ?)", form)
    blobs = map(_to_bytes, values)
    rows = [(chip, flip, data, zlib.crc32(data)) for chip, data in zip(chips, blobs, strict=True)]
    file.executemany("INSERT OR IGNORE INTO features VALUES (?, ?, ?, ?)", rows)


def _form(file: sqlite3.Connection) -> tuple[torch.dtype, tuple[int, ...]]:
    """Type and shape of the features of one chip."""
    dtype, shape = file.execute("SELECT dtype, shape FROM form").fetchone()
    return getattr(torch, dtype), tuple(map(int, shape.split()))


def _rows(file: sqlite3.Connection, chips: list[bytes], flips: Sequence[int], row_bytes: int) -> Iterator[bytes]:
    """The features of all chips for the first flip, then the next. Raises sqlite3.DatabaseError if one is damaged."""
    wanted = "SELECT data, crc FROM features WHERE chip = ? AND flip = ?"
    for flip, chip in product(flips, chips):
        data, crc = file.execute(wanted, (chip, flip)).fetchone() or (b"", None)
        if zlib.crc32(data) != crc or len(data) != row_bytes:
            raise sqlite3.DatabaseError("a checksum is wrong")
        yield data


def _to_bytes(values: Tensor) -> bytes:
    return values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _forget_oldest(folder: Path) -> None:
    """Remove the files that were asked for longest ago, until all of them together have LARGEST_BYTES at most."""
    files = sorted(folder.glob("features-*.sqlite"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > LARGEST_BYTES and path is not files[0]:
            path.unlink()
