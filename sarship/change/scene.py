"""The newest image of a whole area as it should look, strip by strip, so that memory does not grow with its rows.

The network knows squares of one size. They are laid over the area on a lattice of half their side and blended with
weights that fade towards their borders, where a prediction knows least; so no border of a square is a seam. A strip is
one row of squares: each square is predicted once, and what no later square touches is final and handed out.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from rasterio.windows import Window
from tqdm import tqdm

from sarship.change.conditions import Acquisition
from sarship.change.predictor import Predictor
from sarship.change.samples import EARLIER
from sarship.change.series import Area
from sarship.command import UserError

SQUARES_PIXELS = 2**18  # of the squares that are predicted at once, together


def lattice(length: int, patch: int) -> list[int]:
    """First pixels of the squares along one side: every half patch, and the last where it just fits."""
    step = patch // 2
    return [*range(0, length - patch, step), length - patch]


def blending_weights(patch: int) -> np.ndarray:
    """(patch, patch) float64 above 0: a square's say in each of its pixels, sin^2 to both sides."""
    side = np.sin(np.pi * (np.arange(patch) + 0.5) / patch) ** 2
    return np.outer(side, side)


def earlier_of(area: Area, newest: Acquisition) -> list[Acquisition]:
    """The four acquisitions before `newest`, oldest first. Raises UserError if there are fewer."""
    index = area.acquisitions.index(newest)
    if index < EARLIER:
        raise UserError(
            f"{area.folder}: {newest.date:%Y-%m-%d %H:%M} has {index} images before it, and {EARLIER} are needed"
        )
    return list(area.acquisitions[index - EARLIER : index])


def predicted_strips(
    predictor: Predictor, area: Area, newest: Acquisition, earlier: Sequence[Acquisition]
) -> Iterator[tuple[int, np.ndarray]]:
    """First row and (2, rows, cols) float32 dB of each strip of the predicted image, from the top, without overlap.

    A pixel that no earlier image has, or that has no elevation, is NaN; one that some lack is filled with the mean of
    the others before the network sees it. Raises UserError if the area is smaller than a square.
    """
    patch, told = predictor.patch, [*earlier, newest]
    if min(area.rows, area.cols) < patch:
        raise UserError(f"{area.folder}: has {area.rows} x {area.cols} pixels, and the model needs {patch} x {patch}")
    weights = blending_weights(patch)
    columns, corners = lattice(area.cols, patch), lattice(area.rows, patch)
    blended, said = np.zeros((2, patch, area.cols)), np.zeros((patch, area.cols))
    missing = np.zeros((patch, area.cols), bool)
    at_once = max(1, SQUARES_PIXELS // patch**2)
    for corner, after in zip(tqdm(corners, unit=" strips", disable=None), [*corners[1:], area.rows], strict=True):
        images, elevation, missing = _strip(area, earlier, Window(0, corner, area.cols, patch), predictor)
        for start in range(0, len(columns), at_once):
            part = columns[start : start + at_once]
            squares = np.stack([images[:, :, :, col : col + patch] for col in part])
            heights = np.stack([elevation[:, col : col + patch] for col in part])
            for col, square in zip(part, predictor.batch(squares, heights, [told] * len(part)), strict=True):
                blended[:, :, col : col + patch] += weights * square
                said[:, col : col + patch] += weights
        done = after - corner
        strip = blended[:, :done] / said[:done]
        strip[:, missing[:done]] = np.nan
        yield corner, strip.astype(np.float32)
        blended, said = (_moved_up(each, done) for each in (blended, said))


def _moved_up(values: np.ndarray, rows: int) -> np.ndarray:
    """The accumulator (..., rows, cols) of the next strip: what is still open, then zeros."""
    return np.concatenate([values[..., rows:, :], np.zeros_like(values[..., :rows, :])], axis=-2)


def _strip(
    area: Area, earlier: Sequence[Acquisition], window: Window, predictor: Predictor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (4, 2, rows, cols) dB and elevation (rows, cols) m without holes, and where nothing can be said."""
    images = np.stack([area.image(each, window) for each in earlier])
    elevation = area.elevation(window)
    absent = np.isnan(images)
    missing = absent.all(axis=0).any(axis=0) | np.isnan(elevation)
    if absent.any():
        count = (~absent).sum(axis=0)
        mean = np.where(absent, 0, images).sum(axis=0) / np.maximum(count, 1)
        usual = predictor.network.image_mean.cpu().numpy()
        images = np.where(absent, np.where(count > 0, mean, usual), images).astype(np.float32)
    if np.isnan(elevation).any():
        known = elevation[~np.isnan(elevation)]
        elevation = np.where(np.isnan(elevation), known.mean() if known.size else 0, elevation)
    return images, elevation, missing
