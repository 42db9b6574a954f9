"""Metric chips by the plain way: whole matrices, and a correlation looked up for every two pixels.

What the fast way of sarship/geometry.py is held against, pixel by pixel.
"""

import numpy as np
from scipy import fft, linalg
from scipy.special import ndtr, ndtri

from sarship.geometry import CORRELATION_REACH, FAR_OUT, RIM_SHARE, chip_size, is_smaller


def metric_chip(pixels, spacing_m, extent_m, target_m, seed) -> np.ndarray:
    margin = [
        max(0, int(np.ceil((extent_m / spacing - count) / 2)) + 1)
        for count, spacing in zip(pixels.shape, spacing_m, strict=True)
    ]
    if is_smaller(pixels.shape, spacing_m, extent_m):
        pixels = continue_sea(pixels, margin[0], margin[1], np.random.default_rng(seed))
    size = chip_size(extent_m, target_m)
    rows, cols = (resampling(pixels.shape[axis], spacing_m[axis], size, target_m) for axis in (0, 1))
    intensity = rows @ np.square(pixels, dtype=np.float32) @ cols.T
    return np.rint(np.sqrt(intensity)).clip(0, 255).astype(np.uint8)


def resampling(count, spacing_m, size, target_m) -> np.ndarray:
    source_m = (np.arange(count) - (count - 1) / 2) * spacing_m
    wanted_m = (np.arange(size) - (size - 1) / 2) * target_m
    weights = np.maximum(0, 1 - np.abs(wanted_m[:, None] - source_m[None, :]) / max(spacing_m, target_m))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def continue_sea(pixels, row_margin, col_margin, generator) -> np.ndarray:
    rim = rim_mask(pixels.shape)
    values = np.sort(pixels[rim])
    first, third = np.percentile(values, [25, 75])
    sea = values[values <= third + FAR_OUT * max(third - first, 1)]
    below, upto = (np.searchsorted(sea, pixels, side=side) for side in ("left", "right"))
    scores = ndtri(((below + upto) / 2 + 0.5) / (len(sea) + 1))
    usable = rim & (pixels <= sea[-1])
    correlation = rim_correlation(scores, usable)
    around = ((row_margin,) * 2, (col_margin,) * 2)
    inside = np.pad(np.ones(pixels.shape, bool), around)
    field = gaussian_field(inside.shape, correlation, generator)
    condition(field, np.pad(scores, around), inside, correlation, max(1 - scores[usable].var(), 0.01))
    result = np.pad(pixels, around)
    quantile = ndtr(field[~inside])
    result[~inside] = sea[np.minimum((quantile * len(sea)).astype(np.int64), len(sea) - 1)]
    return result


def rim_mask(shape) -> np.ndarray:
    rows, cols = (max(1, round(count * RIM_SHARE)) for count in shape)
    rim = np.ones(shape, bool)
    rim[rows : shape[0] - rows, cols : shape[1] - cols] = False
    return rim


def rim_correlation(scores, usable) -> np.ndarray:
    """Lag by lag."""
    reach = min(CORRELATION_REACH, min(scores.shape) // 4)
    values = np.where(usable, scores - scores[usable].mean(), 0)
    correlation = np.zeros((2 * reach + 1, 2 * reach + 1))
    for row in range(-reach, reach + 1):
        for col in range(-reach, reach + 1):
            here = tuple(slice(max(0, lag), min(0, lag) or None) for lag in (row, col))
            there = tuple(slice(max(0, -lag), min(0, -lag) or None) for lag in (row, col))
            pairs = max((usable[here] & usable[there]).sum(), 1)
            taper = max(0, 1 - (np.hypot(row, col) / (reach + 1)) ** 2)
            correlation[row + reach, col + reach] = (values[here] * values[there]).sum() / pairs * taper
    correlation[reach, reach] = 1
    return correlation


def gaussian_field(shape, correlation, generator) -> np.ndarray:
    reach = correlation.shape[0] // 2
    size = [fft.next_fast_len(count + reach, real=True) for count in shape]
    kernel = np.zeros(size)
    lags = np.arange(-reach, reach + 1)
    kernel[np.ix_(lags % size[0], lags % size[1])] = correlation
    spectrum = np.maximum(fft.rfft2(kernel).real, 0)
    field = fft.irfft2(fft.rfft2(generator.standard_normal(size)) * np.sqrt(spectrum), size)[: shape[0], : shape[1]]
    return field / np.sqrt(max(fft.irfft2(spectrum, size)[0, 0], np.finfo(float).tiny))


def condition(field, scores, inside, correlation, lost_variance) -> None:
    rows, cols = np.nonzero(inside)
    border = (rows == rows.min()) | (rows == rows.max()) | (cols == cols.min()) | (cols == cols.max())
    known = np.stack([rows[border], cols[border]], axis=1)
    wanted = np.argwhere(~inside)
    error = scores[tuple(known.T)].clip(-3, 3) - field[tuple(known.T)]
    covariance = lookup(correlation, known, known) + lost_variance * np.eye(len(known))
    field[tuple(wanted.T)] += lookup(correlation, wanted, known) @ linalg.solve(covariance, error, assume_a="sym")


def lookup(correlation, first, second) -> np.ndarray:
    reach = correlation.shape[0] // 2
    lag = first[:, None, :] - second[None, :, :]
    far = (np.abs(lag) > reach).any(axis=2)
    lag = np.where(far[..., None], 0, lag) + reach
    return np.where(far, 0.0, correlation[lag[..., 0], lag[..., 1]])
