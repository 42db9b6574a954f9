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

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import fft, linalg
from scipy.special import ndtr, ndtri

RIM_SHARE = 1 / 6  # of the side: an OpenSARShip ship fills the middle quarter, so the outer sixths are sea
CORRELATION_REACH = 4  # pixels: further off, the speckle of both sensors is uncorrelated (measured: < 0.05)
BAND_TARGETS, WHOLE_TO_PIXELS = 16, 128  # smaller bands cost more calls than they save zeros, and so do small chips
BLAS_TERMS = 320  # OpenBLAS' SGEMM_DEFAULT_Q of most x86 kernels
FAR_OUT = 3.0  # interquartile ranges above the third quartile: Tukey's fence for ghosts, side lobes, other ships


def chip_size(extent_m: float, spacing_m: float) -> int:
    """Pixels per side of a metric chip."""
    return round(extent_m / spacing_m)


def resized_chip(pixels: np.ndarray, size: int) -> np.ndarray:
    """The whole chip resized to size x size, scale and aspect lost (bilinear, as published).

    pixels: (rows, cols) or (rows, cols, 3) uint8; returns the same kind. One of that size comes back as it was.
    """
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
    rows, cols = (
        _bands(count, spacing, size, target_m) for count, spacing in zip(pixels.shape, spacing_m, strict=True)
    )
    first_row, first_col = rows[0].source.start, cols[0].source.start
    seen = pixels[first_row : rows[-1].source.stop, first_col : cols[-1].source.stop].astype(np.float32)
    seen *= seen
    half = np.zeros((size, seen.shape[1]), np.float32)
    for band in rows:
        half[band.target] += band.weights @ seen[band.source.start - first_row : band.source.stop - first_row]
    intensity = np.zeros((size, size), np.float32)
    for band in cols:
        intensity[:, band.target] += (
            half[:, band.source.start - first_col : band.source.stop - first_col] @ band.weights.T
        )
    return np.rint(np.sqrt(intensity)).clip(0, 255).astype(np.uint8)


class _Band(NamedTuple):
    """Weights of neighbouring target pixels on the source pixels that they see, (targets, sources)."""

    target: slice
    source: slice
    weights: np.ndarray


