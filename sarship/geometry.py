"""From a chip as its source holds it to a chip of the prepared set: one size, and (metric) one scale.

Why metric: FUSAR-Ship chips have 1.1 m x 1.7 m pixels and 512 x 512 of them, OpenSARShip chips 10 m pixels and a
side of four times the annotated ship. Resized to one size, every OpenSARShip ship is equally long, and a network
cannot tell a 30 m trawler from a 300 m tanker by what tells them apart best. `metric_chip` gives every chip the same
metres per pixel and the same ground extent round its centre.

Why the sea is continued: where the chip is smaller than the extent, its border would stand in the prepared chip, and
with it the ship's annotated length (a quarter of the side). `continue_sea` therefore goes on with draws from the
chip's own rim that keep its distribution and its spatial correlation, conditioned on the pixels at the border so
that there is no seam.
"""

from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import fft, linalg
from scipy.special import ndtr, ndtri

RIM_SHARE = 1 / 6  # of the side: an OpenSARShip ship fills the middle quarter, so the outer sixths are sea
CORRELATION_REACH = 4  # pixels: further off, the speckle of both sensors is uncorrelated (measured: < 0.05)
FAR_OUT = 3.0  # interquartile ranges above the third quartile: Tukey's fence for ghosts, side lobes, other ships


def chip_size(extent_m: float, spacing_m: float) -> int:
    """Pixels per side of a metric chip."""
    return round(extent_m / spacing_m)


def resized_chip(pixels: np.ndarray, size: int) -> np.ndarray:
    """The whole chip resized to size x size, scale and aspect lost (bilinear, as published). uint8 in, uint8 out."""
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def is_smaller(shape: tuple[int, int], spacing_m: tuple[float, float], extent_m: float) -> bool:
    """Whether a chip of (rows, cols) pixels of (row, col) spacing does not fill the extent on some side."""
    return any(count * spacing < extent_m for count, spacing in zip(shape, spacing_m, strict=True))


def metric_chip(
    pixels: np.ndarray, spacing_m: tuple[float, float], extent_m: float, target_m: float, seed: int
) -> np.ndarray:
    """The extent_m x extent_m metres round the centre of a chip, resampled to target_m metres per pixel.

    pixels: (rows, cols) uint8; spacing_m: of rows and of columns. Returns (size, size) uint8 with
    size = chip_size(extent_m, target_m). Resampling is linear and area-true: where target pixels are larger than
    source pixels, intensity (amplitude squared) is averaged over them, as in multilooking. Sea that the chip does not
    reach is continued with draws from its rim, seeded by `seed`.
    """
    margin = [
        max(0, int(np.ceil((extent_m / spacing - count) / 2)) + 1)
        for count, spacing in zip(pixels.shape, spacing_m, strict=True)
    ]
    if is_smaller(pixels.shape, spacing_m, extent_m):
        pixels = continue_sea(pixels, margin[0], margin[1], np.random.default_rng(seed))
    size = chip_size(extent_m, target_m)
    rows = _resampling(pixels.shape[0], spacing_m[0], size, target_m)  # (size, rows)
    cols = _resampling(pixels.shape[1], spacing_m[1], size, target_m)  # (size, cols)
    intensity = rows @ np.square(pixels, dtype=np.float32) @ cols.T
    return np.rint(np.sqrt(intensity)).clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=256)
