"""What a report is made of. Blocks hold plain values; how they look is the renderer's business.

Texts are plain text everywhere: the renderer escapes them, so that a class named `<b>` is shown as it is written. The
first sentence of a caption is set as its headline.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd


@dataclass(frozen=True, eq=False)
class Note:
    """A paragraph, or several with an empty line between them. warning: whether it is set off as one."""

    text: str
    warning: bool = False


@dataclass(frozen=True, eq=False)
class Table:
    """A table that a click on a column's head sorts.

    frame: one row a row; its first column stays while the others scroll, so it should name the row. Numbers are shown
    with `decimals` digits, those of integer type (Int64 where some are missing) with none, missing and infinite ones as
    a dash, booleans as yes and "".
    intervals: {"MacroF1": ("Low", "High")} shows three columns as one, `71.20 [65.10, 77.30]`, sorted by the first.
    marked: index labels of rows set off as references or warnings (say, baselines, collapsed runs), with the reason,
    which stands below the first cell.
    folded: whether the table is closed until it is clicked on (long ones); always open on paper.
    """

    caption: str
    frame: pd.DataFrame
    decimals: int = 2
    intervals: dict[str, tuple[str, str]] = field(default_factory=dict)
    marked: dict[int, str] = field(default_factory=dict)
    folded: bool = False


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A matrix of figures, coloured from `lowest` to `highest`. frame: index and columns are the labels.

    details: of the same shape, a second line in each cell (say, the interval), or None.
    rows, cols: what index and columns are, for instance "Trained" and "Tested".
    """

    caption: str
    frame: pd.DataFrame
    rows: str
    cols: str
    lowest: float
    highest: float
    details: pd.DataFrame | None = None
    decimals: int = 1


@dataclass(frozen=True)
class Bar:
    """One bar: value and its interval (None where there is none). group: bars of one group share a colour."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    group: str = ""


@dataclass(frozen=True, eq=False)
class Bars:
    """Horizontal bars with intervals, on one scale. references: vertical lines with a name, for instance Majority.

    unit: of the values, for instance "%" or "points". Values may be negative (differences): bars start at zero, and
    positive ones bear a plus. decimals: of the values as they are written; the bars are drawn from all digits.
    """

    caption: str
    bars: Sequence[Bar]
    unit: str
    references: dict[str, float] = field(default_factory=dict)
    decimals: int = 1


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a plot; y may hold None where there is no value. marked_x: a point set off (the kept epoch)."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    marked_x: float | None = None


@dataclass(frozen=True, eq=False)
class Curves:
    """Lines on common axes."""

    caption: str
    curves: Sequence[Curve]
    x_label: str
    y_label: str


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of chips by true (rows) and predicted class (columns), (k, k), shown with the share of the row.

    Counts may be means over runs: those that are not whole are shown with one decimal.
    """

    caption: str
    classes: Sequence[str]
    counts: Sequence[Sequence[float]]


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file, embedded. Larger ones are scaled down to `most_pixels` a side."""

    caption: str
    path: Path
    most_pixels: int = 1600


Block = Note | Table | HeatMap | Bars | Curves | Confusion | Picture


@dataclass(frozen=True, eq=False)
class Section:
    """A heading, the blocks beneath it, and whether small blocks stand side by side.

    Small are Curves, and Confusion of up to five classes; those that follow each other make one grid.
    """

    title: str
    blocks: Sequence[Block]
    side_by_side: bool = False
