"""Random fields that terrain, land cover and texture are made of. The same generator gives the same bits anywhere."""

import numpy as np
import scipy.fft
from scipy import ndimage

NODES_PER_SCALE = (
    3  # nodes of the coarse grid within one correlation length; linear interpolation between them is enough
)


def smooth_field(shape: tuple[int, int], scale_px: float, rng: np.random.Generator) -> np.ndarray:
    """A normal field of zero mean and variance near 1, (rows, cols) float32, that hardly changes within `scale_px`.

    scale_px: standard deviation of the Gaussian that smooths white noise, so its correlation length; at least 1.
    """
    spacing = max(1.0, scale_px / NODES_PER_SCALE)
    sigma = scale_px / spacing
    margin = int(np.ceil(3 * sigma))
    nodes = [int(np.ceil(length / spacing)) + 2 + 2 * margin for length in shape]
    coarse = ndimage.gaussian_filter(rng.standard_normal(nodes, dtype=np.float32), sigma, truncate=3)
    coarse *= np.float32(2 * np.sqrt(np.pi) * sigma)  # white noise keeps 1 / (4 pi sigma^2) of its variance
    return upsampled(coarse[margin:-margin, margin:-margin], shape, spacing)


def upsampled(coarse: np.ndarray, shape: tuple[int, int], spacing: float) -> np.ndarray:
    """`coarse`, whose nodes lie `spacing` pixels apart from the first pixel on, at every pixel of `shape`: bilinear."""
    rows, cols = (_weights(length, spacing, n) for length, n in zip(shape, coarse.shape, strict=True))
    across = coarse[:, cols[0]] * (1 - cols[1]) + coarse[:, cols[0] + 1] * cols[1]
    weight = rows[1][:, None]
    return across[rows[0]] * (1 - weight) + across[rows[0] + 1] * weight


def _weights(length: int, spacing: float, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    positions = np.arange(length, dtype=np.float32) / np.float32(spacing)
    first = np.minimum(positions.astype(np.int32), nodes - 2)
    return first, positions - first.astype(np.float32)


def fractal_field(
    shape: tuple[int, int],
    exponent: float,
    longest_px: float,
    shortest_px: float,
    stretch: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """A normal field whose power falls as frequency^-exponent, of mean 0 and variance 1, (rows, cols) float32.

    longest_px: wavelength above which power no longer grows. shortest_px: below it nothing is left (what erosion
    rounds off). stretch: how much longer its forms are from the upper left to the lower right than across.
    """
    padded = [scipy.fft.next_fast_len(int(length + longest_px), real=True) for length in shape]  # opposite edges differ
    spectrum = scipy.fft.rfft2(rng.standard_normal(padded, dtype=np.float32))
    rows = scipy.fft.fftfreq(padded[0]).astype(np.float32)[:, None]
    cols = scipy.fft.rfftfreq(padded[1]).astype(np.float32)[None, :]
    along, across = (rows + cols) / np.sqrt(np.float32(2)), (rows - cols) / np.sqrt(np.float32(2))
    squared = along**2 * np.float32(stretch) + across**2 / np.float32(stretch)
    power = (squared + np.float32(longest_px**-2)) ** np.float32(-exponent / 2)
    spectrum *= np.sqrt(power) * np.exp(-squared * np.float32(shortest_px**2 / 2))
    field = scipy.fft.irfft2(spectrum, s=padded)[: shape[0], : shape[1]]
    return ((field - field.mean()) / field.std()).astype(np.float32)
