"""From chips to a prepared folder: each chip is written as soon as it is read, and put in its split at the end.

Nothing but one record a chip is kept in memory, so memory does not grow with the pixels of an archive.
"""

import hashlib
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sarship.chip import Chip, sigma0_to_uint8
from sarship.geometry import chip_size, is_smaller, metric_chip, resized_chip
from sarship.prepared import MANIFEST_COLUMNS, chip_path, write_manifest

PUBLISHED_SIZE = 224  # pixels per side of --geometry chip: what VGG16 and ResNet50 were made for
DUPLICATE, DUPLICATE_OTHER_CLASS = "duplicate", "duplicate of another class"


@dataclass(frozen=True)
class Geometry:
    """How chips become one size. method: "metric" or "chip"; extent_m, spacing_m: of metric chips; seed: of the sea."""

    method: str
    extent_m: float
    spacing_m: float
    seed: int

    @property
    def image_size(self) -> int:
        return chip_size(self.extent_m, self.spacing_m) if self.method == "metric" else PUBLISHED_SIZE

    def continues_sea(self, chip: Chip) -> bool:
        """Whether the chip is smaller than the extent, so that its sea is continued."""
        return self.method == "metric" and is_smaller(chip.pixels.shape, _spacing_m(chip), self.extent_m)

    def apply(self, chip: Chip) -> np.ndarray:
        """The chip's pixels, (image_size, image_size) uint8."""
        pixels = chip.pixels if chip.pixels.dtype == np.uint8 else sigma0_to_uint8(chip.pixels)
        if self.method == "chip":
            return resized_chip(pixels, self.image_size)
        own_seed = int.from_bytes(hashlib.sha256(f"{self.seed} {chip.name}".encode()).digest()[:8])
        return metric_chip(pixels, _spacing_m(chip), self.extent_m, self.spacing_m, own_seed)


def _spacing_m(chip: Chip) -> tuple[float, float]:
    return chip.row_spacing_m, chip.col_spacing_m


@dataclass
class Staging:
    """Chips on their way into a prepared folder: PNG files in `folder`, a record each, and counts of the rest.

    left_out[dataset][reason] counts the chips that were not taken.
    """

    folder: Path
    geometry: Geometry
    records: list[dict] = field(default_factory=list)
    left_out: dict[str, Counter] = field(default_factory=dict)
    _class_by_pixels: dict[str, str] = field(default_factory=dict)

    def leave_out(self, dataset: str, reason: str) -> None:
        self.left_out.setdefault(dataset, Counter())[reason] += 1

    def add(self, chip: Chip, class_name: str) -> None:
        """Write the chip, unless one of exactly the same pixels is there already."""
        pixels_key = chip.fingerprint()
        first_class = self._class_by_pixels.get(pixels_key)
        if first_class is not None:
            self.leave_out(chip.dataset, DUPLICATE if first_class == class_name else DUPLICATE_OTHER_CLASS)
            return
        self._class_by_pixels[pixels_key] = class_name
        path = self._staged(chip.dataset, chip.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.geometry.apply(chip)).save(path)
        rows, cols = chip.pixels.shape
        self.records.append(
            {
                "chip": chip.name,
                "dataset": chip.dataset,
                "class": class_name,
                "subclass": chip.subcategory,
                "vessel": chip.vessel,
                "scene": chip.scene,
                "sensor": chip.sensor,
                "product": chip.product,
                "polarization": chip.polarization,
                "row_spacing_m": chip.row_spacing_m,
                "col_spacing_m": chip.col_spacing_m,
                "length_m": chip.length_m,
                "width_m": chip.width_m,
                "rows": rows,
                "cols": cols,
                "source": chip.source,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "continued": self.geometry.continues_sea(chip),
            }
        )

    def chips(self) -> pd.DataFrame:
        """One row a chip, in the order of data set and chip name, whatever the order of reading."""
        columns = [*MANIFEST_COLUMNS, "continued"]
        chips = pd.DataFrame(self.records, columns=[column for column in columns if column != "split"])
        return chips.sort_values(["dataset", "chip"], kind="stable", ignore_index=True)

    def move_into_place(self, chips: pd.DataFrame, prepared: Path) -> None:
        """Fill prepared/<Dataset>/ from rows with a column `split`: the chips at their places, and manifest.csv.

        The staging folder is gone afterwards.
        """
        for dataset, rows in chips.groupby("dataset"):
            for _, row in rows.iterrows():
                target = chip_path(prepared / dataset, row)
                target.parent.mkdir(parents=True, exist_ok=True)
                self._staged(dataset, row["chip"]).rename(target)
            write_manifest(prepared / dataset / "manifest.csv", rows)
        shutil.rmtree(self.folder)

    def _staged(self, dataset: str, name: str) -> Path:
        return self.folder / dataset / f"{name}.png"


def mix(chips: pd.DataFrame, prepared: Path) -> None:
    """Make prepared/Mixed/ of all other sets: train joins train, val joins val, test joins test."""
    for _, row in chips.iterrows():
        target = chip_path(prepared / "Mixed", row)
        target.parent.mkdir(parents=True, exist_ok=True)
        _link_or_copy(chip_path(prepared / row["dataset"], row), target)
    write_manifest(prepared / "Mixed" / "manifest.csv", chips)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