def _resampling(count: int, spacing_m: float, size: int, target_m: float) -> np.ndarray:
    """(size, count) weights of a triangle filter as wide as the larger of both pixels; rows sum to one."""
    source_m = (np.arange(count) - (count - 1) / 2) * spacing_m
    wanted_m = (np.arange(size) - (size - 1) / 2) * target_m
    distance = np.abs(wanted_m[:, None] - source_m[None, :]) / max(spacing_m, target_m)
    weights = np.maximum(0, 1 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def continue_sea(pixels: np.ndarray, row_margin: int, col_margin: int, generator: np.random.Generator) -> np.ndarray:
    """The chip with row_margin more rows above and below and col_margin more columns on either side, all sea.

    A Gaussian field with the rim's autocorrelation is drawn, conditioned on the chip's border pixels (simple
    kriging; Journel & Huijbregts 1978, Mining Geostatistics, ch. VII), and its ranks are replaced by values of the
    rim, ghosts and other ships excluded. (rows, cols) uint8 -> (rows + 2 row_margin, cols + 2 col_margin) uint8.
    """
    sea = _rim_values(pixels)
    shape = (pixels.shape[0] + 2 * row_margin, pixels.shape[1] + 2 * col_margin)
    inside = np.zeros(shape, bool)
    inside[row_margin : shape[0] - row_margin, col_margin : shape[1] - col_margin] = True
    scores = _normal_scores(pixels, sea)
    usable = _rim_mask(pixels.shape) & (pixels <= sea[-1])
    correlation = _rim_correlation(scores, usable)
    field = _gaussian_field(shape, correlation, generator)
    # A grey level holds a range of scores, and which of them a pixel had is lost: that much may differ at the border.
    lost_variance = max(1 - scores[usable].var(), 0.01)
    _condition(field, np.pad(scores, ((row_margin,) * 2, (col_margin,) * 2)), inside, correlation, lost_variance)
    result = np.pad(pixels, ((row_margin,) * 2, (col_margin,) * 2))
    quantile = ndtr(field[~inside])
    result[~inside] = sea[np.minimum((quantile * len(sea)).astype(np.int64), len(sea) - 1)]
    return result


def _rim_mask(shape: tuple[int, int]) -> np.ndarray:
    rows, cols = (max(1, round(count * RIM_SHARE)) for count in shape)
    rim = np.ones(shape, bool)
    rim[rows : shape[0] - rows, cols : shape[1] - cols] = False
    return rim


def _rim_values(pixels: np.ndarray) -> np.ndarray:
    """Sorted values of the rim without those far outside its bulk; never empty."""
    values = np.sort(pixels[_rim_mask(pixels.shape)])
    first, third = np.percentile(values, [25, 75])
    return values[values <= third + FAR_OUT * max(third - first, 1)]


def _normal_scores(pixels: np.ndarray, sea: np.ndarray) -> np.ndarray:
    """Each pixel's standard normal score under the distribution of the sea: the middle one of its grey level."""
    below = np.searchsorted(sea, pixels, side="left")
    upto = np.searchsorted(sea, pixels, side="right")
    return ndtri(((below + upto) / 2 + 0.5) / (len(sea) + 1))


def _rim_correlation(scores: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """(2 R + 1, 2 R + 1) autocorrelation of the usable pixels at lags -R..R, zero lag in the middle, tapered to 0.

    The variance of the scores before they were rounded to grey levels is one, so covariances are correlations.
    """
    reach = min(CORRELATION_REACH, min(scores.shape) // 4)
    values = np.where(usable, scores - scores[usable].mean(), 0)
    size = [count + reach for count in scores.shape]  # room, so that lags do not wrap round
    products = fft.irfft2(np.abs(fft.rfft2(values, size)) ** 2, size)
    pairs = fft.irfft2(np.abs(fft.rfft2(usable.astype(float), size)) ** 2, size)
    lags = np.arange(-reach, reach + 1)
    grid = np.ix_(lags % size[0], lags % size[1])
    correlation = products[grid] / np.maximum(pairs[grid], 1)
    distance = np.hypot(*np.meshgrid(lags, lags, indexing="ij"))
    correlation *= np.maximum(0, 1 - (distance / (reach + 1)) ** 2)  # to zero at the reach, almost one at the first lag
    correlation[reach, reach] = 1
    return correlation


def _gaussian_field(shape: tuple[int, int], correlation: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A standard Gaussian field of that autocorrelation, by circulant embedding (Dietrich & Newsam 1997)."""
    reach = correlation.shape[0] // 2
    size = [fft.next_fast_len(count + reach, real=True) for count in shape]
    kernel = np.zeros(size)
    lags = np.arange(-reach, reach + 1)
    kernel[np.ix_(lags % size[0], lags % size[1])] = correlation
    spectrum = np.maximum(fft.rfft2(kernel).real, 0)  # an estimated autocorrelation may not be positive definite
    field = fft.irfft2(fft.rfft2(generator.standard_normal(size)) * np.sqrt(spectrum), size)[: shape[0], : shape[1]]
    variance = fft.irfft2(spectrum, size)[0, 0]  # no longer one where the spectrum was clipped
    return field / np.sqrt(max(variance, np.finfo(float).tiny))


def _condition(
    field: np.ndarray, scores: np.ndarray, inside: np.ndarray, correlation: np.ndarray, lost_variance: float
) -> None:
    """Bend `field` outside, in place, so that it goes on from the scores of the chip's outermost pixels."""
    reach = correlation.shape[0] // 2
    rows, cols = np.nonzero(inside)
    border = (rows == rows.min()) | (rows == rows.max()) | (cols == cols.min()) | (cols == cols.max())
    known = np.stack([rows[border], cols[border]], axis=1)  # (pixels, 2)
    near = np.zeros_like(inside)
    near_rows = slice(max(rows.min() - reach, 0), rows.max() + reach + 1)
    near_cols = slice(max(cols.min() - reach, 0), cols.max() + reach + 1)
    near[near_rows, near_cols] = True
    wanted = np.argwhere(near & ~inside)
    error = scores[tuple(known.T)].clip(-3, 3) - field[tuple(known.T)]
    weights = linalg.solve(
        _lookup(correlation, known, known) + lost_variance * np.eye(len(known)), error, assume_a="sym"
    )
    field[tuple(wanted.T)] += _lookup(correlation, wanted, known) @ weights


def _lookup(correlation: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(len(first), len(second)) correlations between two lists of pixels; zero beyond the reach."""
    reach = correlation.shape[0] // 2
    lag = first[:, None, :] - second[None, :, :]
    far = (np.abs(lag) > reach).any(axis=2)
    lag = np.where(far[..., None], 0, lag) + reach
    return np.where(far, 0.0, correlation[lag[..., 0], lag[..., 1]])
