"""What is known of each stand, field, bog, lake and block of houses. It keeps its place and its ways for years."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sarship.change.cover import BOG, BUILT_UP, FIELD, FOREST, WATER

GRASS, CEREAL = 1, 2  # crops; 0 where nothing is grown
GRASS_SHARE = 0.45  # of fields: cattle country (estimate after the Finnish crop statistics of Luke)
PLOUGHED_SHARE = 0.5  # of cereal fields, in autumn; the others keep their stubble over the winter
# Growing stock in Kainuu is near 100 m3/ha (Luke, national forest inventory); the mix of ages is an estimate.
MEAN_STOCK_M3_HA, CUT_SHARE, YOUNG_SHARE = 125, 0.07, 0.15
PINE_BOG_SHARE = 0.5
TALLEST_M, STOCK_OF_HEIGHT_M3_HA = 23, 100  # height = tallest (1 - exp(-stock / this)): estimate
# How far levels of patches lie apart, dB, VV and VH: estimates after maps of seasonal means.
SPREAD_DB = {FOREST: (0.45, 0.5), FIELD: (0.9, 1.1), BOG: (0.9, 1.0), WATER: (0.0, 0.0), BUILT_UP: (1.2, 1.2)}
SHARED = 0.7  # correlation of the two


@dataclass(frozen=True)
class Patches:
    """One value a patch, (n,) each.

    cover: codes. stock_m3_ha: growing stock. broadleaved: its share of trees that lose their leaves. height_m: of the
    trees. offset_db: (2, n), VV and VH. wetness: 0 (dry ground, sand) to 1 (peat). crop: 0, GRASS, CEREAL.
    sown_day, cut_day, ploughed_day: days of the year; a grass field is cut then, and a cereal field harvested;
    ploughed_day is 999 where the stubble stays. elevation_m: mean. shelter: share of the wind that reaches a lake.
    """

    cover: np.ndarray
    stock_m3_ha: np.ndarray
    broadleaved: np.ndarray
    height_m: np.ndarray
    offset_db: np.ndarray
    wetness: np.ndarray
    crop: np.ndarray
    sown_day: np.ndarray
    cut_day: np.ndarray
    ploughed_day: np.ndarray
    elevation_m: np.ndarray
    shelter: np.ndarray


def draw_patches(
    cover: np.ndarray, cleared: np.ndarray, patch: np.ndarray, elevation_m: np.ndarray, rng: np.random.Generator
) -> Patches:
    """Draw what patches are.

    cover, cleared: (n,) code and whether trees were felled for a road or a power line. patch: (rows, cols) place in
    these; elevation_m: (rows, cols).
    """
    n = len(cover)
    stock, broadleaved = _trees(cover, cleared, rng)
    normal = rng.standard_normal((2, n))
    normal[1] = SHARED * normal[0] + np.sqrt(1 - SHARED**2) * normal[1]
    spread = np.array([SPREAD_DB[code] for code in cover]).T
    crop = np.where(cover == FIELD, np.where(rng.random(n) < GRASS_SHARE, GRASS, CEREAL), 0)
    # Spring cereals of central Finland: sown in mid-May, cut from mid-August to mid-September, fields ploughed until
    # the ground freezes; grass is cut from mid-June on and again 50 days later. Estimates.
    cut = np.where(crop == GRASS, rng.normal(170, 7, n), rng.normal(245, 10, n))
    ploughed = np.where((crop == CEREAL) & (rng.random(n) < PLOUGHED_SHARE), cut + rng.uniform(10, 55, n), 999)
    index = np.arange(n)
    return Patches(
        cover,
        stock,
        broadleaved,
        TALLEST_M * (1 - np.exp(-stock / STOCK_OF_HEIGHT_M3_HA)).astype(np.float32),
        normal * spread,
        np.select([cover == BOG, cover == FIELD], [rng.uniform(0.75, 1, n), rng.uniform(0.3, 0.7, n)], 0.45),
        crop,
        rng.normal(138, 6, n),
        cut,
        ploughed,
        ndimage.mean(elevation_m, patch, index),
        _shelter(np.bincount(patch.ravel(), minlength=n)),
    )


def _trees(cover: np.ndarray, cleared: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n = len(cover)
    age = rng.random(n)
    grown = rng.gamma(4, MEAN_STOCK_M3_HA / 4, n) + 20
    stock = np.select(
        [age < CUT_SHARE, age < CUT_SHARE + YOUNG_SHARE], [rng.uniform(0, 6, n), rng.uniform(8, 40, n)], grown
    )
    pines = np.where(rng.random(n) < PINE_BOG_SHARE, rng.uniform(8, 40, n), rng.uniform(0, 3, n))
    stock = np.select([cover == FOREST, cover == BOG], [stock, pines], 0.0)
    # Most stands are spruce and pine with some birch; one in twelve is birch and aspen.
    birch = np.where(rng.random(n) < 1 / 12, rng.uniform(0.6, 0.95, n), rng.beta(1.2, 9, n))
    return np.where(cleared, 2.0, stock), np.where(cover == FOREST, birch, 0.0)


def _shelter(pixels: np.ndarray) -> np.ndarray:
    """Wind over a small lake has no room to raise waves: 0.6 of it counts below 2 ha, all above 100 ha. Estimate."""
    return np.clip(np.interp(np.log10(np.maximum(pixels, 1)), [2.3, 4.0], [0.6, 1.0]), 0.6, 1.0)
