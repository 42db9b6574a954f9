"""CIFAR-10 as published, in its binary version.

    cifar-10-batches-bin/data_batch_1.bin ... data_batch_5.bin, test_batch.bin   records without anything between them
    cifar-10-batches-bin/batches.meta.txt                                        the name of each label, a line each

A record is a byte with the label, then 3,072 bytes: the red, the green and the blue plane of 32 x 32 pixels, by rows
(https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version").
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from sarship.archives import Entry, Source
from sarship.chip import Chip
from sarship.command import UserError, log
from sarship.readers import EMPTY, Note, Rejected, check_classes, read_table
from sarship.readers.images import grey
from sarship.scene_sets import SceneSet, check

SIDE = 32
RECORD_BYTES = 1 + 3 * SIDE * SIDE
# A quarter of a batch: each part reads its whole file, some 30 ms, for a second's work on its records.
RECORDS_PER_PART = 2500

_NAMES = "batches.meta.txt"
_BATCH = re.compile(r"(data_batch_\d+|test_batch)\.bin")
_CLASS = re.compile("[A-Za-z0-9][A-Za-z0-9 _-]*")


@dataclass(frozen=True)
class CifarReader:
    """Images sorted by file and place in it; product is "train" or "test", as the data set was split by its owners.

    name: of the data set; bands: "rgb" or "grey"; known: what is expected of it.
    """

    name: str
    bands: str = "rgb"
    known: SceneSet | None = None

    def parts(self, source: Source) -> Iterator["RecordsPart"]:
        """Raises UserError if there are no batches, none of records, or nothing says what their labels mean."""
        batches = [entry for entry in source.entries() if _BATCH.fullmatch(PurePosixPath(entry.name).name)]
        if not batches:
            raise UserError(f"{source.name}: holds no data_batch_1.bin; give the binary version of CIFAR-10")
        classes = _class_names(source)
        records = [_records(source, entry) for entry in batches]
        for line in check(self.known, list(classes), sum(records), source.name):
            log(line)
        for entry, count in zip(batches, records, strict=True):
            for first in range(0, count, RECORDS_PER_PART):
                yield RecordsPart(source.part([entry]), first, classes, self)

    def finish(self, source: str, tally: Counter[str]) -> None:
        pass  # nothing had to be taken otherwise than it is written


@dataclass(frozen=True)
class RecordsPart:
    """RECORDS_PER_PART records of one file, from number `first`. classes: the names of the labels."""

    source: Source
    first: int
    classes: tuple[str, ...]
    reader: CifarReader

    def chips(self, tally: Counter[str]) -> Iterator[Chip | Rejected | Note]:
        """Raises UserError for a label without a name."""
        with self.source as source:
            (entry,) = source.entries()
            records = np.frombuffer(source.read(entry), np.uint8).reshape(-1, RECORD_BYTES)
            for number, record in enumerate(records[self.first :][:RECORDS_PER_PART], start=self.first):
                yield self._chip(f"{source.name}/{entry.name}", number, record)

    def _chip(self, file: str, number: int, record: np.ndarray) -> Chip | Rejected:
        label, planes = int(record[0]), record[1:].reshape(3, SIDE, SIDE)
        if label >= len(self.classes):
            raise UserError(f"{file}: record {number} has label {label}, {_NAMES} names {len(self.classes)}")
        pixels = np.ascontiguousarray(planes.transpose(1, 2, 0))  # (32, 32, 3)
        where = f"{file}#{number}"
        if (pixels == pixels[0, 0]).all():
            return Rejected(where, EMPTY)
        batch = PurePosixPath(file).stem
        return Chip(
            pixels=grey(pixels) if self.reader.bands == "grey" else pixels,
            name=f"{self.classes[label]}_{batch}_{number:05d}",
            dataset=self.reader.name,
            category=self.classes[label],
            subcategory="",
            vessel="",
            scene="",
            sensor=self.reader.known.sensor if self.reader.known else "",
            product="test" if batch == "test_batch" else "train",
            polarization="",
            row_spacing_m=math.nan,
            col_spacing_m=math.nan,
            length_m=math.nan,
            width_m=math.nan,
            source=where,
        )


def _class_names(source: Source) -> tuple[str, ...]:
    found = [entry for entry in source.entries() if PurePosixPath(entry.name).name == _NAMES]
    if not found:
        raise UserError(f"{source.name}: holds no {_NAMES}, which names the labels; get the archive again")
    lines = read_table(source, found[0]).splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    bad = next((name for name in names if not _CLASS.fullmatch(name)), None if names else "")
    if bad is not None:
        raise UserError(f"{source.name}/{found[0].name}: {bad!r} is no class name; get the archive again")
    check_classes(f"{source.name}/{found[0].name}", names)
    return names


def _records(source: Source, entry: Entry) -> int:
    if entry.size % RECORD_BYTES or not entry.size:
        where = f"{source.name}/{entry.name}"
        raise UserError(f"{where}: has {entry.size:,} bytes, which are no records of {RECORD_BYTES:,}; get it again")
    return entry.size // RECORD_BYTES
