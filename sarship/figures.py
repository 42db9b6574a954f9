"""Every plot. Colours are told apart by readers with any colour vision, and by their shape or label as well."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image
from skimage.segmentation import find_boundaries

from sarship.command import UserError
from sarship.files import whole_file
from sarship.prepared import SHIP_DATASETS

# Okabe and Ito, Color Universal Design, 2008: blue, vermilion, bluish green.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
SPLIT_COLOURS = {"train": BLUE, "val": GREEN, "test": VERMILION}
DOTS_PER_INCH, SHEET_DOTS_PER_INCH = 150, 100
MOST_WRITTEN_CLASSES = 12  # of a confusion matrix whose cells have count and percentage written in them
MARGIN_INCHES = 0.1
SUMMARY_CHIPS = 6  # of each class in summary.png
MOST_CLASS_ROWS, WIDE_COLUMNS, WIDE_CHIPS = 6, 3, 4  # with more scenes: columns of classes, and images of each
HEAT = colormaps["inferno"]  # lightness rises all the way, so that it reads in grey too


def new_figure(width_inches: float, height_inches: float, dots_per_inch: int = DOTS_PER_INCH) -> Figure:
    """An empty figure that belongs to no window."""
    figure = Figure(figsize=(width_inches, height_inches), dpi=dots_per_inch, layout="constrained")
    FigureCanvasAgg(figure)  # the canvas that needs no display; pyplot would keep every figure open
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, cut to what is drawn; the same figure gives the same bytes. UserError if it cannot be."""
    # As bbox_inches="tight" does, which would draw every picture and text a first time to find out where they are.
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine(None)
    around_all = figure.get_tightbbox().padded(MARGIN_INCHES)
    with whole_file(path) as written:
        # No version of matplotlib in the file: the same plot gives the same bytes.
        figure.savefig(written, bbox_inches=around_all, metadata={"Software": None})


def learning_curve(history: Sequence[dict], picked_epoch: int, path: Path, title: str) -> None:
    """Losses and validation macro F1 against the epoch; a line marks the epoch whose weights are kept.

    history: one dict an epoch with epoch, train_loss (nats), val_loss (nats, None without val chips) and
    val_macro_f1 (0..1, None without val chips). picked_epoch: the one that training kept.
    """
    table = pd.DataFrame(history).astype(float)
    figure = new_figure(8, 3.6)
    losses, scores = figure.subplots(1, 2)
    losses.plot(table["epoch"], table["train_loss"], "o-", color=BLUE, markersize=3, label="train, the run's loss")
    losses.plot(
        table["epoch"], table["val_loss"], "s--", color=VERMILION, markersize=3, label="val, plain cross-entropy"
    )
    losses.set(xlabel="Epoch", ylabel="Loss (nats)")
    losses.set_ylim(bottom=0)
    scores.plot(table["epoch"], 100 * table["val_macro_f1"], "s--", color=VERMILION, markersize=3, label="val")
    scores.set(xlabel="Epoch", ylabel="Macro F1 (%)", ylim=(0, 100))
    for axes in (losses, scores):
        mark_kept_epoch(axes, picked_epoch)
    figure.suptitle(title)
    save_figure(figure, path)


def mark_kept_epoch(axes: Axes, picked_epoch: int) -> None:
    """A line at the epoch whose weights are kept, on axes over epochs; grid and legend."""
    axes.axvline(picked_epoch, color="0.35", linewidth=1, linestyle=":", label=f"kept: epoch {picked_epoch}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str], path: Path, title: str
) -> None:
    """Counts of chips by true (rows) and predicted class (columns), with the percentage of the row, if it has room.

    labels, predictions: (n,) indices into `classes`. A class without chips has no percentages.
    """
    k = len(classes)
    is_small = k <= MOST_WRITTEN_CLASSES
    counts = np.bincount(np.asarray(labels) * k + predictions, minlength=k * k).reshape(k, k)
    of_row = counts.sum(axis=1, keepdims=True)
    percent = np.divide(100 * counts, of_row, out=np.zeros(counts.shape), where=of_row > 0)
    figure = new_figure(2.6 + 0.9 * k, 1.9 + 0.75 * k) if is_small else new_figure(4 + 0.27 * k, 3 + 0.25 * k)
    axes = figure.subplots()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, label="Share of the true class (%)", shrink=0.8)
    written = np.ndindex(k, k) if is_small else zip(*np.nonzero(counts), strict=True)
    for row, col in written:
        share = f"\n{percent[row, col]:.1f} %" if is_small and of_row[row] else ""
        colour, size = "white" if percent[row, col] > 55 else "black", "small" if is_small else "xx-small"
        axes.text(col, row, f"{counts[row, col]}{share}", ha="center", va="center", color=colour, fontsize=size)
    between, size = ("\n", "medium") if is_small else (" ", "small")
    names = [f"{name}{between}(n = {count})" for name, count in zip(classes, of_row[:, 0], strict=True)]
    turned = {"rotation": 0, "ha": "center"} if k <= 4 else {"rotation": 45, "ha": "right"}
    axes.set_xticks(range(k), classes, fontsize=size, **(turned if is_small else {"rotation": 90}))
    axes.set_yticks(range(k), names, fontsize=size)
    axes.set(xlabel="Predicted class", ylabel="True class")
    axes.set_title(title, fontsize="medium")
    save_figure(figure, path)


