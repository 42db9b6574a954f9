"""One image of an area: noise-free for any conditions, or as the satellite brings it."""

from pathlib import Path

import numpy as np

from sarship.change.conditions import Acquisition
from sarship.change.simulator.areas import Options, Shot, area_gain, area_land, read_options, speckle_generator
from sarship.change.simulator.levels import NOISE_DB, Hidden, patch_levels, typical
from sarship.change.simulator.speckle import blurred, lee_filter, speckle, speckle_noise

# A power of two, so that the last bits of each number are zeros and files are a third smaller.
STEPS_PER_DB = 64
STRIP_ROWS = 64  # what is worked on at once: it fits into a core's cache, and large images need little memory


def clean_image(area_folder: Path, acquisition: Acquisition) -> np.ndarray:
    """The noise-free image of a simulated area under any conditions, (2, rows, cols) float32: VV and VH in dB.

    It depends on the acquisition's date, orbit, satellite, incidence angle and weather only; what no column tells (see
    `levels.Hidden`) has its mean for the date. Images of the series have speckle, and differ by the hidden state.

    Raises UserError if the folder's simulation.json is missing or of another version.
    """
    options, area = read_options(area_folder / "simulation.json")
    return _image(options, area, acquisition, typical(acquisition.date), None)


def shot_image(options: Options, area: int, shot: Shot) -> np.ndarray:
    """What the satellite brings, after the speckle filter, (2, rows, cols) float32: VV and VH in dB."""
    return _image(options, area, shot.acquisition, shot.hidden, speckle_generator(options, area, shot.number))


def _image(
    options: Options, area: int, acquisition: Acquisition, hidden: Hidden, rng: np.random.Generator | None
) -> np.ndarray:
    """(2, rows, cols) float32 dB; without a generator there is no speckle, and no filter."""
    key = options.seed, area, options.size, options.fields
    land, gain = area_land(*key), area_gain(*key, acquisition.orbit, acquisition.incidence_angle_deg)
    levels = patch_levels(land.patches, acquisition, hidden).astype(np.float32)
    window = options.lee_window if rng else 1
    around = 1 + window // 2  # rows that blurring and filtering look beyond a strip
    rows = options.size
    image = np.empty_like(gain)
    for band in range(len(image)):
        white = speckle_noise((rows, rows), rng) if rng else None
        for first in range(0, rows, STRIP_ROWS):
            low, high = max(0, first - around), min(rows, first + STRIP_ROWS + around)
            strip = blurred(levels[band].take(land.patch[low:high]) * gain[band, low:high])
            strip += np.float32(10 ** (NOISE_DB / 10))
            if white is not None:
                strip = lee_filter(strip * speckle(white[low : high + 1]), window)
            last = min(rows, first + STRIP_ROWS)
            image[band, first:last] = _decibels(strip[first - low : last - low])
    return image


def _decibels(intensity: np.ndarray) -> np.ndarray:
    return np.rint(np.log(intensity) * np.float32(10 * STEPS_PER_DB / np.log(10))) * np.float32(1 / STEPS_PER_DB)
