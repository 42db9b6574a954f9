"""Every plot of the change study but those of pairs and of the simulator. Decibels in grey, differences in two colours.

One scale of grey for images that are compared, and one of colour for their differences, both written on the figure.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from sarship.change.what_if import Answer
from sarship.figures import BLUE, GREEN, VERMILION, mark_kept_epoch, new_figure, save_figure

# Okabe and Ito, as those of figures.py; the rest of their table for further lines.
LINES = (VERMILION, BLUE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
DIFFERENCES = "PuOr_r"  # two colours that everyone tells apart, white in the middle
BAND = 1  # VH, in which forest and its changes show best
MOST_SAMPLES = 4  # rows of a sheet
CELL_INCHES = 1.95  # of a row: as high as five images and two bars leave each image wide


def learning(history: Sequence[dict], picked_epoch: int, path: Path, title: str) -> None:
    """Training loss and validation error against the epoch. history: rows of `fitting.fit`."""
    epochs = [row["epoch"] for row in history]
    figure = new_figure(8, 3.4)
    loss, error = figure.subplots(1, 2)
    loss.plot(epochs, [row["train_loss"] for row in history], "o-", color=BLUE, markersize=3)
    loss.set(xlabel="Epoch", ylabel="Training loss (mean squared error, scaled)")
    error.plot(epochs, [row["val_rmse_db"] for row in history], "s--", color=VERMILION, markersize=3)
    error.set(xlabel="Epoch", ylabel="Validation error (RMSE, dB)")
    for axes in (loss, error):
        mark_kept_epoch(axes, picked_epoch)
    figure.suptitle(title)
    save_figure(figure, path)


def roc_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray, float]], path: Path, title: str) -> None:
    """ROC curves of thresholds. curves: false and true positive rates and AUC, by the name of the difference image."""
    figure = new_figure(6.4, 6.4)
    axes = figure.subplots()
    looks = {name: (LINES[i % len(LINES)], STYLES[i % len(STYLES)]) for i, name in enumerate(curves)}
    for name, (false, true, auc) in sorted(curves.items(), key=lambda each: -each[1][2]):
        colour, style = looks[name]
        axes.plot(false, true, style, color=colour, label=f"{auc:.3f}  {name}", linewidth=1.6)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.set(xlabel="Unchanged pixels that are called changed", ylabel="Changed pixels that are found")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.grid(alpha=0.25)
    axes.legend(title="AUC  difference image", frameon=True, fontsize="small", loc="lower right", alignment="left")
    axes.set_title(title, fontsize="medium")
    save_figure(figure, path)


def changed_samples(rows: Sequence[Mapping[str, np.ndarray]], names: tuple[str, str], path: Path, title: str) -> None:
    """A few changed samples, one a row: the newest image, what it is compared with, and both difference images.

    rows: with newest, predicted, earlier (2, p, p) dB and mask (p, p) bool. names: of predicted and earlier.
    """
    figure = new_figure(11.5, CELL_INCHES * len(rows) + 0.9)
    cells = figure.subplots(len(rows), 5, squeeze=False)
    grey, colour = _grey([row["newest"] for row in rows]), Normalize(-6, 6)
    for own, row in zip(cells, rows, strict=True):
        for axes, image in zip(own[:3], (row["newest"], row["predicted"], row["earlier"]), strict=True):
            _show(axes, image[BAND], "gray", grey)
        for axes, reference in zip(own[3:], (row["predicted"], row["earlier"]), strict=True):
            _show(axes, (row["newest"] - reference)[BAND], DIFFERENCES, colour)
        for axes in own:
            axes.contour(row["mask"], [0.5], colors=GREEN, linewidths=1)
    heads = ["newest image,\nchange outlined", *names, *(f"newest minus\n{name}" for name in names)]
    for axes, head in zip(cells[0], heads, strict=True):
        axes.set_title(head, fontsize="small")
    _bar(figure, cells[:, :3], "gray", grey, "VH (dB)")
    _bar(figure, cells[:, 3:], DIFFERENCES, colour, "difference in VH (dB)")
    figure.suptitle(title)
    save_figure(figure, path)


def what_if(
    answers: Sequence[Answer], heads: tuple[str, str], elevations: Sequence[np.ndarray], path: Path, title: str
):
    """Samples whose prediction changes when one condition does: both predictions, the change, and the true change.

    heads: of both predictions. elevations: (p, p) m, of each answer's place.
    """
    figure = new_figure(11.5, CELL_INCHES * len(answers) + 0.9)
    cells = figure.subplots(len(answers), 5, squeeze=False)
    grey = _grey([answer.first for answer in answers])
    most = max(1.0, float(np.quantile(np.abs([answer.change for answer in answers]), 0.995)))
    colour = Normalize(-most, most)
    for own, answer, elevation in zip(cells, answers, elevations, strict=True):
        _show(own[0], elevation, "cividis", None)
        for axes, image in zip(own[1:3], (answer.first, answer.second), strict=True):
            _show(axes, image[BAND], "gray", grey)
        _show(own[3], answer.change[BAND], DIFFERENCES, colour)
        if answer.truth is None:
            own[4].set_axis_off()
        else:
            _show(own[4], answer.truth[BAND], DIFFERENCES, colour)
    titles = (
        "elevation",
        f"predicted, {heads[0]}",
        f"predicted, {heads[1]}",
        "predicted change",
        "true change (simulator)",
    )
    for axes, head in zip(cells[0], titles, strict=True):
        axes.set_title(head, fontsize="small")
    _bar(figure, cells[:, 1:3], "gray", grey, "VH (dB)")
    _bar(figure, cells[:, 3:], DIFFERENCES, colour, "change in VH (dB)")
    figure.suptitle(title)
    save_figure(figure, path)


def difference_sheet(images: Mapping[str, np.ndarray], mask: np.ndarray | None, path: Path, title: str) -> None:
    """The newest image of an area, the predicted one, an earlier one, and both differences; VH.

    images: newest, predicted, earlier as (2, rows, cols) dB by what is written above each, in this order, already
    thinned out to what a page can show. mask: (rows, cols) bool, outlined where there is one.
    """
    (newest_name, newest), (predicted_name, predicted), (earlier_name, earlier) = images.items()
    figure = new_figure(11.5, 8.2)
    cells = figure.subplots(2, 3)
    grey, colour = _grey([newest]), Normalize(-6, 6)
    for axes, name, image in zip(
        cells[0], (newest_name, predicted_name, earlier_name), (newest, predicted, earlier), strict=True
    ):
        _show(axes, image[BAND], "gray", grey)
        axes.set_title(name, fontsize="small")
    for axes, name, reference in zip(cells[1, 1:], (predicted_name, earlier_name), (predicted, earlier), strict=True):
        _show(axes, (newest - reference)[BAND], DIFFERENCES, colour)
        axes.set_title(f"newest minus {name}", fontsize="small")
    if mask is None:
        cells[1, 0].set_axis_off()
    else:
        _show(cells[1, 0], mask, "gray", Normalize(0, 1))
        cells[1, 0].set_title("true change", fontsize="small")
    _bar(figure, cells[0], "gray", grey, "VH (dB)")
    _bar(figure, cells[1, 1:], DIFFERENCES, colour, "difference in VH (dB)")
    figure.suptitle(title)
    save_figure(figure, path)


def _grey(images: Sequence[np.ndarray]) -> Normalize:
    """One scale of grey: the middle 98 % of VH in all images."""
    values = np.concatenate([image[BAND].ravel() for image in images])
    return Normalize(*np.nanquantile(values, [0.01, 0.99]))


def _show(axes: Axes, image: np.ndarray, colours: str, scale: Normalize | None) -> None:
    axes.imshow(image, cmap=colours, norm=scale, interpolation="nearest")
    axes.set(xticks=[], yticks=[])


def _bar(figure, cells: np.ndarray, colours: str, scale: Normalize, label: str) -> None:
    figure.colorbar(ScalarMappable(scale, colours), ax=list(cells.ravel()), label=label, shrink=0.8, pad=0.01)
