"""Speckle of ground-range images, and the filter that takes most of it away."""

import numpy as np

# Of IW GRDH: 5 looks in range that overlap and are weighted count as 4.4; a resolution of 20 by 22 m on pixels of
# 10 m (ESA, Sentinel-1 Product Definition, S1-RS-MDA-52-7440).
LOOKS = 4.4


def speckle_noise(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """White noise that `speckle` makes speckle of: (rows + 1, cols + 1) float32."""
    return rng.standard_normal((shape[0] + 1, shape[1] + 1), dtype=np.float32)


def speckle(white: np.ndarray) -> np.ndarray:
    """What multiplies mean intensity, (rows, cols) float32: gamma of LOOKS looks and mean 1, neighbours alike.

    white: (rows + 1, cols + 1) of `speckle_noise`, or some rows of it.

    A band of 20 m resolution on pixels of 10 m makes intensities of neighbours correlate by sinc(0.443)^2 = 0.49, and
    of every second pixel by 0.02; so does the sum of two independent neighbours, 0.5 and 0. A normal field of that
    kind goes through the cube of Wilson & Hilferty (PNAS 17, 1931), which makes a normal variate a gamma variate.
    """
    rows = white[1:] + white[:-1]
    normal = (rows[:, 1:] + rows[:, :-1]) * np.float32(0.5 / (3 * np.sqrt(LOOKS)))
    normal += np.float32(1 - 1 / (9 * LOOKS))
    np.maximum(normal, np.float32(0.02), out=normal)
    return normal * normal * normal


def blurred(intensity: np.ndarray) -> np.ndarray:
    """Intensity, (rows, cols) float32, as a resolution of 20 m on pixels of 10 m shows it: 1/4, 1/2, 1/4 each way."""
    padded = np.pad(intensity, 1, mode="edge")
    rows = padded[:-2] + padded[2:] + 2 * padded[1:-1]
    return (rows[:, :-2] + rows[:, 2:] + 2 * rows[:, 1:-1]) * np.float32(1 / 16)


def lee_filter(intensity: np.ndarray, window: int, looks: float = LOOKS) -> np.ndarray:
    """Lee's filter of local statistics (IEEE TPAMI 2, 1980), (rows, cols) float32 linear, of non-negative intensity.

    Where the window varies no more than speckle of `looks` looks does, it gives the mean; the more the window varies,
    the more of the pixel itself. window: odd number of pixels; 1 leaves all as it is.
    """
    if window == 1:
        return intensity
    mean = _box_mean(intensity, window)
    variance = np.maximum(_box_mean(intensity * intensity, window) - mean * mean, np.float32(1e-20))
    # Of the variance, what the scene has: speckle adds mean^2 / looks, and multiplies the scene's own by 1 + 1 / looks.
    weight = (1 - mean * mean / (np.float32(looks) * variance)) / np.float32(1 + 1 / looks)
    np.clip(weight, 0, 1, out=weight)
    return mean + weight * (intensity - mean)


def equivalent_looks(intensity: np.ndarray) -> float:
    """Mean squared over variance of an area that ought to be even."""
    return float(np.mean(intensity) ** 2 / np.var(intensity))


def _box_mean(values: np.ndarray, window: int) -> np.ndarray:
    # Sums of slices: for windows this small they beat running sums, which lose digits beside bright points.
    half = window // 2
    padded = np.pad(values, half, mode="symmetric")
    rows, cols = values.shape
    across = padded[:rows].copy()
    for shift in range(1, window):
        across += padded[shift : shift + rows]
    total = across[:, :cols].copy()
    for shift in range(1, window):
        total += across[:, shift : shift + cols]
    total *= np.float32(1 / window**2)
    return total
