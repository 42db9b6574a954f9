"""The sensors: spacing, resolution, looks, weighting and noise of Gaofen-3 ultra-fine strip and Sentinel-1 IW."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

# 3 dB width of a point times processed bandwidth, by alpha of the Hamming window (computed from the window itself).
_ALPHAS = (0.54, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0)
_WIDTHS = (1.305, 1.172, 1.047, 1.0, 0.969, 0.922, 0.891)


@dataclass(frozen=True)
class Sensor:
    """How one product sees. Rows run along azimuth, columns along range.

    row_spacing_m, row_resolution_m: azimuth; resolution is the 3 dB width of a point.
    col_spacing_m, col_resolution_m: range, on the ground unless slant_range.
    weighting: the alpha of the Hamming window over the processed band, alpha + (1 - alpha) cos(2 pi f / band).
    look_weights: weight of each look in the mean of intensities; a single 1 for a complex product.
    noise_db: noise-equivalent sigma nought, dB.
    incidence_deg: lowest and highest.
    tilt_deg: the angle in the pixel grid by which side lobes leave rows and columns; its sign is the scene's.
    clutter_order: lowest and highest order of the gamma texture of its sea clutter.
    """

    name: str
    product: str
    row_spacing_m: float
    row_resolution_m: float
    col_spacing_m: float
    col_resolution_m: float
    slant_range: bool
    weighting: float
    look_weights: tuple[float, ...]
    noise_db: float
    incidence_deg: tuple[float, float]
    tilt_deg: float
    clutter_order: tuple[float, float]

    def ground_col_spacing_m(self, incidence_deg: float) -> float:
        """Distance on the ground between two columns, metres."""
        return self.col_spacing_m / np.sin(np.radians(incidence_deg)) if self.slant_range else self.col_spacing_m

    def pixel_area_m2(self, incidence_deg: float) -> float:
        return self.row_spacing_m * self.ground_col_spacing_m(incidence_deg)

    def transfer(self, size: int, tilt_deg: float = 0.0) -> np.ndarray:
        """(size, size) float32 over the frequencies of a 2-D FFT: what the processor keeps of each.

        Its inverse FFT is the point-spread function, of unit energy: white noise of variance 1 keeps variance 1.
        """
        pixels_per_cell = (
            round(self.row_spacing_m / self.row_resolution_m, 6),
            round(self.col_spacing_m / self.col_resolution_m, 6),
        )
        return _transfer(pixels_per_cell, self.weighting, size, tilt_deg)


@lru_cache(maxsize=64)
def _transfer(pixels_per_cell: tuple[float, float], alpha: float, size: int, tilt_deg: float) -> np.ndarray:
    # On a grid twice as large and cut down in space: else tilted side lobes would enter again at the opposite edge.
    frequency = scipy.fft.fftfreq(2 * size).astype(np.float32)
    cosine, sine = (np.float32(f(np.radians(tilt_deg))) for f in (np.cos, np.sin))
    along = cosine * frequency[:, None] + sine * frequency[None, :]
    across = cosine * frequency[None, :] - sine * frequency[:, None]
    window = _window(along, pixels_per_cell[0], alpha) * _window(across, pixels_per_cell[1], alpha)
    kept = slice(size - size // 2, 2 * size - size // 2)
    point = scipy.fft.fftshift(scipy.fft.ifft2(window).real)[kept, kept]
    transfer = scipy.fft.fft2(scipy.fft.ifftshift(point)).real
    return transfer / np.sqrt(np.mean(transfer**2))


def _window(frequency: np.ndarray, pixels_per_cell: float, alpha: float) -> np.ndarray:
    band = pixels_per_cell * float(np.interp(alpha, _ALPHAS, _WIDTHS))
    window = alpha + (1 - alpha) * np.cos(2 * np.pi / band * frequency)
    # The edge takes one step of the grid: cut hard, a tilted edge is a staircase, and its side lobes stay untilted.
    return window * np.clip((band / 2 - np.abs(frequency)) * len(frequency) + 0.5, 0, 1)


# Gaofen-3, ultra-fine strip.
# - Spacing is meta.csv's; widthspace is taken as spacing on the ground, as the ships' proportions in the real chips
#   would be odd otherwise (in slant range the real bulk carrier would be 500 m long).
# - Resolution and weighting: the amplitude of the sea in the four real chips correlates by 0.48 to 0.59 from pixel to
#   pixel and 0.14 to 0.25 over two, which needs points two pixels wide and a weighted band. The mode's nominal
#   resolution is 3 m, its peak side lobes are -22 dB or less (Zhang, System design of the GF-3 satellite, Acta Geod.
#   Cartogr. Sinica 46, 2017); alpha 0.7 gives -24 dB.
# - One look: amplitude varies by 0.55 to 0.60 of its mean, little more than the 0.52 of one look without texture;
#   K-distributed amplitude varies so much at gamma orders of 4 to 12.
# - Noise: the mode is specified to about -20 dB at its worst. There, half of what one sees were noise, which varies by
#   0.52 only; so the usual case must be some dB better.
# - Incidence: the mode has 20 to 50 degrees; the one row of meta.csv that is known here has a look angle of 27.3, so
#   30.8 at the ground.
# - Side lobes of the real chips lie 8 to 10 degrees off the grid, to either side, both arms alike: the chips seem to be
#   north up, and the track leans by that (sun-synchronous, inclination 98.4 degrees).
FUSAR = Sensor(
    name="Gaofen-3",
    product="UFS",
    row_spacing_m=1.728,
    row_resolution_m=3.5,
    col_spacing_m=1.124,
    col_resolution_m=2.3,
    slant_range=False,
    weighting=0.7,
    look_weights=(1.0,),
    noise_db=-23.0,
    incidence_deg=(26.0, 48.0),
    tilt_deg=9.0,
    clutter_order=(4.0, 12.0),
)

# Sentinel-1 IW.
# - Resolution, looks, spacing: ESA, Sentinel-1 Product Definition (S1-RS-MDA-52-7440): GRDH 20 x 22 m, five looks in
#   range that overlap, 4.4 equivalent ones; the weights of the five give 4.4.
# - Weighting: Hamming 0.75, seen in the range spectrum of the real SLC chips; -21.2 dB side lobes, as specified.
# - Noise: specified to -22 dB; the VH rims of the real chips, which are little else, have a median of -24 dB.
# - Clutter order grows with the area of a resolution cell to the power 5/8 (Ward, Tough & Watts, Sea Clutter, 2013);
#   the area is 55 times (GRD) and 13 times (SLC) that of Gaofen-3's.
GRD = Sensor(
    name="Sentinel-1",
    product="GRD",
    row_spacing_m=10.0,
    row_resolution_m=22.0,
    col_spacing_m=10.0,
    col_resolution_m=20.0,
    slant_range=False,
    weighting=0.75,
    look_weights=(0.1097, 0.2602, 0.2602, 0.2602, 0.1097),
    noise_db=-24.0,
    incidence_deg=(30.5, 46.0),
    tilt_deg=0.0,
    clutter_order=(48.0, 145.0),
)

SLC = Sensor(
    name="Sentinel-1",
    product="SLC",
    row_spacing_m=13.93,
    row_resolution_m=22.0,
    col_spacing_m=2.33,
    col_resolution_m=3.1,
    slant_range=True,
    weighting=0.75,
    look_weights=(1.0,),
    noise_db=-24.0,
    incidence_deg=(30.5, 46.0),
    tilt_deg=0.0,
    clutter_order=(20.0, 60.0),
)
