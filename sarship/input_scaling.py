"""Mean and standard deviation of a set's pixels, without the set in memory."""

import numpy as np

from sarship.stored_chips import Chips

SUMMED_AT_ONCE = 1 << 21  # pixels of grey chips: 8 MB as float32


def input_scaling(chips: Chips) -> tuple[float, float] | tuple[list[float], list[float]]:
    """Mean and standard deviation, in 0..1, of chips (chips, rows, cols[, 3]) uint8; of colour chips, of each band."""
    return _of_grey(chips) if len(chips.shape) == 3 else _of_colour(chips)


def _of_grey(chips: Chips) -> tuple[float, float]:
    """To the bit what NumPy's mean() and std() say of all pixels as one float32 array: first weights depend on it.

    NumPy adds float32 numbers by halves (pairwise summation, Higham, The accuracy of floating point summation, SIAM
    J. Sci. Comput. 14, 1993), so sums of parts are added as it would have added them. Unlike counts of levels, which
    would be exact, that leaves every result as it was when the set was one array.
    """
    count = len(chips) * chips.shape[1] * chips.shape[2]
    # Divided in float64, as there: float32 does not know every count beyond 2^24.
    mean = np.float32(float(_sum(chips, 0, count, np.float32(0), 1)) / count)
    variance = np.float32(float(_sum(chips, 0, count, mean, 2)) / count)
    return float(mean), float(np.sqrt(variance))


def _sum(chips: Chips, start: int, stop: int, centre: np.float32, power: int) -> np.float32:
    """Sum of (pixel / 255 - centre) ** power over the pixels with numbers `start` to `stop` - 1, as NumPy adds them."""
    count = stop - start
    if count > SUMMED_AT_ONCE:
        half = count // 2
        middle = start + half - half % 8  # where NumPy halves: its innermost loop adds eight at once
        return _sum(chips, start, middle, centre, power) + _sum(chips, middle, stop, centre, power)
    size = chips.shape[1] * chips.shape[2]
    first = start // size
    pixels = chips[first : -(-stop // size)].reshape(-1)[start - first * size :][:count]
    levels = pixels.astype(np.float32)
    levels /= 255
    levels -= centre
    if power == 2:
        levels *= levels
    return levels.sum()


def _of_colour(chips: Chips) -> tuple[list[float], list[float]]:
    level = np.arange(256) / 255
    counts = sum(_level_counts(chip) for chip in chips)  # (3, 256)
    mean = counts @ level / counts.sum(axis=1)
    spread = counts @ level**2 / counts.sum(axis=1) - mean**2
    return mean.tolist(), np.sqrt(spread.clip(min=0)).tolist()


def _level_counts(chip: np.ndarray) -> np.ndarray:
    """(3, 256) how often each level is in each band of a chip (rows, cols, 3) uint8."""
    return np.stack([np.bincount(chip[..., band].ravel(), minlength=256) for band in range(chip.shape[-1])])
