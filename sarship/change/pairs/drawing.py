"""The pictures of a pair: before, after, difference image, change map, and where it agrees with the mask."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from PIL import Image

from sarship.change.pairs.agreement import Agreement
from sarship.change.pairs.reading import Pair
from sarship.figures import BLUE, GREEN, VERMILION, new_figure, save_figure

PANEL_INCHES = 3.0
NO_DATA = (0.82, 0.82, 0.82)
_SHOWN_PERCENTILES = (1, 99)  # of intensities: a few bright corners would leave all else black
_SHOWN_FLOOR = 1e-3  # of the mean intensity: logarithms of less are not shown
_BRIGHTEST_PERCENTILE = 99.9  # of a difference image, shown white


def write_map(changed: np.ndarray, path: Path) -> None:
    """(rows, cols) bool as an 8-bit PNG: 255 is change, 0 all else."""
    Image.fromarray(np.where(changed, np.uint8(255), np.uint8(0))).save(path)


def write_difference(difference: np.ndarray, valid: np.ndarray, path: Path) -> None:
    """A difference image, (rows, cols), as an 8-bit PNG, see `difference_levels`."""
    Image.fromarray(difference_levels(difference, valid)).save(path)


def difference_levels(difference: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(rows, cols) uint8: 0 for no difference and no data, 255 for the 99.9th percentile and more."""
    white = np.percentile(difference[valid], _BRIGHTEST_PERCENTILE) or difference[valid].max()
    return np.where(valid, np.rint(255 * np.clip(difference / white, 0, 1)), 0).astype(np.uint8)


def draw_pair(
    pair: Pair,
    difference: np.ndarray,
    changed: np.ndarray,
    path: Path,
    title: str,
    difference_name: str,
    truth: np.ndarray | None = None,
    counts: Agreement | None = None,
) -> None:
    """All panels in a row. difference: (rows, cols); changed, truth: (rows, cols) bool; counts: with truth."""
    rows, cols = changed.shape
    panels = 4 if truth is None else 5
    height_inches = PANEL_INCHES * rows / cols
    figure = new_figure(panels * PANEL_INCHES, height_inches + 1.0)
    axes = figure.subplots(1, panels)
    for each, levels, name in zip(axes, _shown_dates(pair), ("Before", "After"), strict=False):
        _panel(each, _grey(levels), pair.valid, name)
    levels = difference_levels(difference, pair.valid) / 255
    _panel(axes[2], _grey(levels), pair.valid, f"Difference image ({difference_name})")
    _panel(axes[3], _grey(changed.astype(float)), pair.valid, f"Change map: {_count(changed)}")
    if truth is not None:
        _panel(axes[4], agreement_colours(changed, truth), pair.valid, "Agreement with the mask")
        _legend(axes[4], counts)
    if not pair.valid.all():
        axes[0].legend(handles=[_swatch(NO_DATA, "no data")], **_BELOW)
    figure.suptitle(title)
    save_figure(figure, path)


_BELOW = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.01),
    "frameon": False,
    "fontsize": 7.5,
    "handlelength": 0.9,
    "borderpad": 0.2,
}


def agreement_colours(changed: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(rows, cols, 3), 0..1: white where both say unchanged, green hits, vermilion false alarms, blue misses."""
    picture = np.ones((*changed.shape, 3))
    picture[changed & truth] = to_rgb(GREEN)
    picture[changed & ~truth] = to_rgb(VERMILION)
    picture[~changed & truth] = to_rgb(BLUE)
    return picture


def _legend(axes: Axes, counts: Agreement) -> None:
    kinds = ((GREEN, "hits", counts.hits), (VERMILION, "false alarms", counts.false_alarms))
    kinds += ((BLUE, "missed", counts.missed_alarms),)
    axes.legend(
        handles=[_swatch(colour, f"{name} {number:,}") for colour, name, number in kinds],
        ncols=3,
        columnspacing=0.7,
        handletextpad=0.3,
        **_BELOW,
    )


def _swatch(colour, label: str) -> Patch:
    return Patch(facecolor=colour, edgecolor="0.4", linewidth=0.5, label=label)


def _shown_dates(pair: Pair) -> list[np.ndarray]:
    """Both dates from 0 (black) to 1 (white), alike: grey levels as they are, other intensities as dB."""
    if pair.is_8_bit:
        return [pair.before / 255, pair.after / 255]
    floor = _SHOWN_FLOOR * np.mean([pair.before[pair.valid], pair.after[pair.valid]])
    decibels = [10 * np.log10(np.maximum(each, floor)) for each in (pair.before, pair.after)]
    low, high = np.percentile([each[pair.valid] for each in decibels], _SHOWN_PERCENTILES)
    return [np.clip((each - low) / max(high - low, 1e-9), 0, 1) for each in decibels]


def _grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[:, :, None], 3, axis=2)


def _panel(axes: Axes, picture: np.ndarray, valid: np.ndarray, name: str) -> None:
    axes.imshow(np.where(valid[:, :, None], picture, NO_DATA), vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(name, fontsize="medium")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color="0.4", linewidth=0.6)


def _count(changed: np.ndarray) -> str:
    return f"{np.count_nonzero(changed):,} pixels"
