"""The samples folder, read: what networks train on, and what changes are injected into."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from sarship.change.conditions import Acquisition, acquisition_of
from sarship.change.samples import EARLIER
from sarship.command import UserError


@dataclass(frozen=True)
class Sample:
    """One newest image of a place and the four before it, oldest first; numbers of the area's acquisitions.

    place_index: of the place within its area.
    """

    name: str
    split: str
    place: str
    area: str
    place_index: int
    newest: int
    earlier: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples below `folder`. acquisitions: of each area, in the order of dates. places: names by split."""

    folder: Path
    samples: tuple[Sample, ...]
    acquisitions: Mapping[str, tuple[Acquisition, ...]] = field(repr=False)
    options: Mapping = field(repr=False)

    @property
    def patch(self) -> int:
        """Side of a place in pixels."""
        return self.options["patch"]

    def of_split(self, split: str) -> list[Sample]:
        return [each for each in self.samples if each.split == split]

    def acquisition(self, sample: Sample, number: int) -> Acquisition:
        return self.acquisitions[sample.area][number]

    def image(self, sample: Sample, number: int) -> np.ndarray:
        """(2, patch, patch) float32 VV and VH in dB: what the sample's place looked like in acquisition `number`."""
        return self._pixels[sample.area][sample.place_index, number].astype(np.float32)

    def earlier_images(self, sample: Sample) -> np.ndarray:
        """(4, 2, patch, patch) float32 dB, oldest first."""
        return self._pixels[sample.area][sample.place_index, list(sample.earlier)].astype(np.float32)

    def elevation(self, sample: Sample) -> np.ndarray:
        """(patch, patch) float32 metres."""
        return self._elevations[sample.area][sample.place_index]

    def cover(self, sample: Sample) -> np.ndarray:
        """(patch, patch) uint8, codes of `cover.COVERS`."""
        return self._covers[sample.area][sample.place_index]

    def corners(self) -> dict[str, tuple[int, int]]:
        """Row and column of each place's upper left pixel in its area."""
        return {row["place"]: (int(row["row"]), int(row["col"])) for row in _rows(self.folder / "places.csv")}

    def area_arrays(self, area: str) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (places, acquisitions, 2, patch, patch) in dB and cover (places, patch, patch) of an area, on disk."""
        return self._pixels[area], self._covers[area]

    def conditions(self, sample: Sample) -> list[Acquisition]:
        """Of the four earlier images, oldest first, then of the newest."""
        return [self.acquisition(sample, number) for number in (*sample.earlier, sample.newest)]

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that stand for pixels, conditions and splits."""
        digest = hashlib.sha256()
        for name in ("acquisitions.csv", "places.csv", "samples.csv", "pixels.sha256"):
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()[:12]

    @cached_property
    def _pixels(self) -> dict[str, np.ndarray]:
        return self._arrays("")

    @cached_property
    def _elevations(self) -> dict[str, np.ndarray]:
        return self._arrays(".elevation")

    @cached_property
    def _covers(self) -> dict[str, np.ndarray]:
        return self._arrays(".cover")

    def _arrays(self, suffix: str) -> dict[str, np.ndarray]:
        found = {}
        for area in self.acquisitions:
            path = self.folder / "pixels" / f"{area}{suffix}.npy"
            try:
                found[area] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise UserError(f"{path}: is missing or damaged; run detect_changes.py import --overwrite") from error
        return found


def read_samples(folder: Path) -> SampleSet:
    """The samples that `detect_changes.py import` wrote. Raises UserError if there are none or they are damaged."""
    if not (folder / "samples.csv").exists():
        raise UserError(f"{folder}: holds no samples; run detect_changes.py import")
    try:
        options = json.loads((folder / "options.json").read_text())
        acquisitions: dict[str, tuple[Acquisition, ...]] = {}
        for row in _rows(folder / "acquisitions.csv"):
            acquisitions[row["area"]] = (*acquisitions.get(row["area"], ()), acquisition_of(row, str(folder)))
        places, counts = {}, dict.fromkeys(acquisitions, 0)
        for row in _rows(folder / "places.csv"):
            places[row["place"]] = row["area"], counts[row["area"]]
            counts[row["area"]] += 1
        samples = tuple(_sample(row, *places[row["place"]]) for row in _rows(folder / "samples.csv"))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{folder}: is damaged ({error}); run detect_changes.py import --overwrite") from error
    return SampleSet(folder, samples, acquisitions, options)


def _rows(path: Path) -> Sequence[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _sample(row: dict, area: str, place_index: int) -> Sample:
    earlier = tuple(int(row[f"earlier_{index + 1}"]) for index in range(EARLIER))
    return Sample(row["sample"], row["split"], row["place"], area, place_index, int(row["newest"]), earlier)
