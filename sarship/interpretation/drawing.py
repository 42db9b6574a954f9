"""What the pictures share: tiles in rows with text under them, and colours and markers for many groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from sarship.command import UserError
from sarship.figures import SHEET_DOTS_PER_INCH, VERMILION, new_figure, save_figure

# Petroff, Accessible color sequences for data visualization, 2021 (arXiv:2107.02270), the set of ten: found by a search
# that holds neighbours apart for normal vision and for the three common colour deficiencies.
TEN_COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LEAST_TILE_PIXELS = 48  # a side: a mark on fewer is a blot
BETWEEN = 0.08  # of a tile's side, between tiles
CAPTION_LINE = 0.15  # of a tile's side, for each line of text under it
CAPTION_LETTERS = 18  # of a line, in the space of a tile
TILE_INCHES, LABEL_INCHES = 1.05, 1.5
LEGEND_ROWS = 15


@dataclass(frozen=True, eq=False)
class Tile:
    """A small picture. pixels: (rows, cols[, 3]) uint8. caption: a line or more under it.

    box: top, left, rows, cols of what is marked on it, as shares of its sides.
    """

    pixels: np.ndarray
    caption: str = ""
    box: tuple[float, float, float, float] | None = None


def draw_tiles(path: Path, rows: Sequence[tuple[str, Sequence[Tile]]], title: str, note: str = "") -> None:
    """Rows of tiles, each row with a label on its left; `note` stands below all of them."""
    tiles = [tile for _, row in rows for tile in row]
    side = max(LEAST_TILE_PIXELS, *(max(tile.pixels.shape[:2]) for tile in tiles))
    lines = max(tile.caption.count("\n") + 1 if tile.caption else 0 for tile in tiles)
    step_down, step_right = round(side * (1 + BETWEEN + CAPTION_LINE * lines)), round(side * (1 + BETWEEN))
    most = max(len(row) for _, row in rows)
    # One picture with text on it, as contact sheets are: an axes for each tile takes several times as long to draw.
    canvas = np.full((step_down * len(rows), step_right * most, 3), 255, np.uint8)
    inches = TILE_INCHES * (1 + BETWEEN)
    figure = new_figure(LABEL_INCHES + inches * most, 0.9 + inches * canvas.shape[0] / step_right, SHEET_DOTS_PER_INCH)
    axes = figure.subplots()
    for number, (label, row) in enumerate(rows):
        top = number * step_down
        axes.text(-0.1 * side, top + side / 2, label, ha="right", va="center", fontsize="small")
        for place, tile in enumerate(row):
            left = place * step_right
            canvas[top : top + side, left : left + side] = enlarged(tile.pixels, side)
            _write_on(axes, tile, top, left, side)
    axes.imshow(canvas, interpolation="none")
    axes.set_axis_off()
    figure.suptitle(title, fontsize="medium")
    if note:
        figure.supxlabel(note, fontsize="small")
    save_figure(figure, path)


def enlarged(pixels: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 3) uint8 of (rows, cols[, 3]): each pixel as a rectangle, nothing in between."""
    coloured = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
    down, right = (np.arange(side) * count // side for count in coloured.shape[:2])
    return coloured[down[:, None], right]


def _write_on(axes: Axes, tile: Tile, top: int, left: int, side: int) -> None:
    lines = [
        line[: CAPTION_LETTERS - 1] + "…" if len(line) > CAPTION_LETTERS else line for line in tile.caption.split("\n")
    ]
    below = top + side * 1.02
    axes.text(left + side / 2, below, "\n".join(lines), ha="center", va="top", fontsize=6.5)
    if tile.box:
        down, right, rows, cols = (share * side for share in tile.box)
        corner = (left + right - 0.5, top + down - 0.5)
        axes.add_patch(Rectangle(corner, cols, rows, fill=False, edgecolor=VERMILION, linewidth=1))


def group_styles(count: int) -> list[tuple[str, str]]:
    """A colour and a marker for each of `count` groups: ten colours with one marker, then the same with the next.

    Raises UserError for more groups than colours times markers.
    """
    most = len(TEN_COLOURS) * len(MARKERS)
    if count > most:
        raise UserError(f"{count} classes or data sets: no more than {most} can be told apart in a picture")
    return [(colour, marker) for marker, colour in product(MARKERS, TEN_COLOURS)][:count]


def legend_below(axes: Axes, names: Sequence[str]) -> None:
    """A legend of `group_styles` under the axes, in as many columns as LEGEND_ROWS rows ask for."""
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=name)
        for name, (colour, marker) in zip(names, group_styles(len(names)), strict=True)
    ]
    columns = max(min(3, len(names)), -(-len(names) // LEGEND_ROWS))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=columns, frameon=False,
                fontsize="small" if columns <= 3 else "x-small", handletextpad=0.2, columnspacing=1.0)  # fmt: skip
