"""The part `difference` of detect_changes.py: a whole area's newest image as it should look, and what differs."""

import argparse
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from sarship.change import figures
from sarship.change.conditions import Acquisition
from sarship.change.detection import ScoreCounts
from sarship.change.earlier import choose_earlier
from sarship.change.predictor import load_predictor
from sarship.change.scene import earlier_of, predicted_strips
from sarship.change.series import POLARIZATIONS, SCALES, Area, check_grid, opened, read_area
from sarship.command import UserError
from sarship.device import Device
from sarship.files import whole_folder

PICTURE_PIXELS = 700  # of a side at most
STRIP_ROWS = 256  # that are read at once where nothing is predicted


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("area", type=Path, metavar="FOLDER", help="with acquisitions.csv and the images")
    add("--date", metavar="DATE", help="of the newest image, as in acquisitions.csv (without: the last)")
    add("--model", type=Path, metavar="FILE", help="(without: change/models/UNet.pt)")
    add("--truth", type=Path, metavar="MASK", help="GeoTIFF of the area's size: 0 unchanged, 1 or 255 changed")
    add("--scale", choices=SCALES, default="auto", help="of the pixels; auto finds out")


def run(chosen: argparse.Namespace, device: Device, folder: Path) -> None:
    """Write predicted.tif, difference.tif and difference.png to <folder>/differences/<area>_<date>/.

    Raises UserError for an area, date, model or mask that does not fit.
    """
    area = read_area(chosen.area, chosen.scale)
    newest = _newest(area, chosen.date)
    earlier = earlier_of(area, newest)
    predictor = load_predictor(chosen.model or folder / "models" / "UNet.pt", device)
    target = folder / "differences" / f"{area.folder.resolve().name}_{newest.date:%Y%m%dT%H%M}"
    mask = read_mask(chosen.truth, area) if chosen.truth else None
    with whole_folder(target) as written:
        _write_rasters(area, newest, predicted_strips(predictor, area, newest, earlier), written)
        compared = _earlier_to_compare(earlier, newest)
        _draw(area, newest, compared, written, mask)
        lines = _scores(area, newest, compared, written, mask)
    print("\n".join([*lines, f"{target}: predicted.tif, difference.tif (newest minus predicted, dB), difference.png"]))


def _newest(area: Area, date: str | None) -> Acquisition:
    if date is None:
        return area.acquisitions[-1]
    try:
        wanted = datetime.fromisoformat(date)
    except ValueError as error:
        raise UserError(f"--date {date}: is no date; write it as 2020-10-03T15:54") from error
    found = [each for each in area.acquisitions if each.date == wanted]
    if not found:
        nearest = min(area.acquisitions, key=lambda each: abs(each.date - wanted))
        raise UserError(f"--date {date}: there is no such acquisition; the nearest is {nearest.date:%Y-%m-%dT%H:%M}")
    return found[0]


def read_mask(path: Path, area: Area) -> np.ndarray:
    """(rows, cols) bool. Raises UserError for a mask of another size or place, or with values other than 0, 1, 255."""
    with opened(path) as dataset:
        if (dataset.height, dataset.width) != (area.rows, area.cols):
            raise UserError(
                f"{path}: has {dataset.height} x {dataset.width} pixels, the area {area.rows} x {area.cols}"
            )
        if dataset.crs is not None:  # a mask from a drawing program says no place
            check_grid(dataset, path, (area.rows, area.cols, area.crs, area.transform))
        values = dataset.read(1)
    found = set(np.unique(values).tolist())
    if not found <= {0, 1, 255} or {1, 255} <= found:
        raise UserError(f"{path}: a mask has 0 for unchanged and either 1 or 255 for changed, nothing else")
    if len(found) < 2:
        raise UserError(f"{path}: has {'no changed' if found == {0} else 'no unchanged'} pixel; nothing can be scored")
    return values > 0


def _write_rasters(area: Area, newest: Acquisition, strips, folder: Path) -> None:
    profile = {
        "driver": "GTiff", "height": area.rows, "width": area.cols, "count": 2, "dtype": "float32", "nodata": np.nan,
        "crs": area.crs, "transform": area.transform, "compress": "deflate", "predictor": 3, "tiled": True,
        "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    with ExitStack() as stack:
        predicted, difference = (
            stack.enter_context(rasterio.open(folder / f"{name}.tif", "w", **profile))
            for name in ("predicted", "difference")
        )
        for each in (predicted, difference):
            each.descriptions = POLARIZATIONS
        for row, strip in strips:
            window = Window(0, row, area.cols, strip.shape[1])
            predicted.write(strip, window=window)
            difference.write(area.image(newest, window) - strip, window=window)


def _earlier_to_compare(earlier: list[Acquisition], newest: Acquisition) -> Acquisition:
    """The earlier image of the same orbit and closest incidence angle; where none has the orbit, the last."""
    choice = choose_earlier([*earlier, newest], max_angle_deg=90)
    return earlier[next(iter(choice.values()))] if choice else earlier[-1]


def _draw(area: Area, newest: Acquisition, compared: Acquisition, folder: Path, mask: np.ndarray | None) -> None:
    step = max(1, -(-max(area.rows, area.cols) // PICTURE_PIXELS))
    thinned = {"newest": _thinned(area, newest, step)}
    with opened(folder / "predicted.tif") as dataset:
        thinned["predicted image"] = dataset.read(out_shape=(2, -(-area.rows // step), -(-area.cols // step)))
    thinned[f"image of {compared.date:%Y-%m-%d}"] = _thinned(area, compared, step)
    title = f"{area.folder.resolve().name}, {newest.date:%Y-%m-%d %H:%M}, {newest.orbit}"
    figures.difference_sheet(thinned, None if mask is None else mask[::step, ::step], folder / "difference.png", title)


def _thinned(area: Area, acquisition: Acquisition, step: int) -> np.ndarray:
    """Every step-th pixel of an image each way, read by strips."""
    rows = range(0, area.rows, step * max(1, STRIP_ROWS // step))
    height = step * max(1, STRIP_ROWS // step)
    parts = [
        area.image(acquisition, Window(0, row, area.cols, min(height, area.rows - row)))[:, ::step, ::step]
        for row in rows
    ]
    return np.concatenate(parts, axis=1)


def _scores(area: Area, newest: Acquisition, compared: Acquisition, folder: Path, mask: np.ndarray | None) -> list[str]:
    """Lines with the AUC of a threshold on both difference images; none without a mask."""
    if mask is None:
        return []
    by_prediction, by_earlier = ScoreCounts(1), ScoreCounts(1)
    with opened(folder / "difference.tif") as dataset:
        for row in range(0, area.rows, STRIP_ROWS):
            window = Window(0, row, area.cols, min(STRIP_ROWS, area.rows - row))
            own = mask[row : row + window.height]
            image = area.image(newest, window)
            parts = (dataset.read(window=window), image - area.image(compared, window))
            known = np.isfinite(parts[0]).all(axis=0) & np.isfinite(parts[1]).all(axis=0)
            for counts, part in zip((by_prediction, by_earlier), parts, strict=True):
                counts.add_pixels(0, part[:, known], own[known])
    return [
        f"AUC by predicted image {by_prediction.auc()[0]:.3f}, by the image of {compared.date:%Y-%m-%d} "
        f"{by_earlier.auc()[0]:.3f}"
    ]
