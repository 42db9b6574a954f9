"""Whether a heatmap looks at the ship: where the ship is, and how much of the heatmap lies on it.

The ship is found as a CFAR detector finds it: a pixel belongs to it if it is brighter than the sea around by so many
of the sea's own deviations (the two-parameter CFAR of Novak, Owirka and Netishen, Lincoln Laboratory Journal 6(1),
1993; reviewed for ships by Crisp, DSTO-RR-0272, 2004, section 4). Here the sea is the chip's rim, and its mean and
deviation are median and median absolute deviation, which a second ship or an azimuth ghost in the rim cannot move.
"""

import numpy as np
from scipy.ndimage import binary_dilation, label

RIM_SHARE = 1 / 8  # of the side; a ship at the centre ends well before it
NORMAL_SIGMA_PER_MAD = 1.4826  # of a normal distribution; Rousseeuw and Croux, JASA 88, 1993
# Single-look amplitude is Rayleigh: median 1.177 s, robust sigma 0.665 s. So 5 robust sigmas above the median is
# 4.5 s, and sea passes it with probability exp(-4.5**2 / 2) = 4e-5: less than one pixel of a chip of 128 x 128.
THRESHOLD_SIGMAS = 5.0
LEAST_SIGMA = 1.0  # grey level: below it 8 bit cannot tell noise from rounding
# Side lobes of a bright ship pass the sea's threshold as well. The highest of an unweighted aperture are 13.3 dB below
# the peak (Cumming and Wong, Digital Processing of SAR Data, 2005, 2.3.4); a weighted aperture's are lower still.
# Chips scaled in dB are no amplitude: there the rule asks less than the sea's threshold and changes nothing.
SIDE_LOBE_AMPLITUDE = 10 ** (-13.3 / 20)
# The ship is what touches the middle quarter of the chip (annotated positions are that good), after gaps of
# a 64th of the side (8 m of 512) between its scatterers are closed.
CENTRE_SHARE = 1 / 4
DILATION_PER_SIDE = 1 / 64
LEAST_PIXELS_PER_SIDE = 1 / 32  # a part with fewer bright pixels than this share of the side is a spike of the sea
CONSTANT_BELOW = 1e-6  # maps run from 0 to 1; what is left of a constant one is rounding


def ship_mask(chip: np.ndarray) -> np.ndarray:
    """Where the ship at the centre of a chip is; all False where nothing there stands out from the sea.

    chip: (rows, cols) uint8 amplitude. Returns (rows, cols) bool. In a harbour, quay and ship can be one.
    """
    side = min(chip.shape)
    centre = _centre(chip.shape)
    bright = chip > max(sea_threshold(chip), SIDE_LOBE_AMPLITUDE * chip[centre].max())
    grown = binary_dilation(bright, iterations=max(1, round(side * DILATION_PER_SIDE)))
    parts, count = label(grown, structure=np.ones((3, 3)))
    bright_pixels = np.bincount(parts[bright], minlength=count + 1)
    at_centre = np.unique(parts[centre])
    ship = at_centre[(at_centre > 0) & (bright_pixels[at_centre] >= side * LEAST_PIXELS_PER_SIDE)]
    return np.isin(parts, ship)


def sea_threshold(chip: np.ndarray) -> float:
    """The grey level above which a pixel is no sea: median and robust sigma of the chip's rim. chip: (rows, cols)."""
    rows, cols = chip.shape
    rim_rows, rim_cols = max(1, round(rows * RIM_SHARE)), max(1, round(cols * RIM_SHARE))
    in_rim = np.ones(chip.shape, dtype=bool)
    in_rim[rim_rows : rows - rim_rows, rim_cols : cols - rim_cols] = False
    sea = chip[in_rim].astype(np.float64)
    sigma = NORMAL_SIGMA_PER_MAD * np.median(np.abs(sea - np.median(sea)))
    return float(np.median(sea) + THRESHOLD_SIGMAS * max(sigma, LEAST_SIGMA))


def _centre(shape: tuple[int, int]) -> tuple[slice, slice]:
    return tuple(slice(round(n * (1 - CENTRE_SHARE) / 2), round(n * (1 + CENTRE_SHARE) / 2)) for n in shape)


def attention_on_ship(cam: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """How much of a class activation map lies on the ship, beside what a uniform map would give.

    cam: (rows, cols), 0 or more; mask: (rows, cols) bool. Returns, each 0..1:
    energy_on_ship: share of the map's sum inside the mask (the energy-based pointing game of Wang et al., Score-CAM,
        CVPR Workshops 2020).
    peak_on_ship: share of the map's maxima inside the mask, so 1 or 0 for a map with a single peak (the pointing game
        of Zhang et al., Top-Down Neural Attention by Excitation Backprop, ECCV 2016).
    uniform_energy, uniform_peak: the same of a map that is the same everywhere: both are the mask's share of the area.
    energy_on_ship and peak_on_ship are NaN where there is no ship or the map is constant.
    """
    area = float(mask.mean())
    energy = peak = np.nan
    if mask.any() and not is_constant(cam):
        energy = float(cam[mask].sum(dtype=np.float64) / cam.sum(dtype=np.float64))
        peak = float(mask[cam == cam.max()].mean())
    return {"energy_on_ship": energy, "peak_on_ship": peak, "uniform_energy": area, "uniform_peak": area}


def is_constant(cam: np.ndarray) -> bool:
    """Whether a class activation map says nothing: no gradient, or the same everywhere."""
    return bool(np.ptp(cam) < CONSTANT_BELOW)