def dataset_summary(manifest: pd.DataFrame, chips_folder: Path, path: Path) -> None:
    """Class balance per split, and a few training chips of each class (of any split where none trains).

    manifest: rows of manifest.csv of one data set; chips_folder: bears its name and holds
    <split>/<Class>/<chip>.png. A chip of unknown vessel counts as a vessel. Many classes go into several columns.
    Raises UserError for a chip that is lost or damaged.
    """
    classes = sorted(manifest["class"].unique())
    if len(classes) > MOST_CLASS_ROWS and not set(manifest["dataset"]) <= set(SHIP_DATASETS):
        _wide_summary(manifest, classes, chips_folder, path)
        return
    figure = new_figure(8, 3.0 + 1.35 * len(classes))
    balance, sheet = figure.subfigures(2, 1, height_ratios=[2.8, 1.35 * len(classes)])
    _class_balance(balance.subplots(), manifest, classes)
    grid = sheet.subplots(len(classes), SUMMARY_CHIPS, squeeze=False)
    for row, name in zip(grid, classes, strict=True):
        row[0].set_ylabel(name)
        chosen = _sample(manifest[manifest["class"] == name])
        for axes in row:
            _no_ticks(axes)
        for axes, (_, chip) in zip(row, chosen.iterrows(), strict=False):
            pixels = _read_chip(chips_folder / chip["split"] / chip["class"] / f"{chip['chip']}.png")
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            axes.set_title(_length_of(chip), fontsize="x-small", pad=2)
    figure.suptitle(_summary_title(manifest, chips_folder.name))
    save_figure(figure, path)


def _summary_title(manifest: pd.DataFrame, dataset: str) -> str:
    unknown = manifest["vessel"].isna() | (manifest["vessel"] == "")
    if unknown.all() and manifest["length_m"].isna().all():
        return f"{dataset}: {len(manifest)} images"
    vessels = manifest.loc[~unknown, "vessel"].nunique() + int(unknown.sum())
    return f"{dataset}: {len(manifest)} chips of {vessels} vessels"


def _wide_summary(manifest: pd.DataFrame, classes: Sequence[str], chips_folder: Path, path: Path) -> None:
    """dataset_summary of many classes: bars that lie, and WIDE_CHIPS images of each class in WIDE_COLUMNS columns."""
    n_rows = -(-len(classes) // WIDE_COLUMNS)
    bar_inches, sheet_inches = 1.0 + 0.2 * len(classes), 1.05 * n_rows
    figure = new_figure(11, bar_inches + sheet_inches)
    balance, sheet = figure.subfigures(2, 1, height_ratios=[bar_inches, sheet_inches])
    axes, left = balance.subplots(), np.zeros(len(classes))
    for split in (split for split in SPLIT_COLOURS if (manifest["split"] == split).any()):
        counts = manifest.loc[manifest["split"] == split, "class"].value_counts().reindex(classes, fill_value=0)
        axes.barh(range(len(classes)), counts, left=left, color=SPLIT_COLOURS[split], label=f"{split} ({counts.sum()})")
        left += counts.to_numpy()
    axes.set_yticks(range(len(classes)), classes, fontsize="small")
    axes.set(xlabel="Images", ylim=(len(classes) - 0.4, -0.6))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="Split", frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    grid = sheet.subplots(n_rows, WIDE_COLUMNS * WIDE_CHIPS, squeeze=False)
    for axes in grid.flat:
        _no_ticks(axes)
    for index, name in enumerate(classes):
        row, first = index % n_rows, index // n_rows * WIDE_CHIPS
        grid[row, first].set_title(name, fontsize="small", loc="left", pad=2)
        chosen = _sample(manifest[manifest["class"] == name], WIDE_CHIPS)
        for axes, (_, chip) in zip(grid[row, first : first + WIDE_CHIPS], chosen.iterrows(), strict=False):
            pixels = _read_chip(chips_folder / chip["split"] / chip["class"] / f"{chip['chip']}.png")
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    figure.suptitle(_summary_title(manifest, chips_folder.name))
    save_figure(figure, path)


def _class_balance(axes: Axes, manifest: pd.DataFrame, classes: Sequence[str]) -> None:
    splits = [split for split in SPLIT_COLOURS if (manifest["split"] == split).any()]
    width = 0.8 / len(splits)
    for index, split in enumerate(splits):
        of_split = manifest.loc[manifest["split"] == split, "class"].value_counts().reindex(classes, fill_value=0)
        places = np.arange(len(classes)) + (index - (len(splits) - 1) / 2) * width
        bars = axes.bar(places, of_split, width * 0.92, color=SPLIT_COLOURS[split], label=split)
        shares = [f"{count}\n{100 * count / of_split.sum():.0f} %" for count in of_split]
        axes.bar_label(bars, shares, fontsize="x-small", padding=1)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_ylabel("Chips")
    axes.margins(y=0.22)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="Split (% of it)", frameon=False, fontsize="small", title_fontsize="small")


