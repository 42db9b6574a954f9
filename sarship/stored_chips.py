"""Chips that stay in their file: an array to whoever indexes it, and never more memory than what was asked for.

A memory map of the same file would do, but for one thing: every page that was once touched counts as memory of the
process, so that after one epoch the whole set is resident. Here chips are read by `preadv`, those that follow one
another in one call. It takes the place from its caller, so threads and forked processes may share the handle.
"""

import os
import weakref
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sarship.arrays import sealed_start
from sarship.command import UserError

BLOCK_BYTES = 1 << 22  # of chips that are read at once where somebody wants all of them, one after the other


class StoredChips:
    """Some chips, in some order, of one file or of several sources end to end: (chips, rows, cols[, 3]) uint8.

    Indexed along its first axis, by whatever an array can be indexed by, it gives a new array that is the caller's own.
    `chosen` and `joined` read nothing.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, sources: Sequence["_File | _Array"], rows: np.ndarray):
        """rows: (chips,) numbers of the chips, counted through all sources, which have one chip shape."""
        self._sources, self._rows = tuple(sources), rows
        self._ends = np.cumsum([len(source) for source in self._sources])

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), *self._sources[0].chip_shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Of all chips, were they read."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index) -> np.ndarray:
        """The chips of an index, as NumPy has it; of several indices, the first has to be a slice.

        Raises IndexError, and UserError if the file was cut meanwhile.
        """
        if isinstance(index, tuple) and len(index) > 1:
            if not isinstance(index[0], slice):
                raise IndexError("of stored chips, the first of several indices has to be a slice")
            return self[index[0]][(slice(None), *index[1:])]
        rows = np.asarray(self._rows[index])
        chips = np.empty((rows.size, *self.shape[1:]), np.uint8)
        self._read(rows.ravel(), chips)
        return chips.reshape(*rows.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks(max(1, BLOCK_BYTES * len(self) // max(1, self.nbytes))):
            yield from block

    def __array__(self, dtype=None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("chips in a file cannot become an array without being read")
        return self[:].astype(dtype or np.uint8, copy=False)

    def blocks(self, count: int) -> Iterator[np.ndarray]:
        """All chips in their order, `count` at once."""
        for start in range(0, len(self), count):
            yield self[start : start + count]

    def read_into(self, index: np.ndarray, chips: np.ndarray) -> None:
        """Read the chips with indices `index` (n,) into `chips` (n, rows, cols[, 3]) uint8, one block of memory."""
        self._read(self._rows[index], chips)

    def chosen(self, index) -> "StoredChips":
        """Those chips of an index; a mask, a slice or (n,) indices."""
        return StoredChips(self._sources, self._rows[index])

    def _read(self, rows: np.ndarray, chips: np.ndarray) -> None:
        sources = np.searchsorted(self._ends, rows, side="right")
        is_first = (np.diff(rows) != 1) | (np.diff(sources) != 0)  # of chips that follow one another
        starts = [0, *(np.flatnonzero(is_first) + 1).tolist(), len(rows)] if len(rows) else [0]
        for start, stop in pairwise(starts):
            source = self._sources[sources[start]]
            begin = self._ends[sources[start]] - len(source)
            source.read(int(rows[start] - begin), chips[start:stop])


class _File:
    """Chips of a file that is open, which they are as long as somebody holds this."""

    def __init__(self, path: Path, handle: int, start: int, shape: tuple[int, ...]):
        """start: where the first chip begins, in bytes. shape: (chips, rows, cols[, 3])."""
        self._path, self._handle, self._start, self._shape = path, handle, start, shape
        self.chip_shape = shape[1:]
        self._chip_bytes = int(np.prod(shape[1:], dtype=np.int64))
        weakref.finalize(self, os.close, handle)

    def __len__(self) -> int:
        return self._shape[0]

    def __reduce__(self):
        return _opened_again, (self._path, self._start, self._shape)

    def read(self, first: int, chips: np.ndarray) -> None:
        """Fill `chips` with those from number `first` on."""
        memory, place = memoryview(chips).cast("B"), self._start + first * self._chip_bytes
        while memory:
            try:
                count = os.preadv(self._handle, [memory], place)
            except OSError as error:
                raise UserError(f"{self._path}: cannot be read ({error.strerror}); start the command again") from error
            if not count:
                raise UserError(f"{self._path}: was cut while it was in use; start the command again")
            memory, place = memory[count:], place + count


class _Array:
    """Chips that are in memory."""

    def __init__(self, chips: np.ndarray):
        self._chips, self.chip_shape = chips, chips.shape[1:]

    def __len__(self) -> int:
        return len(self._chips)

    def read(self, first: int, chips: np.ndarray) -> None:
        chips[:] = self._chips[first : first + len(chips)]


Chips = np.ndarray | StoredChips  # what a function takes that indexes chips, or goes through them


def open_chips(path: Path, shape: tuple[int, ...]) -> StoredChips | None:
    """The chips of a sealed file (see arrays.py); None if it is not just what was written.

    Raises FileNotFoundError. A file that takes its place later changes nothing: the one that was checked stays open.
    """
    with path.open("rb") as file:
        start = sealed_start(file, np.dtype(np.uint8), shape)
        if start is None:
            return None
        return open_rows(file, path, shape, start)


def open_rows(file: BinaryIO, path: Path, shape: tuple[int, ...], start: int = 0) -> StoredChips:
    """What an open file holds from byte `start` on, (rows, ...) uint8. It stays open for them. path: for messages."""
    file.flush()
    return StoredChips([_File(path, os.dup(file.fileno()), start, shape)], np.arange(shape[0]))


def joined(parts: Sequence[StoredChips | np.ndarray]) -> StoredChips:
    """Chips of several sets of one shape, end to end. Arrays stay where they are."""
    stored = [part if isinstance(part, StoredChips) else _of_array(part) for part in parts]
    sources = [source for part in stored for source in part._sources]
    before = np.cumsum([0, *(part._ends[-1] for part in stored)])
    return StoredChips(sources, np.concatenate([part._rows + n for part, n in zip(stored, before, strict=False)]))


def _of_array(chips: np.ndarray) -> StoredChips:
    return StoredChips([_Array(chips)], np.arange(len(chips)))


def _opened_again(path: Path, start: int, shape: tuple[int, ...]) -> _File:
    """In another process, which got the chips pickled."""
    try:
        return _File(path, os.open(path, os.O_RDONLY), start, shape)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); start the command again") from error
