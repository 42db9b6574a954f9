"""Chips on their way into a prepared folder: duplicates, names, counts, and their places when the split is known.

Of each chip only what the manifest says is kept, in columns: memory grows by half a kilobyte a chip.
"""

import os
import shutil
import sys
from array import array
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from sarship.command import log
from sarship.preparation import Outcome, Preparation, PreparedChip, Task
from sarship.prepared import MANIFEST_COLUMNS, write_manifest
from sarship.readers import UNREADABLE, Note, Rejected, UniqueNames

DUPLICATE, DUPLICATE_OTHER_CLASS = "duplicate", "duplicate of another class"

_COLUMNS = {"class_name": "class"}  # of PreparedChip, as the manifest calls them
_NUMBERS = {"row_spacing_m": "d", "col_spacing_m": "d", "length_m": "d", "width_m": "d", "rows": "l", "cols": "l"}
_OWN = ("chip", "source", "sha256", "file")  # text of which every chip has its own; other text comes again and again


class Staging:
    """Takes what became of each task, in order.

    left_out[dataset][reason] counts the chips that were not taken; taken counts the others.
    """

    def __init__(self, preparation: Preparation):
        self.left_out: dict[str, Counter] = {}
        self.taken = 0
        self._preparation = preparation
        self._names = UniqueNames()  # over all data sets: Mixed has chips of all
        self._class_by_pixels: dict[bytes, str] = {}
        self._columns = {name: array(_NUMBERS[name]) if name in _NUMBERS else [] for name in PreparedChip._fields}
        del self._columns["pixels_key"]

    @property
    def unreadable(self) -> int:
        """Chips that were left out because there was no reading them."""
        return sum(counts[UNREADABLE] for counts in self.left_out.values())

    def take(self, dataset: str, task: Task, outcome: Outcome) -> None:
        """Count, name and keep the chips of one task, and log what is to be said of them. Raises its error."""
        renamed = {}
        for place, item in enumerate(outcome.chips):
            if isinstance(item, Note):
                log(item.text)
            elif isinstance(item, Rejected):
                self._leave_out(dataset, item.reason)
                if item.reason == UNREADABLE:
                    log(f"skipped {item.source}: {item.detail or 'no readable chip'}")
            else:
                name = self._names.claim(item.chip)
                if self._is_new(item):
                    if name != item.chip and item.continued:
                        renamed[place] = name, self.taken
                    self._keep(item._replace(chip=name))
        if renamed:
            self._draw_again(task, renamed)
        if outcome.error:
            raise outcome.error

    def _is_new(self, chip: PreparedChip) -> bool:
        """Whether no chip of exactly the same pixels came before; counts it if one did."""
        first_class = self._class_by_pixels.setdefault(chip.pixels_key, sys.intern(chip.class_name))
        is_new = len(self._class_by_pixels) > self.taken
        if not is_new:
            self._leave_out(chip.dataset, DUPLICATE if first_class == chip.class_name else DUPLICATE_OTHER_CLASS)
        return is_new

    def _keep(self, chip: PreparedChip) -> None:
        self.taken += 1
        for name, column in self._columns.items():
            value = getattr(chip, name)
            column.append(sys.intern(value) if isinstance(value, str) and name not in _OWN else value)

    def _draw_again(self, task: Task, renamed: dict[int, tuple[str, int]]) -> None:
        """Chips whose name was taken, by place: under their own name, and the row in which they stand."""
        names = {place: name for place, (name, _) in renamed.items()}
        for place, chip in self._preparation.again(task, names):
            self._columns["sha256"][renamed[place][1]] = chip.sha256

    def _leave_out(self, dataset: str, reason: str) -> None:
        self.left_out.setdefault(dataset, Counter())[reason] += 1

    def chips(self) -> pd.DataFrame:
        """One row a chip, in the order of data set and chip name, whatever the order of reading; only once.

        Columns of the manifest but split, and continued and file.
        """
        columns = {_COLUMNS.get(name, name): column for name, column in self._columns.items()}
        columns |= {name: np.frombuffer(columns[name], columns[name].typecode) for name in _NUMBERS if self.taken}
        columns["sha256"] = [digest.hex() for digest in columns["sha256"]]
        order = [*(name for name in MANIFEST_COLUMNS if name != "split"), "continued", "file"]
        chips = pd.DataFrame(columns, columns=order)
        self._columns.clear()
        self._class_by_pixels.clear()
        return chips.sort_values(["dataset", "chip"], kind="stable", ignore_index=True)

    def move_into_place(self, chips: pd.DataFrame, prepared: Path) -> None:
        """Fill prepared/<Dataset>/ from rows with a column `split`: the chips at their places, and manifest.csv.

        The folder of the preparation is gone afterwards.
        """
        for dataset, rows in chips.groupby("dataset"):
            targets = _make_places(prepared / dataset, rows)
            for file, target in zip(rows["file"], targets, strict=True):
                os.rename(self._preparation.folder / file, target)  # noqa: PTH104  (Path makes an object of each)
            write_manifest(prepared / dataset / "manifest.csv", rows)
        shutil.rmtree(self._preparation.folder)


def mix(chips: pd.DataFrame, prepared: Path) -> None:
    """Make prepared/Mixed/ of all other sets: train joins train, val joins val, test joins test."""
    for dataset, rows in chips.groupby("dataset"):
        sources = _make_places(prepared / dataset, rows)
        for source, target in zip(sources, _make_places(prepared / "Mixed", rows), strict=True):
            _link_or_copy(source, target)
    write_manifest(prepared / "Mixed" / "manifest.csv", chips)


def _make_places(folder: Path, rows: pd.DataFrame) -> list[str]:
    """Where each chip lies in prepared/<Dataset>/; the folders are there."""
    places = {}
    for split, class_name in rows[["split", "class"]].drop_duplicates().itertuples(index=False):
        place = folder / split / class_name
        place.mkdir(parents=True, exist_ok=True)
        places[split, class_name] = place
    columns = (rows[name] for name in ("split", "class", "chip"))
    return [f"{places[split, name]}{os.sep}{chip}.png" for split, name, chip in zip(*columns, strict=True)]


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
