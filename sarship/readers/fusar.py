"""FUSAR-Ship 1.0 as published: 512 x 512 chips of Gaofen-3 in a folder per class, and meta.csv.

    FUSAR_Ship1.0/<Category>/<SubCategory>/Ship_CxxSyyNzzzz.tiff
    FUSAR_Ship1.0/meta.csv   id,mmsi,length,width,polarMode,centerLookAngle,heightspace,widthspace,path

X. Hou et al., "FUSAR-Ship: building a high-resolution SAR-AIS matchup dataset of Gaofen-3 for ship
detection and recognition", Science China Information Sciences 63, 140303 (2020).
"""

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from sarship.archives import Entry, Source
from sarship.chip import Chip
from sarship.command import UserError, log
from sarship.readers import EMPTY, OTHER_CLASS, Rejected, UniqueNames, Wanted, all_classes, fields
from sarship.readers.tiff import empty, read_pixels

DATASET = "Fusar"
# Ultra-fine stripmap of Gaofen-3, rows (azimuth) x columns (range), metres: Hou et al. 2020.
NOMINAL_ROW_SPACING_M, NOMINAL_COL_SPACING_M = 1.70, 1.124

_COLUMNS = ("id", "mmsi", "length", "width", "polarMode", "centerLookAngle", "heightspace", "widthspace", "path")
_WRAPPER = re.compile("FUSAR", re.IGNORECASE)


@dataclass
class _Tally:
    """What the reader could not take as the archive says it; one line of log each."""

    no_row: int = 0
    nominal_spacing: int = 0
    other_folder: int = 0

    def report(self, archive: str) -> None:
        if self.no_row:
            log(f"{archive}: {self.no_row} chips have no row in meta.csv, so no known vessel")
        if self.nominal_spacing:
            nominal = f"{NOMINAL_ROW_SPACING_M} x {NOMINAL_COL_SPACING_M} m"
            log(f"{archive}: {self.nominal_spacing} chips without a spacing in meta.csv, taken as {nominal}")
        if self.other_folder:
            log(f"{archive}: {self.other_folder} chips lie in another folder than meta.csv says; the folder is taken")


def read_fusar(
    source: Source, wanted: Wanted = all_classes, names: UniqueNames | None = None
) -> Iterator[Chip | Rejected]:
    """Every chip of FUSAR-Ship, sorted by path; meta.csv may lie at the top or in a folder that wraps everything.

    Pixels are uint8; category and subcategory are the folders; product is "UFS", polarization is polarMode.
    FUSAR-Ship names no scenes: chips of equal polarMode, centerLookAngle and heightspace count as one. That may
    join two scenes and never parts one, so a split by scene stays one by scene.
    names: give the same one for every archive of the data set, and no two chips have one name.
    Raises UserError if there is no chip, no meta.csv, or a column is missing in it.
    """
    entries = source.entries()
    table = _table_entry(source, entries)
    rows = _rows(source, table)
    folder = PurePosixPath(table.name).parent
    chips = [entry for entry in entries if _is_chip(entry, folder)]
    if not chips:
        raise UserError(f"{source.name}: holds no chips (.tiff) beside meta.csv; give the folder or zip that does")
    tally, names = _Tally(), names or UniqueNames()
    for entry in chips:
        yield _read_chip(source, entry, folder, rows, wanted, tally, names)
    tally.report(source.name)


def _table_entry(source: Source, entries: list[Entry]) -> Entry:
    tables = [entry for entry in entries if PurePosixPath(entry.name).name.lower() == "meta.csv"]
    if not tables:
        raise UserError(f"{source.name}: holds no meta.csv; put the one of FUSAR-Ship 1.0 beside its class folders")
    return min(tables, key=lambda entry: (entry.name.count("/"), entry.name))


