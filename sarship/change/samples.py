"""From series of areas to samples: places, dates, who trains and who tests. change/samples/, whole or absent.

A place is a square cut-out of an area; a sample is one image of it, the newest, with the four before. Train, val and
test have no place in common and no date either, earlier images included.
"""

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sarship.arrays import new_array
from sarship.change.conditions import Acquisition
from sarship.change.series import Area
from sarship.command import UserError, log
from sarship.files import whole_folder

EARLIER = 4  # images before the newest, as published
SPLITS = ("train", "val", "test")
SMALLEST_PATCH = 16


@dataclass(frozen=True)
class Cutting:
    """How areas are cut. patch: side of a place in pixels, a power of two from 16; gap: pixels between two places.

    test_weeks, val_weeks: how many of the last weeks test, and how many before these pick the epoch. test_share,
    val_share: of the places of an area. max_age_days: from a sample's earliest image to its newest.
    """

    patch: int
    gap: int
    test_weeks: float
    val_weeks: float
    test_share: float
    val_share: float
    max_age_days: float
    seed: int


@dataclass(frozen=True)
class Place:
    """A square of an area; row, col: of its upper left pixel."""

    name: str
    area: str
    row: int
    col: int
    split: str


def check_cutting(cutting: Cutting) -> None:
    """UserError for options that cannot be."""
    if cutting.patch < SMALLEST_PATCH or cutting.patch & (cutting.patch - 1):
        raise UserError(f"--patch {cutting.patch}: must be a power of two from {SMALLEST_PATCH}, as 64, 128 or 512")
    if cutting.gap < 0:
        raise UserError(f"--gap {cutting.gap}: must be 0 or more")
    shares = cutting.test_share, cutting.val_share
    if not (min(shares) > 0 and sum(shares) < 1):
        raise UserError("--test-share and --val-share must be above 0 and leave something to train on")
    if min(cutting.test_weeks, cutting.val_weeks) <= 0:
        raise UserError("--test-weeks and --val-weeks must be above 0")


def places_of(area: Area, cutting: Cutting) -> list[Place]:
    """The places of an area and who gets them.

    They are walked row by row, back and forth, from where the seed says; neighbours on this walk mostly share a split,
    so that few train places touch a test place. Raises UserError if the area is too small for one place of each split.
    """
    step = cutting.patch + cutting.gap
    rows = range(0, area.rows - cutting.patch + 1, step)
    cols = range(0, area.cols - cutting.patch + 1, step)
    corners = [(row, col) for i, row in enumerate(rows) for col in (cols if i % 2 == 0 else reversed(cols))]
    count = len(corners)
    if count < len(SPLITS):
        raise UserError(
            f"{area.folder}: has room for {count} places of {cutting.patch} x {cutting.patch} pixels, and needs three; "
            "choose a smaller --patch"
        )
    test = min(max(1, round(cutting.test_share * count)), count - 2)
    val = min(max(1, round(cutting.val_share * count)), count - test - 1)
    start = int(named_generator(cutting.seed, area.name).integers(count))
    splits = ["test"] * test + ["val"] * val + ["train"] * (count - test - val)
    splits = [splits[(i - start) % count] for i in range(count)]
    return [
        Place(f"{area.name}_r{row:05d}_c{col:05d}", area.name, row, col, split)
        for (row, col), split in sorted(zip(corners, splits, strict=True))
    ]


