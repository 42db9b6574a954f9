"""Chip: one image cut-out with all that is known of it, and how its pixels become 8 bit.

Rows run along azimuth and columns along range in both sources: the head and tail of each ship
in OpenSARShip's Ship.xml (x is range, y is azimuth) lie on the bright axis of the chip that way.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

# Bounds of sigma nought in 8-bit chips made from calibrated pixels, in dB. Open sea at C band, VV and 30 to 45
# degrees lies some -25 to -8 dB; the brightest scatterers of the real OpenSARShip chips reach +26 dB.
SIGMA0_LOW_DB, SIGMA0_HIGH_DB = -30.0, 25.0


@dataclass(frozen=True)
class Chip:
    """One image cut-out as its source holds it, before any resampling.

    pixels: (rows, cols) uint8 for 8-bit sources, float32 sigma nought (linear) for calibrated ones; of colour images
    (rows, cols, 3) uint8.
    name: unique within its data set, without suffix; becomes the file name.
    dataset: "Fusar", "OpenSARShip", or the name of a set of scenes.
    category, subcategory: class names exactly as the source has them; "" where it has none.
    vessel: MMSI in digits, "" where unknown.
    scene: the satellite product, or the place of a land-use scene; "" where the source does not say.
    sensor, product, polarization: e.g. "Sentinel-1", "GRD", "VV".
    row_spacing_m, col_spacing_m: pixel spacing on the ground, metres; NaN where unknown.
    length_m, width_m: the vessel's, from AIS, metres; NaN where unknown.
    source: where it was read, e.g. "OpenSARShip_2.zip/S1A_...zip/Patch_Uint8/Visual_Cargo_x1_y2_vv.tif".
    """

    pixels: np.ndarray
    name: str
    dataset: str
    category: str
    subcategory: str
    vessel: str
    scene: str
    sensor: str
    product: str
    polarization: str
    row_spacing_m: float
    col_spacing_m: float
    length_m: float
    width_m: float
    source: str

    def fingerprint(self) -> str:
        """SHA-256 of shape, type and pixels: two chips are exact duplicates if it is the same."""
        digest = hashlib.sha256(f"{self.pixels.shape}{self.pixels.dtype.str}".encode())
        digest.update(np.ascontiguousarray(self.pixels))
        return digest.hexdigest()


def sigma0_to_uint8(sigma0: np.ndarray) -> np.ndarray:
    """Linear sigma nought to 8 bit: dB between SIGMA0_LOW_DB and SIGMA0_HIGH_DB mapped to 0..255, same shape."""
    floor = 10 ** (SIGMA0_LOW_DB / 10)
    decibel = 10 * np.log10(np.maximum(sigma0.astype(np.float64), floor))
    scaled = (decibel - SIGMA0_LOW_DB) / (SIGMA0_HIGH_DB - SIGMA0_LOW_DB)
    return np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
