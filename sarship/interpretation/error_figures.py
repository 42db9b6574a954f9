"""The tables of errors.py as one figure, and the most confident mistakes as a sheet."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sarship.figures import BLUE, VERMILION, new_figure, save_figure
from sarship.interpretation.drawing import MARKERS, TEN_COLOURS, Tile, draw_tiles
from sarship.interpretation.errors import ALL, ErrorTables

MISTAKES_ACROSS = 8
MOST_PAIRS = 12
MOST_CLASSES_BY_LENGTH = 5  # with more, only all of them together
DODGE = 0.12  # of a bin, between classes


def draw_errors(tables: ErrorTables, path: Path, title: str) -> None:
    """Recall of every class on the left; on the right a panel for each thing that there is something to say of."""
    panels = [_reliability]
    panels += [_pairs] * (len(tables.pairs) > 0)
    panels += [_class_sizes] * (tables.sizes is not None)
    panels += [_lengths] * (len(tables.lengths) > 0)
    panels += [_datasets] * (len(tables.datasets) > 1)
    n_rows = -(-len(panels) // 2)
    tested = int((tables.classes["chips"] > 0).sum())
    figure = new_figure(15, max(3.6 * n_rows, 1.5 + 0.24 * tested))
    left, right = figure.subfigures(1, 2, width_ratios=[1, 2.2])
    _recalls(left.subplots(), tables)
    places = list(right.subplots(n_rows, 2, squeeze=False).flat)
    for axes, panel in zip(places, panels, strict=False):
        panel(axes, tables)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(f"{title}\nShares in percent with their 95 % intervals (Wilson) over chips", fontsize="medium")
    save_figure(figure, path)


def _with_interval(axes: Axes, places: np.ndarray, table: pd.DataFrame, share: str, upright: bool, **style) -> None:
    """Points with their intervals, in percent; upright: whether shares run upwards."""
    values = 100 * table[share]
    spread = 100 * np.array([table[share] - table["low"], table["high"] - table[share]]).clip(min=0)
    points = (places, values) if upright else (values, places)
    error = {"yerr" if upright else "xerr": spread}
    look = {"fmt": "o", "markersize": 4, "capsize": 2, "linewidth": 1, "color": BLUE} | style
    axes.errorbar(*points, **error, **look)


def _recalls(axes: Axes, tables: ErrorTables) -> None:
    classes = tables.classes[tables.classes["chips"] > 0]
    places = np.arange(len(classes))
    _with_interval(axes, places, classes, "recall", upright=False)
    axes.set_yticks(places, [f"{row['class']} (n = {row['chips']})" for _, row in classes.iterrows()], fontsize="small")
    axes.set(xlabel="Recall (%)", xlim=(-3, 103), ylim=(len(classes) - 0.4, -0.6))
    axes.set_title("Classes, the hardest on top", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _reliability(axes: Axes, tables: ErrorTables) -> None:
    found = tables.calibration
    axes.plot([0, 100], [0, 100], color="0.5", linewidth=1, linestyle=":")
    _with_interval(
        axes, 100 * tables.reliability["confidence"].to_numpy(), tables.reliability, "accuracy", upright=True
    )
    axes.set(xlabel="Confidence of the answers (%)", ylabel="Of these, right (%)", xlim=(0, 103), ylim=(-3, 103))
    axes.set_title(
        f"Reliability: ECE {100 * found.ece:.1f} % (by chance {100 * found.by_chance:.1f}, "
        f"at most {100 * found.at_most:.1f})",
        fontsize="medium",
    )


def _pairs(axes: Axes, tables: ErrorTables) -> None:
    pairs = tables.pairs.head(MOST_PAIRS)
    places = np.arange(len(pairs))
    _with_interval(axes, places, pairs, "share", upright=False, color=VERMILION)
    names = [
        f"{row['class']} → {row['predicted']} ({row['chips']} of {row['of_chips']})" for _, row in pairs.iterrows()
    ]
    axes.set_yticks(places, names, fontsize="small")
    axes.set(xlabel="Share of the class (%)", ylim=(len(pairs) - 0.4, -0.6))
    axes.set_xlim(left=0)
    axes.set_title("Confusions, the surest on top", fontsize="medium")


def _class_sizes(axes: Axes, tables: ErrorTables) -> None:
    sizes, tested = tables.sizes, tables.classes[tables.classes["chips"] > 0]
    _with_interval(axes, tested["train_chips"].to_numpy(), tested, "recall", upright=True)
    if tested["train_chips"].min() > 0 and tested["train_chips"].max() > 5 * tested["train_chips"].min():
        axes.set_xscale("log")
    axes.set(xlabel="Training chips of the class", ylabel="Recall (%)", ylim=(-3, 103))
    interval = "" if np.isnan(sizes.low) else f" [{sizes.low:.2f}, {sizes.high:.2f}]"
    axes.set_title(f"Class size: rank correlation {sizes.rho:.2f}{interval}", fontsize="medium")


def _lengths(axes: Axes, tables: ErrorTables) -> None:
    lengths = tables.lengths
    starts = sorted(lengths["from_m"].unique())
    names = [name for name in lengths["class"].unique() if name != ALL]
    shown = names if len(names) <= MOST_CLASSES_BY_LENGTH else [ALL]
    for number, name in enumerate(shown):
        of_class = lengths[lengths["class"] == name]
        places = np.array([starts.index(start) for start in of_class["from_m"]])
        places = places + DODGE * (number - (len(shown) - 1) / 2)
        style = {"fmt": MARKERS[number], "color": TEN_COLOURS[number] if name != ALL else BLUE, "label": name}
        _with_interval(axes, places, of_class, "recall", upright=True, **style)
    together = lengths[lengths["class"] == ALL].set_index("from_m")
    labels = [f"{_bin(start, together.loc[start, 'to_m'])}\nn = {together.loc[start, 'chips']}" for start in starts]
    axes.set_xticks(range(len(starts)), labels, fontsize="small")
    axes.set(ylabel="Recall (%)", ylim=(-3, 103))
    axes.set_title("Length of the ship (m)", fontsize="medium")
    if shown != [ALL]:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize="small")


def _bin(from_m: float, to_m: float) -> str:
    return f"{from_m:g} +" if np.isinf(to_m) else f"{from_m:g}–{to_m:g}"


def _datasets(axes: Axes, tables: ErrorTables) -> None:
    datasets = tables.datasets
    places = np.arange(len(datasets))
    _with_interval(axes, places, datasets, "accuracy", upright=True)
    axes.set_xticks(places, [f"{row['dataset']}\nn = {row['chips']}" for _, row in datasets.iterrows()])
    axes.set(ylabel="Right (%)", xlim=(-0.6, len(datasets) - 0.4), ylim=(-3, 103))
    axes.set_title("Data set that the chip comes from", fontsize="medium")


def draw_mistakes(mistakes: pd.DataFrame, pixels: np.ndarray, path: Path, title: str) -> None:
    """The chips of a mistake_table, with class, answer and its probability. pixels: of the whole test set."""
    tiles = [
        Tile(pixels[index], f"{row['class']}\n→ {row['predicted']}\n{100 * row['confidence']:.0f} %")
        for index, row in mistakes.iterrows()
    ]
    rows = [("", tiles[start : start + MISTAKES_ACROSS]) for start in range(0, len(tiles), MISTAKES_ACROSS)]
    draw_tiles(path, rows, title, "Under each chip: its class, the answer, and how sure the network was of it")


def summary(tables: ErrorTables) -> str:
    """The main figures in a few lines, for the terminal."""
    hardest, found = tables.classes.iloc[0], tables.calibration
    vessels = f" ({hardest['vessels']} vessels)" if hardest["vessels"] < hardest["chips"] else ""
    lines = [
        f"hardest class {hardest['class']}: recall {_percent(hardest, 'recall')}, "
        f"{hardest['right']} of {hardest['chips']} chips{vessels}"
    ]
    if len(tables.pairs):
        pair = tables.pairs.iloc[0]
        lines.append(f"surest confusion {pair['class']} → {pair['predicted']}: {_percent(pair, 'share')}")
    lines.append(
        f"ECE {100 * found.ece:.1f} % (calibrated answers: {100 * found.by_chance:.1f} %, "
        f"at most {100 * found.at_most:.1f} %)"
    )
    if tables.sizes is None:
        lines.append("class sizes: too few classes, or all alike, to say whether larger ones are found more often")
    else:
        sizes = tables.sizes
        lines.append(
            f"training chips and recall of {sizes.classes} classes: rank correlation {sizes.rho:.2f} "
            f"[{sizes.low:.2f}, {sizes.high:.2f}], p = {sizes.p:.3f}"
        )
    return "\n".join(f"  {line}" for line in lines)


def _percent(row: pd.Series, share: str) -> str:
    return f"{100 * row[share]:.0f} % [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