def _rows(source: Source, table: Entry) -> dict[str, list[dict[str, str]]]:
    """The rows of meta.csv by id."""
    text = source.read(table).decode("utf-8-sig", errors="replace")
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    where = f"{source.name}/{table.name}"
    rows: dict[str, list[dict[str, str]]] = {}
    try:
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise UserError(f"{where}: lacks the column {missing[0]}; FUSAR-Ship 1.0 has {','.join(_COLUMNS)}")
        for row in reader:
            rows.setdefault(fields.text(row["id"]), []).append(row)
    except csv.Error as error:
        raise UserError(f"{where}: line {reader.line_num} is no CSV ({error}); get it again") from error
    return rows


def _is_chip(entry: Entry, folder: PurePosixPath) -> bool:
    path = PurePosixPath(entry.name)
    return path.suffix.lower() in (".tif", ".tiff") and path.is_relative_to(folder)


def _read_chip(
    source: Source,
    entry: Entry,
    folder: PurePosixPath,
    rows: dict[str, list[dict[str, str]]],
    wanted: Wanted,
    tally: _Tally,
    names: UniqueNames,
) -> Chip | Rejected:
    where = f"{source.name}/{entry.name}"
    path = PurePosixPath(entry.name).relative_to(folder)
    category, subcategory = _classes(path)
    if not wanted(category, subcategory):
        return Rejected(where, OTHER_CLASS, f"{category}/{subcategory}")
    pixels = read_pixels(source, entry, "uint8")
    if isinstance(pixels, Rejected):
        return pixels
    if empty(pixels):
        return Rejected(where, EMPTY)
    row = _row_of(path, rows, tally)
    row_spacing_m, col_spacing_m = _spacing(row, tally)
    return Chip(
        pixels=pixels,
        name=names.claim(path.stem),
        dataset=DATASET,
        category=category,
        subcategory=subcategory,
        vessel=fields.mmsi(row.get("mmsi")),
        scene=_scene(row),
        sensor="Gaofen-3",
        product="UFS",
        polarization=fields.text(row.get("polarMode")).upper(),
        row_spacing_m=row_spacing_m,
        col_spacing_m=col_spacing_m,
        length_m=fields.positive(row.get("length")),
        width_m=fields.positive(row.get("width")),
        source=where,
    )


def _classes(path: PurePosixPath) -> tuple[str, str]:
    """(category, subcategory) of a chip's path below meta.csv; either is "" if there are too few folders."""
    folders = list(path.parent.parts)
    if folders and _WRAPPER.match(folders[0]):
        del folders[0]
    category, subcategory = [*folders[-2:], "", ""][:2]
    return category, subcategory


def _row_of(path: PurePosixPath, rows: dict[str, list[dict[str, str]]], tally: _Tally) -> dict[str, str]:
    """The chip's row; that of its own folder if an id stands there more than once; {} if there is none."""
    named = rows.get(path.stem, [])
    if not named:
        tally.no_row += 1
        return {}
    own = [row for row in named if _same_folder(row["path"], path)]
    if not own:
        tally.other_folder += 1
    return (own or named)[0]


def _same_folder(listed: str | None, path: PurePosixPath) -> bool:
    listed_folders = [part.casefold() for part in (listed or "").replace("\\", "/").split("/") if part]
    folders = [part.casefold() for part in path.parent.parts]
    if listed_folders and PurePosixPath(listed_folders[-1]).stem == path.stem.casefold():
        del listed_folders[-1]  # the path may name the chip as well
    shorter = min(len(listed_folders), len(folders))
    return folders[len(folders) - shorter :] == listed_folders[len(listed_folders) - shorter :]


def _spacing(row: dict[str, str], tally: _Tally) -> tuple[float, float]:
    row_spacing_m, col_spacing_m = fields.positive(row.get("heightspace")), fields.positive(row.get("widthspace"))
    if math.isnan(row_spacing_m) or math.isnan(col_spacing_m):
        tally.nominal_spacing += 1
        return NOMINAL_ROW_SPACING_M, NOMINAL_COL_SPACING_M
    return row_spacing_m, col_spacing_m


def _scene(row: dict[str, str]) -> str:
    geometry = [fields.text(row.get(column)) for column in ("polarMode", "centerLookAngle", "heightspace")]
    return "_".join(["GF3", *geometry]) if all(geometry) else ""
