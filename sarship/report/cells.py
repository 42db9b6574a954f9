"""Tables of a report as rows of cells: what each shows, what it is sorted by, and how it is coloured."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from sarship.report.blocks import Confusion, HeatMap, Table
from sarship.report.colours import heat_level
from sarship.report.values import DASH, is_boolean, is_missing, is_number, is_whole, number, sort_key

# Letters of a row that fit on A4 paper at each step of the type size in page.css, with CELL_PADDING letters' worth of
# room between columns; beyond the last step it is set smallest. Measured in tests/report/test_in_browser.py.
PAPER_LETTERS = (95, 130, 180, 290)
CELL_PADDING = 3
WRAPPED_LETTERS = 24  # about where texts of several words go on in the next line
SHORT_ROWS = 15  # a table of so few rows is kept on one sheet


@dataclass(frozen=True)
class Cell:
    """value: what numbers are sorted by, "" for texts and where there is none. level: of the heat scale, or None."""

    text: str
    value: str = ""
    detail: str = ""
    level: int | None = None
    correct: bool = False


@dataclass(frozen=True)
class Column:
    """A head and its cells. is_number: set flush right and sorted by value; otherwise sorted as text."""

    head: str
    is_number: bool
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Row:
    """reason: why the row is set off, "" where it is not."""

    cells: Sequence[Cell]
    reason: str = ""
    head: str = ""
    detail: str = ""


@dataclass(frozen=True)
class TableView:
    """paper: how much smaller than usual it is set on paper, 0 to 3. short: whether it fits on one sheet."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    paper: int
    short: bool


def lay_out_table(block: Table) -> TableView:
    """Columns in the order of the frame; those of an interval's ends go into the column of their value."""
    ends = {end for pair in block.intervals.values() for end in pair}
    columns = [
        _column(block, str(name), block.frame.iloc[:, place])
        for place, name in enumerate(block.frame.columns)
        if name not in ends
    ]
    rows = [
        Row([column.cells[place] for column in columns], block.marked.get(label, ""))
        for place, label in enumerate(block.frame.index)
    ]
    widths = [
        max(map(_letters, [*split_name(column.head), *(cell.text + cell.detail for cell in column.cells)]))
        for column in columns
    ]
    return TableView(columns, rows, _paper_step(widths), len(rows) <= SHORT_ROWS)


def split_name(name: str) -> list[str]:
    """Parts of a name between which a line may end: Fine_ResNet is Fine_, Res and Net."""
    return re.split(r"(?<=[_+/-])(?=\w)|(?<=[a-z])(?=[A-Z])", name)


def _column(block: Table, name: str, values: pd.Series) -> Column:
    present = [value for value in values if not is_missing(value)]
    of_numbers = bool(present) and all(is_number(value) for value in present)
    if name in block.intervals:
        low, high = (block.frame[end] for end in block.intervals[name])
        details = [_interval(*pair, block.decimals) for pair in zip(low, high, strict=True)]
    else:
        details = [""] * len(values)
    cells = [_cell(value, detail, block.decimals) for value, detail in zip(values, details, strict=True)]
    return Column(name, of_numbers, cells)


def _cell(value, detail: str, decimals: int) -> Cell:
    if is_missing(value):
        return Cell(DASH)
    if is_boolean(value):
        return Cell("yes" if value else "")
    if is_number(value):
        return Cell(number(value, 0 if is_whole(value) else decimals), sort_key(value), detail)
    return Cell(str(value))


def _interval(low, high, decimals: int) -> str:
    return "" if is_missing(low) or is_missing(high) else f"[{number(low, decimals)}, {number(high, decimals)}]"


def _letters(text: str) -> int:
    return min(len(text), WRAPPED_LETTERS) if " " in text and "[" not in text else len(text)


def _paper_step(widths: Sequence[int]) -> int:
    """How much smaller than usual a table with columns of so many letters is set on paper."""
    letters = sum(width + CELL_PADDING for width in widths)
    return sum(letters > most for most in PAPER_LETTERS)


@dataclass(frozen=True)
class MatrixView:
    """A table with heads on two sides, its cells coloured."""

    columns: Sequence[str]
    rows: Sequence[Row]
    paper: int


def colour_heat_map(block: HeatMap) -> MatrixView:
    rows = []
    for place, label in enumerate(block.frame.index):
        values = block.frame.iloc[place]
        details = [""] * len(values) if block.details is None else block.details.iloc[place]
        cells = [_heat_cell(block, *pair) for pair in zip(values, details, strict=True)]
        rows.append(Row(cells, head=str(label)))
    return _matrix([str(name) for name in block.frame.columns], rows)


def _matrix(columns: Sequence[str], rows: Sequence[Row]) -> MatrixView:
    widths = [
        max(
            map(
                _letters,
                [
                    *split_name(name),
                    *(text for row in rows for text in (row.cells[place].text, row.cells[place].detail)),
                ],
            )
        )
        for place, name in enumerate(columns)
    ]
    heads = max((_letters(part) for row in rows for part in split_name(row.head)), default=0)
    return MatrixView(columns, rows, _paper_step([heads, *widths]))


def _heat_cell(block: HeatMap, value, detail) -> Cell:
    if is_missing(value):
        return Cell(DASH)
    level = heat_level(float(value), block.lowest, block.highest)
    return Cell(number(value, block.decimals), detail="" if is_missing(detail) else str(detail), level=level)


def colour_confusion(block: Confusion) -> MatrixView:
    """Counts, and under each its share of the row, which gives the colour too; a class without chips has no shares."""
    rows = [
        Row(list(_counted(counts, true)), head=name, detail=f"n = {_count(sum(counts))}")
        for true, (name, counts) in enumerate(zip(block.classes, block.counts, strict=True))
    ]
    return _matrix(list(block.classes), rows)


def _counted(counts: Sequence[float], true: int) -> Iterator[Cell]:
    total = sum(counts)
    for predicted, count in enumerate(counts):
        if total > 0:
            share = 100 * count / total
            level, detail = heat_level(share, 0, 100), f"{number(float(share), 1)} %"
        else:
            level, detail = None, ""
        yield Cell(_count(count), detail=detail, level=level, correct=predicted == true)


def _count(count: float) -> str:
    return DASH if is_missing(count) else number(count, 0 if float(count).is_integer() else 1)