@lru_cache(maxsize=256)  # 30 kB each; FUSAR-Ship has a row spacing a scene
def _bands(count: int, spacing_m: float, size: int, target_m: float) -> list[_Band]:
    """(size, count) weights of a triangle filter as wide as the larger of both pixels, in bands; rows sum to one.

    Most of the whole matrix are zeros. The bands give its product with a chip to the last bit, where the linear
    algebra sums in order: OpenBLAS does, and cuts sums of more terms than BLAS_TERMS in the middle, as is done here.
    """
    width_m = max(spacing_m, target_m)
    wanted_m = (np.arange(size) - (size - 1) / 2) * target_m
    source_m = (np.arange(count) - (count - 1) / 2) * spacing_m
    step = BAND_TARGETS if count > WHOLE_TO_PIXELS else size
    cuts = [0, count // 2, count] if count > BLAS_TERMS else [0, count]
    bands = []
    for start in range(0, size, step):
        target = slice(start, min(start + step, size))
        first, last = np.searchsorted(source_m, wanted_m[[target.start, target.stop - 1]] + [-width_m, width_m])
        distance = np.abs(wanted_m[target, None] - source_m[None, first:last]) / width_m
        weights = np.maximum(0, 1 - distance)
        weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        for low, high in pairwise(cuts):
            source = slice(max(first, low), min(last, high))
            if source.start < source.stop:
                bands.append(_Band(target, source, weights[:, source.start - first : source.stop - first].copy()))
    return bands


def continue_sea(pixels: np.ndarray, row_margin: int, col_margin: int, generator: np.random.Generator) -> np.ndarray:
    """The chip with row_margin more rows above and below and col_margin more columns on either side, all sea.

    A Gaussian field with the rim's autocorrelation is drawn, conditioned on the chip's border pixels (simple
    kriging; Journel & Huijbregts 1978, Mining Geostatistics, ch. VII), and its ranks are replaced by values of the
    rim, ghosts and other ships excluded. (rows, cols) uint8 -> (rows + 2 row_margin, cols + 2 col_margin) uint8.
    """
    rim = _rim_mask(pixels.shape)
    sea = _sea_values(pixels[rim])
    scores = _normal_scores(sea)[pixels]
    usable = rim & (pixels <= sea[-1])
    correlation = _rim_correlation(scores, usable)
    shape = (pixels.shape[0] + 2 * row_margin, pixels.shape[1] + 2 * col_margin)
    field = _gaussian_field(shape, correlation, generator)
    # A grey level holds a range of scores, and which of them a pixel had is lost: that much may differ at the border.
    lost_variance = max(1 - scores[usable].var(), 0.01)
    inside = (slice(row_margin, shape[0] - row_margin), slice(col_margin, shape[1] - col_margin))
    field += _correction(
        scores.clip(-3, 3) - field[inside], shape, (row_margin, col_margin), correlation, lost_variance
    )
    result = sea[np.minimum((ndtr(field) * len(sea)).astype(np.int64), len(sea) - 1)]
    result[inside] = pixels
    return result


@lru_cache(maxsize=64)
def _rim_mask(shape: tuple[int, int]) -> np.ndarray:
    rows, cols = (max(1, round(count * RIM_SHARE)) for count in shape)
    rim = np.ones(shape, bool)
    rim[rows : shape[0] - rows, cols : shape[1] - cols] = False
    return rim


def _sea_values(rim: np.ndarray) -> np.ndarray:
    """Sorted values of the rim without those far outside its bulk; never empty."""
    values = np.sort(rim)
    first, third = (_quantile(values, share) for share in (0.25, 0.75))
    return values[: np.searchsorted(values, third + FAR_OUT * max(third - first, 1), side="right")]


def _quantile(values: np.ndarray, share: float) -> float:
    """np.quantile of sorted values, which spends most of its time on other cases."""
    place = (len(values) - 1) * share
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return float(values[below]) + (place - below) * (float(values[above]) - float(values[below]))


def _normal_scores(sea: np.ndarray) -> np.ndarray:
    """(256,) standard normal score of each grey level under the distribution of the sea: that of its middle pixel."""
    levels = np.arange(256)
    below = np.searchsorted(sea, levels, side="left")
    upto = np.searchsorted(sea, levels, side="right")
    return ndtri(((below + upto) / 2 + 0.5) / (len(sea) + 1))


def _rim_correlation(scores: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """(2 R + 1, 2 R + 1) autocorrelation of the usable pixels at lags -R..R, zero lag in the middle, tapered to 0.

    The variance of the scores before they were rounded to grey levels is one, so covariances are correlations.
    """
    reach = min(CORRELATION_REACH, min(scores.shape) // 4)
    values = np.where(usable, scores - scores[usable].mean(), 0)
    size = [count + reach for count in scores.shape]  # room, so that lags do not wrap round
    spectra = fft.rfft2(np.stack([values, usable.astype(float)]), size)
    products, pairs = fft.irfft2(np.abs(spectra) ** 2, size)
    grid, taper = _lags(reach, *size)
    correlation = products[grid] / np.maximum(pairs[grid], 1)
    correlation *= taper
    correlation[reach, reach] = 1
    return correlation


@lru_cache(maxsize=64)
def _lags(reach: int, rows: int, cols: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Places of lags -reach..reach in a transform of (rows, cols), and the taper of correlations there."""
    lags = np.arange(-reach, reach + 1)
    distance = np.hypot(*np.meshgrid(lags, lags, indexing="ij"))
    taper = np.maximum(0, 1 - (distance / (reach + 1)) ** 2)  # to zero at the reach, almost one at the first lag
    return np.ix_(lags % rows, lags % cols), taper


def _gaussian_field(shape: tuple[int, int], correlation: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A standard Gaussian field of that autocorrelation, by circulant embedding (Dietrich & Newsam 1997)."""
    reach = correlation.shape[0] // 2
    size = [fft.next_fast_len(count + reach, real=True) for count in shape]
    # An estimated autocorrelation may not be positive definite.
    spectrum = np.maximum(fft.rfft2(_at_lags(correlation, size)).real, 0)
    field = fft.irfft2(fft.rfft2(generator.standard_normal(size)) * np.sqrt(spectrum), size)[: shape[0], : shape[1]]
    variance = fft.irfft2(spectrum, size)[0, 0]  # no longer one where the spectrum was clipped
    return field / np.sqrt(max(variance, np.finfo(float).tiny))


def _at_lags(correlation: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(size) zeros with the correlation round the first pixel, as lags wrap."""
    kernel = np.zeros(size)
    kernel[_lags(correlation.shape[0] // 2, *size)[0]] = correlation
    return kernel


def _correction(
    error: np.ndarray, shape: tuple[int, int], margin: tuple[int, int], correlation: np.ndarray, lost_variance: float
) -> np.ndarray:
    """What bends a field of `shape` so that it goes on from the chip's outermost pixels.

    error: (rows, cols) scores of the chip less the field there.
    """
    rows, cols, lags = _border(*error.shape, correlation.shape[0] // 2)
    covariance = np.append(correlation.ravel(), 0.0)[lags]  # (border, border)
    covariance[np.diag_indices_from(covariance)] += lost_variance
    weights = linalg.solve(covariance, error[rows, cols], assume_a="sym", overwrite_a=True, check_finite=False)
    size = [fft.next_fast_len(count + correlation.shape[0] // 2, real=True) for count in shape]
    spread = np.zeros(size)
    spread[rows + margin[0], cols + margin[1]] = weights
    spectrum = fft.rfft2(spread) * fft.rfft2(_at_lags(correlation, size))
    return fft.irfft2(spectrum, size)[: shape[0], : shape[1]]


@lru_cache(maxsize=32)
def _border(rows: int, cols: int, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of a chip's outermost pixels, (n,) each, and which correlation each two of them have, (n, n).

    The last is an index into the flat (2 reach + 1, 2 reach + 1) correlation with a zero behind it, for beyond reach.
    """
    outermost = np.ones((rows, cols), bool)
    outermost[1:-1, 1:-1] = False
    places = np.stack(np.nonzero(outermost))  # (2, n)
    lag = places[:, :, None] - places[:, None, :]
    side = 2 * reach + 1
    index = (lag[0] + reach) * side + lag[1] + reach
    index[(np.abs(lag) > reach).any(axis=0)] = side * side
    return *places, index.astype(np.uint8)
