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
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from sys import intern
from typing import NamedTuple

from sarship.archives import Entry, Source
from sarship.chip import Chip
from sarship.command import UserError, log
from sarship.readers import (
    EMPTY,
    OTHER_CLASS,
    Note,
    Rejected,
    UniqueNames,
    Wanted,
    all_classes,
    fields,
    read_table,
    read_whole,
)
from sarship.readers.tiff import empty, read_pixels

DATASET = "Fusar"
# Ultra-fine stripmap of Gaofen-3, rows (azimuth) x columns (range), metres: Hou et al. 2020.
NOMINAL_ROW_SPACING_M, NOMINAL_COL_SPACING_M = 1.70, 1.124
CHIPS_PER_PART = 32  # some 40 ms of work: long beside what a task costs, short beside the end of the archive

_COLUMNS = ("id", "mmsi", "length", "width", "polarMode", "centerLookAngle", "heightspace", "widthspace", "path")
_WRAPPER = re.compile("FUSAR", re.IGNORECASE)
# What the reader could not take as the archive says it.
_NO_ROW = "{} chips have no row in meta.csv, so no known vessel"
_NOMINAL_SPACING = (
    f"{{}} chips without a spacing in meta.csv, taken as {NOMINAL_ROW_SPACING_M} x {NOMINAL_COL_SPACING_M} m"
)
_OTHER_FOLDER = "{} chips lie in another folder than meta.csv says; the folder is taken"


class Row(NamedTuple):
    """What a row of meta.csv says of its chip, as it stands there."""

    mmsi: str = ""
    length: str = ""
    width: str = ""
    polar_mode: str = ""
    look_angle: str = ""
    height_space: str = ""
    width_space: str = ""
    path: str = ""


@dataclass(frozen=True)
class FusarReader:
    """FUSAR-Ship, chips sorted by path; meta.csv may lie at the top or in a folder that wraps everything.

    Pixels are uint8; category and subcategory are the folders; product is "UFS", polarization is polarMode.
    FUSAR-Ship names no scenes: chips of equal polarMode, centerLookAngle and heightspace count as one. That may
    join two scenes and never parts one, so a split by scene stays one by scene.
    """

    wanted: Wanted = all_classes

    def parts(self, source: Source) -> Iterator["FusarPart"]:
        """Raises UserError if there is no chip, no meta.csv, or a column is missing in it."""
        entries = source.entries()
        table = _table_entry(source, entries)
        rows = _rows(source, table)
        folder = PurePosixPath(table.name).parent
        chips = [entry for entry in entries if _is_chip(entry, folder)]
        if not chips:
            raise UserError(f"{source.name}: holds no chips (.tiff) beside meta.csv; give the folder or zip that does")
        for first in range(0, len(chips), CHIPS_PER_PART):
            some = chips[first : first + CHIPS_PER_PART]
            own = tuple(tuple(rows.get(PurePosixPath(entry.name).stem, ())) for entry in some)
            yield FusarPart(source.part(some), folder, own, self.wanted)

    def finish(self, source: str, tally: Counter[str]) -> None:
        for line in (_NO_ROW, _NOMINAL_SPACING, _OTHER_FOLDER):
            if tally[line]:
                log(f"{source}: {line.format(tally[line])}")


@dataclass(frozen=True)
class FusarPart:
    """Some chips. folder: of meta.csv; rows: those of each chip's id, in the order of the entries of `source`."""

    source: Source
    folder: PurePosixPath
    rows: tuple[tuple[Row, ...], ...]
    wanted: Wanted

    def chips(self, tally: Counter[str]) -> Iterator[Chip | Rejected | Note]:
        with self.source as source:
            for entry, rows in zip(source.entries(), self.rows, strict=True):
                yield _read_chip(source, entry, self.folder, rows, self.wanted, tally)


def read_fusar(
    source: Source, wanted: Wanted = all_classes, names: UniqueNames | None = None
) -> Iterator[Chip | Rejected]:
    """Every chip of FUSAR-Ship (see FusarReader), read in this process.

    names: give the same one for every archive of the data set, and no two chips have one name.
    """
    return read_whole(FusarReader(wanted), source, names)


