"""Under which conditions an image was acquired: acquisitions.csv, and the vector that the network gets.

The conditions are those of Alatalo, Sipola and Rantonen, IEEE TGRS 61, 2023: temperature, snow depth, precipitation of
four days, incidence angle, orbit direction and satellite. Theirs are nine numbers an image; here a satellite is one of
four, not one of two, so that it is twelve, and 60 for four earlier images and the newest.
"""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sarship.command import UserError
from sarship.files import whole_file

ORBITS = ("ascending", "descending")
SATELLITES = ("S1A", "S1B", "S1C", "S1D")
RAIN_DAYS = 4
_RAIN_COLUMNS = tuple(f"precipitation_{day}d_mm" for day in range(1, RAIN_DAYS + 1))
COLUMNS = (
    "file", "date", "orbit", "satellite", "incidence_angle_deg", "temperature_c", "snow_depth_cm", *_RAIN_COLUMNS,
)  # fmt: skip
# Places in an image's vector of each condition that can be left out.
FEATURES = {
    "temperature": slice(0, 1),
    "snow": slice(1, 2),
    "precipitation": slice(2, 2 + RAIN_DAYS),
    "incidence": slice(6, 7),
    "orbit": slice(7, 8),
    "satellite": slice(8, 12),
}
VECTOR_LENGTH = 12
WEATHER = ("temperature", "snow", "precipitation")
# What is believed of each number; a value outside is a mistake of units (kelvin, metres of snow) more often than not.
_RANGES = {
    "incidence_angle_deg": (15, 60),
    "temperature_c": (-70, 60),
    "snow_depth_cm": (0, 1500),
    **dict.fromkeys(_RAIN_COLUMNS, (0, 2000)),
}


@dataclass(frozen=True)
class Acquisition:
    """One image and its conditions.

    file: path of the GeoTIFF, relative to acquisitions.csv. date: UTC. orbit: one of ORBITS. satellite: one of
    SATELLITES. incidence_angle_deg: at the centre of the area. temperature_c: at the time. precipitation_mm: of the
    24 hours before, of those before them, and so on for RAIN_DAYS days.
    """

    file: str
    date: datetime
    orbit: str
    satellite: str
    incidence_angle_deg: float
    temperature_c: float
    snow_depth_cm: float
    precipitation_mm: tuple[float, ...]

    def vector(self) -> np.ndarray:
        """(12,) float32 in the order of FEATURES: degrees Celsius, cm, mm, degrees, -1 or 1 for the orbit, 1 for the
        satellite that it was and 0 for the others."""
        orbit = 2 * ORBITS.index(self.orbit) - 1
        satellite = [float(self.satellite == each) for each in SATELLITES]
        numbers = (self.temperature_c, self.snow_depth_cm, *self.precipitation_mm, self.incidence_angle_deg)
        return np.array([*numbers, orbit, *satellite], np.float32)

    def row(self) -> dict[str, str]:
        """Cells of acquisitions.csv."""
        rain = {name: f"{value:.1f}" for name, value in zip(_RAIN_COLUMNS, self.precipitation_mm, strict=True)}
        return {
            "file": self.file,
            "date": f"{self.date:%Y-%m-%dT%H:%M}",
            "orbit": self.orbit,
            "satellite": self.satellite,
            "incidence_angle_deg": f"{self.incidence_angle_deg:.2f}",
            "temperature_c": f"{self.temperature_c:.1f}",
            "snow_depth_cm": f"{self.snow_depth_cm:.1f}",
        } | rain


def write_acquisitions(path: Path, acquisitions: Iterable[Acquisition]) -> None:
    """Write acquisitions.csv, in the order of dates."""
    with whole_file(path) as written, written.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(each.row() for each in sorted(acquisitions, key=lambda each: (each.date, each.file)))


def read_acquisitions(path: Path) -> list[Acquisition]:
    """The acquisitions of a CSV file, in the order of dates.

    Raises UserError, with the line, for columns that are missing, a condition that is missing or no number or out of
    range, an unknown orbit or satellite, a date that is none or comes twice with the same file.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{path}: has no column {', '.join(missing)}")
            found = [acquisition_of(row, f"{path}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not found:
        raise UserError(f"{path}: holds no acquisition")
    _refuse_twice(path, found)
    return sorted(found, key=lambda each: (each.date, each.file))


def _refuse_twice(path: Path, found: Sequence[Acquisition]) -> None:
    for name, values in (("file", [each.file for each in found]), ("date", [each.date for each in found])):
        value, times = Counter(values).most_common(1)[0]
        if times > 1:
            raise UserError(f"{path}: the {name} {value} stands there {times} times; an area has one image a time")


def acquisition_of(row: dict, where: str) -> Acquisition:
    """The acquisition of a row of acquisitions.csv; UserError, which begins with `where`, for what is wrong in it."""
    cells = {name: (row[name] or "").strip() for name in COLUMNS}
    for name, cell in cells.items():
        if not cell:
            raise UserError(f"{where}: {name} is missing; every condition is needed for every date")
    numbers = {name: _number(cells[name], name, where) for name in _RANGES}
    return Acquisition(
        cells["file"],
        _date(cells["date"], where),
        _one_of(cells["orbit"].lower(), ORBITS, "orbit", where),
        _one_of(cells["satellite"].upper(), SATELLITES, "satellite", where),
        numbers["incidence_angle_deg"],
        numbers["temperature_c"],
        numbers["snow_depth_cm"],
        tuple(numbers[name] for name in _RAIN_COLUMNS),
    )


def _number(cell: str, name: str, where: str) -> float:
    low, high = _RANGES[name]
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UserError(f"{where}: {name} is {cell!r}, no number from {low} to {high}")
    return value


def _date(cell: str, where: str) -> datetime:
    try:
        date = datetime.fromisoformat(cell)
    except ValueError as error:
        raise UserError(f"{where}: {cell!r} is no date; write it as 2020-10-03T15:54") from error
    return date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date


def _one_of(value: str, known: Sequence[str], name: str, where: str) -> str:
    if value not in known:
        raise UserError(f"{where}: {name} is {value!r}, none of {', '.join(known)}")
    return value
