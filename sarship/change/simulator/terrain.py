"""Hills, lakes and mires: the ground of an area, before anything grows on it.

Boreal shield terrain has hills of some tens of metres, drawn out from north-west to south-east as the ice moved, and
hollows without an outlet. A fractal surface has both; filling its hollows to their sill makes lakes that are level,
and where the filling is shallow, the flats on which mires lie.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.morphology import reconstruction

from sarship.change.simulator.noise import fractal_field, upsampled

PIXEL_M = 10
COARSE = 2  # terrain is made on a grid of 20 m, as nothing in it is smaller
# A spectrum of f^-3.6 is a surface of Hurst exponent 0.8; measured terrain has 0.7 to 0.9 (Huang & Turcotte, J.
# Geophys. Res. 94, 1989). The rest are estimates for eastern Finland: relief of 100 to 150 m within some kilometres.
SPECTRAL_EXPONENT = 3.6
LONGEST_M, SHORTEST_M = 5_000, 400
ICE_STRETCH = 1.7
RELIEF_M = 22  # standard deviation
LOWEST_M, HIGHEST_M = 170, 270  # mean height of an area
WATER_SHARE = 0.09  # at most; Finland has 10 % (National Land Survey of Finland, area statistics)
MIRE_SHARE = 0.16  # at most, without lakes; a third of Kainuu is mire, half of it drained and forested since
SHALLOWEST_LAKE_M, SHALLOWEST_MIRE_M = 1.5, 0.25
SMALLEST_PX = 60  # of a lake or a mire, 0.6 ha


@dataclass(frozen=True)
class Terrain:
    """elevation_m: (rows, cols) float32. water: (rows, cols) bool. flats: (rows, cols) bool, filled hollows but lakes.

    hollow_m: (rows, cols) float32, how far below the mean of its surroundings (300 m) a place lies; negative on hills.
    """

    elevation_m: np.ndarray
    water: np.ndarray
    flats: np.ndarray
    hollow_m: np.ndarray


def make_terrain(size: int, rng: np.random.Generator) -> Terrain:
    """Terrain of (size, size) pixels of PIXEL_M metres; the first row is the northernmost."""
    margin = 1_000 // (PIXEL_M * COARSE)  # water runs off over the edge of what is filled: keep that edge outside
    nodes = size // COARSE + 2 + 2 * margin
    cell_m = PIXEL_M * COARSE
    field = fractal_field(
        (nodes, nodes), SPECTRAL_EXPONENT, LONGEST_M / cell_m, SHORTEST_M / cell_m / (2 * np.pi), ICE_STRETCH, rng
    )
    ground = np.float32(rng.uniform(LOWEST_M, HIGHEST_M)) + RELIEF_M * field
    filled = _fill(ground)
    inside = np.s_[margin:-margin, margin:-margin]
    depth = upsampled((filled - ground)[inside], (size, size), COARSE)
    elevation = upsampled(filled[inside], (size, size), COARSE)
    hollow = upsampled((ndimage.gaussian_filter(filled, 300 / cell_m) - filled)[inside], (size, size), COARSE)
    water = _deepest(depth, WATER_SHARE, SHALLOWEST_LAKE_M)
    wet = _deepest(depth, WATER_SHARE + MIRE_SHARE, SHALLOWEST_MIRE_M)
    return Terrain(elevation, water, wet & ~water, hollow)


def _fill(ground: np.ndarray) -> np.ndarray:
    """Every hollow filled to its sill: no place without a way down to the border."""
    start = np.full_like(ground, ground.max())
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        start[edge] = ground[edge]
    return reconstruction(start, ground, method="erosion").astype(np.float32)


def _deepest(depth: np.ndarray, share: float, least_m: float) -> np.ndarray:
    """Where the filling is deepest, up to a share of the area; pieces that are too small are left out."""
    found = depth > max(least_m, float(np.quantile(depth, 1 - share)))
    labels, count = ndimage.label(found)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    return found & (sizes >= SMALLEST_PX)[labels]