def _sample(of_class: pd.DataFrame, count: int = SUMMARY_CHIPS) -> pd.DataFrame:
    train = of_class[of_class["split"] == "train"]
    pool = train if len(train) else of_class
    return pool.iloc[np.unique(np.linspace(0, len(pool) - 1, count).round().astype(int))]


def _read_chip(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except OSError as error:
        raise UserError(f"{path}: is lost or damaged; run dataset_prep.py --overwrite") from error


def _length_of(chip: pd.Series) -> str:
    length_m = float(chip["length_m"])
    if np.isnan(length_m):
        return "length unknown" if chip["dataset"] in SHIP_DATASETS else ""
    return f"{length_m:.0f} m"


def _no_ticks(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


@dataclass(frozen=True)
class SheetItem:
    """One chip of a contact sheet. chip: (rows, cols[, 3]) uint8; overlay: (rows, cols, 3) uint8; probability: 0..1.

    outline: (rows, cols) bool, drawn as a thin line on the overlay; all False draws none.
    constant: whether the heatmap is the same everywhere, and so not to be seen.
    """

    chip: np.ndarray
    overlay: np.ndarray
    outline: np.ndarray
    label: str
    prediction: str
    probability: float
    constant: bool = False


def overlay(chip: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The heatmap over the chip: where it is cold the chip stays as it is.

    chip: (rows, cols[, 3]) uint8; heat: (rows, cols) 0..1. Returns (rows, cols, 3) uint8.
    """
    weight = 0.65 * np.sqrt(heat)[:, :, None]
    mixed = (1 - weight) * (_three_bands(chip) / 255) + weight * HEAT(heat)[:, :, :3]
    return np.rint(255 * mixed).astype(np.uint8)


def contact_sheet(items: Sequence[SheetItem], path: Path, title: str, pairs_per_row: int = 5) -> None:
    """Chip and overlay of each item side by side; under them class, prediction and its probability.

    Wrong answers are in another colour and marked with a cross. All chips have one size.
    """
    rows, cols = items[0].chip.shape[:2]
    between, text_rows = max(1, cols // 32), round(0.34 * rows)  # text_rows: room for two lines
    cell_rows, cell_cols = rows + text_rows, 2 * cols + between + cols // 8
    n_rows = -(-len(items) // pairs_per_row)
    # One picture with text on it, as sharp as the chips: an axes for each item takes thrice as long to draw.
    canvas = np.full((n_rows * cell_rows, pairs_per_row * cell_cols, 3), 255, dtype=np.uint8)
    width_inches = 2.7 * pairs_per_row
    figure = new_figure(width_inches, 1.0 + width_inches * canvas.shape[0] / canvas.shape[1], SHEET_DOTS_PER_INCH)
    axes = figure.subplots()
    for index, item in enumerate(items):
        top, left = cell_rows * (index // pairs_per_row), cell_cols * (index % pairs_per_row)
        canvas[top : top + rows, left : left + cols] = _three_bands(item.chip)
        right = left + cols + between
        canvas[top : top + rows, right : right + cols] = _outlined(item)
        _caption(axes, item, left + cols + between / 2, top + rows + between)
    axes.imshow(canvas)
    axes.set_axis_off()
    figure.suptitle(title)
    bar = figure.colorbar(ScalarMappable(cmap=HEAT), ax=axes, orientation="horizontal", shrink=0.4, aspect=50, pad=0.01)
    has_ships = any(item.outline.any() for item in items)
    outlined = "; white line: ship found by its brightness" if has_ships else ""
    bar.set_label(f"Class activation (0: least of the chip, 1: most){outlined}")
    save_figure(figure, path)


def _three_bands(chip: np.ndarray) -> np.ndarray:
    return chip if chip.ndim == 3 else np.repeat(chip[:, :, None], 3, axis=2)


def _outlined(item: SheetItem) -> np.ndarray:
    return np.where(find_boundaries(item.outline, mode="outer")[:, :, None], np.uint8(255), item.overlay)


def _caption(axes: Axes, item: SheetItem, centre: float, top: float) -> None:
    right = item.label == item.prediction
    constant = " (constant heatmap)" if item.constant else ""
    text = f"{item.label}{constant}\n{'✓' if right else '✗'} {item.prediction} {100 * item.probability:.0f} %"
    colour = "black" if right else VERMILION
    axes.text(centre, top, text, ha="center", va="top", fontsize="small", linespacing=1.1, color=colour)
