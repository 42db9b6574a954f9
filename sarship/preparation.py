"""What is done to every chip, in any process: read, brought to one size, and written as PNG into a folder.

A worker sends back what the manifest says of each chip and never pixels, so memory does not grow with an archive.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np

from sarship.chip import Chip, sigma0_to_uint8
from sarship.command import UserError
from sarship.geometry import chip_size, is_smaller, metric_chip, resized_chip
from sarship.readers import Note, Part, Rejected, fields, safe_name

PUBLISHED_SIZE = 224  # pixels per side of --geometry chip for ships: what VGG16 and ResNet50 were made for
# Speckle never repeats itself, so looking for repetitions costs nine tenths of the time and makes files larger: codes
# by frequency only, of the difference to the mean of both neighbours (filter "average").
PNG = {"level": 1, "strategy": imagecodecs.PNG.STRATEGY.HUFFMAN_ONLY, "filter": imagecodecs.PNG.FILTER.AVG}

KEY_BYTES = 16  # of a chip's fingerprint: with 128 bits, no two chips of any archive have the same by chance


@dataclass(frozen=True)
class Geometry:
    """How chips become one size. method: "metric" or "chip"; extent_m, spacing_m: of metric chips; seed: of the sea.

    resized_to: pixels per side of chips that are resized as they are ("chip").
    """

    method: str
    extent_m: float
    spacing_m: float
    seed: int
    resized_to: int = PUBLISHED_SIZE

    @property
    def image_size(self) -> int:
        return chip_size(self.extent_m, self.spacing_m) if self.method == "metric" else self.resized_to

    def continues_sea(self, chip: Chip) -> bool:
        """Whether the chip is smaller than the extent, so that its sea is continued."""
        return self.method == "metric" and is_smaller(chip.pixels.shape, _spacing_m(chip), self.extent_m)

    def apply(self, chip: Chip, name: str) -> np.ndarray:
        """The chip's pixels, (image_size, image_size[, 3]) uint8; what is drawn for its sea hangs on `name`."""
        pixels = chip.pixels if chip.pixels.dtype == np.uint8 else sigma0_to_uint8(chip.pixels)
        if self.method == "chip":
            return resized_chip(pixels, self.image_size)
        own_seed = int.from_bytes(hashlib.sha256(f"{self.seed} {name}".encode()).digest()[:8])
        return metric_chip(pixels, _spacing_m(chip), self.extent_m, self.spacing_m, own_seed)


def _spacing_m(chip: Chip) -> tuple[float, float]:
    return chip.row_spacing_m, chip.col_spacing_m


def _cell(value: str | float) -> str | float:
    return fields.cell(value) if isinstance(value, str) else value


class PreparedChip(NamedTuple):
    """A chip that is written. The first columns are those of the manifest, all text fit for a table; `chip` is not yet
    unique.

    sha256: of the PNG file; continued: whether its sea was; pixels_key: the same for exact duplicates only;
    file: its name in the folder.
    """

    chip: str
    dataset: str
    class_name: str
    subclass: str
    vessel: str
    scene: str
    sensor: str
    product: str
    polarization: str
    row_spacing_m: float
    col_spacing_m: float
    length_m: float
    width_m: float
    rows: int
    cols: int
    source: str
    sha256: bytes
    continued: bool
    pixels_key: bytes
    file: str


_TAKEN_OVER = [column for column in PreparedChip._fields if column in Chip.__dataclass_fields__]


@dataclass(frozen=True)
class Task:
    """A part of a source to prepare. number: no two tasks have the same."""

    number: int
    part: Part


@dataclass
class Outcome:
    """What became of a part: its chips in order, and the error that ended it before its end, if any.

    tally, declared: see readers.Part and archives.Source.
    """

    chips: list[PreparedChip | Rejected | Note] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    declared: dict[str, int] = field(default_factory=dict)
    error: UserError | None = None


@dataclass(frozen=True)
class Preparation:
    """A function of tasks. class_of: the class of a (data set, category, subcategory).

    names_dataset: whether the data set is part of a chip's name, so that no two sets share one.
    """

    folder: Path
    geometry: Geometry
    class_of: Callable[[str, str, str], str]
    names_dataset: bool = False

    def __call__(self, task: Task) -> Outcome:
        outcome = Outcome()
        try:
            for place, item in enumerate(task.part.chips(outcome.tally)):
                is_chip = isinstance(item, Chip)
                outcome.chips.append(self._prepare(item, self._name(item), task, place) if is_chip else item)
        except UserError as error:
            outcome.error = error
        outcome.declared = task.part.source.declared
        return outcome

    def again(self, task: Task, names: Mapping[int, str]) -> Iterator[tuple[int, PreparedChip]]:
        """The chips at some places of a task under other names: what is drawn for their sea hangs on those."""
        for place, item in enumerate(islice(task.part.chips(Counter()), max(names) + 1)):
            if place in names:
                yield place, self._prepare(item, names[place], task, place)

    def _name(self, chip: Chip) -> str:
        return safe_name(f"{chip.dataset}_{chip.name}" if self.names_dataset else chip.name)

    def _prepare(self, chip: Chip, name: str, task: Task, place: int) -> PreparedChip:
        file = f"{task.number}-{place}.png"
        png = imagecodecs.png_encode(self.geometry.apply(chip, name), **PNG)
        (self.folder / file).write_bytes(png)
        rows, cols = chip.pixels.shape[:2]
        return PreparedChip(
            **{column: _cell(getattr(chip, column)) for column in _TAKEN_OVER},
            chip=name,
            class_name=self.class_of(chip.dataset, chip.category, chip.subcategory),
            subclass=fields.cell(chip.subcategory),
            rows=rows,
            cols=cols,
            sha256=hashlib.sha256(png).digest(),
            continued=self.geometry.continues_sea(chip),
            pixels_key=bytes.fromhex(chip.fingerprint())[:KEY_BYTES],
            file=file,
        )