def named_generator(seed: int, text: str) -> np.random.Generator:
    """Random numbers that depend on a seed and a name, not on which others there are."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")])


def period_of(date: datetime, last: datetime, cutting: Cutting) -> str:
    """The split that a date belongs to; last: of all acquisitions of all areas."""
    test_from = last - timedelta(weeks=cutting.test_weeks)
    if date > test_from:
        return "test"
    return "val" if date > test_from - timedelta(weeks=cutting.val_weeks) else "train"


def samples_of(usable: Sequence[int], dates: Sequence[datetime], split: str, last: datetime, cutting: Cutting):
    """(newest, four earlier) for each sample of a place: numbers of acquisitions, of the earlier ones oldest first.

    usable: numbers of the acquisitions that the place has, in the order of dates. All five dates are in the split's own
    period. Yields (int, list of int).
    """
    own = [number for number in usable if period_of(dates[number], last, cutting) == split]
    for index in range(EARLIER, len(own)):
        newest, earlier = own[index], own[index - EARLIER : index]
        if dates[newest] - dates[earlier[0]] <= timedelta(days=cutting.max_age_days):
            yield newest, earlier


def cut(areas: Sequence[Area], cutting: Cutting, folder: Path, options: dict) -> dict[str, int]:
    """Write the samples of `areas` to `folder`; returns the number of samples by split.

    options: what made them, kept in options.json. Raises UserError if a split would have no sample.
    """
    last = max(each.date for area in areas for each in area.acquisitions)
    with whole_folder(folder) as written:
        (written / "pixels").mkdir()
        placed = [(area, places_of(area, cutting)) for area in areas]
        rows = [
            row
            for area, places in tqdm(placed, unit=" areas", disable=None)
            for row in _cut_area(area, places, cutting, last, written)
        ]
        counts = {split: sum(row["split"] == split for row in rows) for split in SPLITS}
        for split, count in counts.items():
            if not count:
                raise UserError(
                    f"no {split} sample: five usable images of one place within --max-age-days are needed in its "
                    "weeks; change --test-weeks or --val-weeks, or use a longer series"
                )
        _write_csv(written / "acquisitions.csv", [_acquisition_row(area, each) for area, each in _each(areas)])
        place_rows = [{"place": p.name, "area": p.area, "row": p.row, "col": p.col, "split": p.split}
                      for _, places in placed for p in places]  # fmt: skip
        _write_csv(written / "places.csv", place_rows)
        _write_csv(written / "samples.csv", rows)
        (written / "options.json").write_text(json.dumps(options, indent=1, sort_keys=True) + "\n")
        _write_digests(written)
    return counts


def _write_digests(folder: Path) -> None:
    """pixels.sha256, as sha256sum has it: what a fingerprint of the samples needs without reading gigabytes again."""
    lines = []
    for path in sorted((folder / "pixels").iterdir()):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  pixels/{path.name}\n")
    (folder / "pixels.sha256").write_text("".join(lines))


def _each(areas: Sequence[Area]):
    return ((area, each) for area in areas for each in area.acquisitions)


def _acquisition_row(area: Area, acquisition: Acquisition) -> dict:
    return {"area": area.name} | acquisition.row()


def _write_csv(path: Path, rows: Sequence[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _cut_area(area: Area, places: Sequence[Place], cutting: Cutting, last: datetime, folder: Path) -> list[dict]:
    """Write the pixels of an area's places; returns its rows of samples.csv.

    pixels/<area>.npy: (places, acquisitions, 2, patch, patch) float16 dB, in steps of 1/64 dB or finer, far below
    speckle; <area>.elevation.npy: (places, patch, patch) float32 m; <area>.cover.npy: the same in uint8.
    """
    pixels, elevation, cover = _pixel_paths(folder, area.name)
    shape = (len(places), len(area.acquisitions), 2, cutting.patch, cutting.patch)
    images = new_array(pixels, np.float16, shape)
    usable = np.zeros(shape[:2], bool)
    parts = [(slice(p.row, p.row + cutting.patch), slice(p.col, p.col + cutting.patch)) for p in places]
    for number, acquisition in enumerate(tqdm(area.acquisitions, unit=" images", leave=False, disable=None)):
        whole = area.image(acquisition)
        holes = ~np.isfinite(whole).all(axis=0)
        stored = whole.astype(np.float16)
        for index, part in enumerate(parts):
            usable[index, number] = not holes[part].any()
            images[index, number] = stored[:, *part]
    images.flush()
    heights, covers = area.elevation(), area.cover()
    np.save(elevation, np.stack([heights[part] for part in parts]))
    np.save(cover, np.stack([covers[part] for part in parts]))
    without_elevation = [not np.isfinite(heights[part]).all() for part in parts]
    usable[without_elevation] = False
    _say_holes(area, usable, sum(without_elevation))
    dates = [each.date for each in area.acquisitions]
    return [
        _sample_row(place, newest, earlier, area)
        for index, place in enumerate(places)
        for newest, earlier in samples_of(np.flatnonzero(usable[index]).tolist(), dates, place.split, last, cutting)
    ]


def _pixel_paths(folder: Path, area: str) -> tuple[Path, Path, Path]:
    return tuple(folder / "pixels" / f"{area}{suffix}.npy" for suffix in ("", ".elevation", ".cover"))


def _say_holes(area: Area, usable: np.ndarray, without_elevation: int) -> None:
    if without_elevation:
        log(f"{area.folder}: {without_elevation} of {len(usable)} places have holes in their elevation; left out")
    holes = int((~usable).sum()) - without_elevation * usable.shape[1]
    if holes:
        log(f"{area.folder}: {holes} of {usable.size} images of a place have no-data in them; left out of samples")


def _sample_row(place: Place, newest: int, earlier: Sequence[int], area: Area) -> dict:
    date = area.acquisitions[newest].date
    numbers = {f"earlier_{index + 1}": number for index, number in enumerate(earlier)}
    name = f"{place.name}_{date:%Y%m%dT%H%M}"
    return {"sample": name, "split": place.split, "place": place.name, "newest": newest} | numbers