def _table_entry(source: Source, entries: list[Entry]) -> Entry:
    tables = [entry for entry in entries if PurePosixPath(entry.name).name.lower() == "meta.csv"]
    if not tables:
        raise UserError(f"{source.name}: holds no meta.csv; put the one of FUSAR-Ship 1.0 beside its class folders")
    return min(tables, key=lambda entry: (entry.name.count("/"), entry.name))


def _rows(source: Source, table: Entry) -> dict[str, list[Row]]:
    """The rows of meta.csv by id."""
    text = read_table(source, table)
    reader = csv.reader(io.StringIO(text), skipinitialspace=True)
    where = f"{source.name}/{table.name}"
    rows: dict[str, list[Row]] = {}
    try:
        header = next(reader, [])
        missing = [column for column in _COLUMNS if column not in header]
        if missing:
            raise UserError(f"{where}: lacks the column {missing[0]}; FUSAR-Ship 1.0 has {','.join(_COLUMNS)}")
        places = [_place(header, column) for column in _COLUMNS]
        for values in filter(None, reader):
            # Interned: most values come in thousands of rows.
            identifier, *row = (intern(values[place]) if place < len(values) else "" for place in places)
            rows.setdefault(fields.text(identifier), []).append(Row(*row))
    except csv.Error as error:
        raise UserError(f"{where}: line {reader.line_num} is no CSV ({error}); get it again") from error
    return rows


def _place(header: list[str], column: str) -> int:
    """Where a column stands; the last of that name if there are more."""
    return len(header) - 1 - header[::-1].index(column)


def _is_chip(entry: Entry, folder: PurePosixPath) -> bool:
    path = PurePosixPath(entry.name)
    return path.suffix.lower() in (".tif", ".tiff") and path.is_relative_to(folder)


def _read_chip(
    source: Source,
    entry: Entry,
    folder: PurePosixPath,
    rows: tuple[Row, ...],
    wanted: Wanted,
    tally: Counter[str],
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
        name=path.stem,
        dataset=DATASET,
        category=category,
        subcategory=subcategory,
        vessel=fields.mmsi(row.mmsi),
        scene=_scene(row),
        sensor="Gaofen-3",
        product="UFS",
        polarization=fields.text(row.polar_mode).upper(),
        row_spacing_m=row_spacing_m,
        col_spacing_m=col_spacing_m,
        length_m=fields.positive(row.length),
        width_m=fields.positive(row.width),
        source=where,
    )


def _classes(path: PurePosixPath) -> tuple[str, str]:
    """(category, subcategory) of a chip's path below meta.csv; either is "" if there are too few folders."""
    folders = list(path.parent.parts)
    if folders and _WRAPPER.match(folders[0]):
        del folders[0]
    category, subcategory = [*folders[-2:], "", ""][:2]
    return category, subcategory


def _row_of(path: PurePosixPath, rows: tuple[Row, ...], tally: Counter[str]) -> Row:
    """The chip's row; that of its own folder if an id stands there more than once; an empty one if there is none."""
    if not rows:
        tally[_NO_ROW] += 1
        return Row()
    own = [row for row in rows if _same_folder(row.path, path)]
    if not own:
        tally[_OTHER_FOLDER] += 1
    return (own or rows)[0]


def _same_folder(listed: str, path: PurePosixPath) -> bool:
    listed_folders = [part.casefold() for part in listed.replace("\\", "/").split("/") if part]
    folders = [part.casefold() for part in path.parent.parts]
    if listed_folders and PurePosixPath(listed_folders[-1]).stem == path.stem.casefold():
        del listed_folders[-1]  # the path may name the chip as well
    shorter = min(len(listed_folders), len(folders))
    return folders[len(folders) - shorter :] == listed_folders[len(listed_folders) - shorter :]


def _spacing(row: Row, tally: Counter[str]) -> tuple[float, float]:
    row_spacing_m, col_spacing_m = fields.positive(row.height_space), fields.positive(row.width_space)
    if math.isnan(row_spacing_m) or math.isnan(col_spacing_m):
        tally[_NOMINAL_SPACING] += 1
        return NOMINAL_ROW_SPACING_M, NOMINAL_COL_SPACING_M
    return row_spacing_m, col_spacing_m


def _scene(row: Row) -> str:
    geometry = [fields.text(value) for value in (row.polar_mode, row.look_angle, row.height_space)]
    return "_".join(["GF3", *geometry]) if all(geometry) else ""
