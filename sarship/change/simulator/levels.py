"""Mean C-band backscatter of each patch of land under some conditions, VV and VH: what the weather does.

Of each effect the sign and the size are from the literature named beside it; exact decibels of this land are estimates
within what is published. What no column of acquisitions.csv tells is in `Hidden`; `typical` is its mean for a date.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from sarship.change.conditions import Acquisition
from sarship.change.cover import BOG, BUILT_UP, FIELD, FOREST, WATER
from sarship.change.simulator.growth import field_shift_db, leaf_share
from sarship.change.simulator.patches import Patches
from sarship.change.simulator.weather import FORGETTING, MEMORY_DAYS, TOLD_DAYS, typical_cold_degree_days
from sarship.simulator.sea import sigma0_cross, sigma0_vv

# Levels at 38 degrees of incidence, dB, VV and VH, of ground that is neither dry nor wet nor frozen: estimates after
# Sentinel-1 images of Finland. The canopy and what shines through it are the boreal forest model of Pulliainen et al.,
# IEEE TGRS 34, 1996, fitted to ERS-1 at VV: level 0.131 a cos(incidence), transmissivity exp(-0.00512 a stock /
# cos(incidence)), with a = 1.3; VH lies 5.9 dB below.
GROUND_DB = {FOREST: (-12.2, -18.6), FIELD: (-12.8, -20.2), BOG: (-12.3, -19.0), BUILT_UP: (-9.0, -15.8)}
CANOPY_DB = (-8.7, -14.6)
EXTINCTION_HA_M3 = 0.00512 * 1.3
NOISE_DB = -27.0  # noise-equivalent sigma nought: specified below -22 dB (ESA, Sentinel-1 performance), measured lower
SATELLITE_DB = {"S1A": (-0.08, -0.10), "S1B": (0.08, 0.10)}  # the pair agrees to 0.2 dB or so: estimate

# Soil moisture: about 0.25 dB a percent of volume at C band (Ulaby et al., 1982; Baghdadi et al., Remote Sensing
# 10(8), 2018), so a field gains 3 dB from dry to wet. Bogs are wet anyway.
WET_DB = {FOREST: (1.6, 1.2), FIELD: (3.6, 2.6), BOG: (1.3, 0.9), BUILT_UP: (0.5, 0.4)}
SATURATING_MM, RAIN_FORGETTING = 14.0, 0.80  # estimates
MEMORY_SHARE, MEMORY_MM = 0.35, 25.0  # of the wetness, what rain before the fourth day can make
WET_CANOPY_DB, WET_CANOPY_MM = (0.4, 0.5), 4.0  # drops on needles: estimate

# Frost: at least 2 dB on fields (Baghdadi et al. 2018), 3 to 5 dB on open ground in Siberia (Rodionova, CEUR 2391,
# 2019), about 3 dB in boreal forest (Rignot & Way, Remote Sensing of Environment 49, 1994), most of it down to -5.
FROST_DB = {FOREST: (-2.6, -3.0), FIELD: (-3.6, -3.4), BOG: (-3.2, -3.2), BUILT_UP: (-0.6, -0.8)}
FROZEN_CANOPY_DB = (-2.0, -2.6)
FREEZING_C, FREEZING_WIDTH_C = -2.0, 0.9  # half of the drop, and how sharp it is
LAPSE_C_PER_M = -0.0065  # standard atmosphere

# Wet snow absorbs: 3 dB is the threshold of Nagler & Rott, IEEE TGRS 38, 2000. Dry snow is nearly transparent, and
# scatters a little at VH (Lievens et al., Nature Communications 10, 2019).
WET_SNOW_DB, WET_SNOW_CANOPY_DB, WET_SNOW_CM = (-4.0, -3.6), (-0.7, -0.7), 3.0
DRY_SNOW_DB_PER_CM = (0.006, 0.018)

# Broad leaves hide twigs: VH of beech and oak is 1 to 2 dB lower in leaf (Ruetschi et al., Remote Sensing 10(1), 2018;
# Dostalova et al., Int. J. Remote Sensing 39, 2018).
LEAF_DB = (-0.6, -1.8)

TYPICAL_WIND_MPS = 3.5  # inland; with a Weibull law of shape 2 below (estimate)
# New ice is smooth and dark, thick ice brighter, as bubbles and cracks in it scatter: estimate.
ICE_NEW_DB, ICE_OLD_DB, ICE_OLD_DEGREE_DAYS = (-18.0, -25.0), (-13.0, -20.5), 700.0
ICE_DEGREE_DAYS = 45.0  # of cold until a sheltered lake is covered; a wide one takes thrice that (estimate)
COVERS = (FOREST, FIELD, BOG, WATER, BUILT_UP)


@dataclass(frozen=True)
class Hidden:
    """What changes images and is told by no column.

    wind_mps, wind_deg: over water, and from which side of the look direction. memory_mm: rain from the fifth day back,
    weighted. cold_degree_days: how much ice there may be. jitter_db: calibration of this image, VV and VH.
    """

    wind_mps: float
    wind_deg: float
    memory_mm: float
    cold_degree_days: float
    jitter_db: tuple[float, float]


def typical(date: datetime) -> Hidden:
    """The hidden state of a mean day: what a prediction from the columns alone can know."""
    daily_mm = 1.7  # 600 mm a year
    memory = daily_mm * float(np.sum(FORGETTING ** np.arange(TOLD_DAYS, MEMORY_DAYS)))
    cold = typical_cold_degree_days(date.timetuple().tm_yday)
    return Hidden(TYPICAL_WIND_MPS, 90.0, memory, cold, (0.0, 0.0))


def draw_wind(rng: np.random.Generator) -> tuple[float, float]:
    """Speed, m/s, and direction, degrees, of the wind at one time: Weibull, shape 2 (Monahan, J. Climate 19, 2006)."""
    speed = TYPICAL_WIND_MPS / np.sqrt(np.log(2)) * rng.weibull(2.0)  # its median is TYPICAL_WIND_MPS
    return float(np.clip(speed, 1.0, 14.0)), float(rng.uniform(0, 360))


def patch_levels(patches: Patches, acquisition: Acquisition, hidden: Hidden) -> np.ndarray:
    """Mean sigma nought of each patch at 38 degrees on level ground (water: at the acquisition's), (2, n), linear."""
    state = _Weather(patches, acquisition, hidden)
    ground_db = _ground_db(patches, acquisition, state)
    canopy_db = _canopy_db(patches, acquisition, state)
    through = np.exp(-EXTINCTION_HA_M3 * patches.stock_m3_ha / np.cos(np.radians(38)))
    level = _linear(ground_db) * through + _linear(canopy_db) * (1 - through)
    water = np.flatnonzero(patches.cover == WATER)
    level[:, water] = _water(patches.shelter[water], acquisition, state, water, hidden)
    told_db = np.array(SATELLITE_DB[acquisition.satellite]) + hidden.jitter_db
    return level * _linear(patches.offset_db + told_db[:, None])


class _Weather:
    """Conditions as patches feel them, shares from 0 to 1: (n,) frozen, wet, wet_snow; scalar rain on leaves."""

    def __init__(self, patches: Patches, acquisition: Acquisition, hidden: Hidden):
        land = patches.cover != WATER
        middle = patches.elevation_m[land].mean() if land.any() else 0.0
        temperature = acquisition.temperature_c + LAPSE_C_PER_M * (patches.elevation_m - middle)
        self.frozen = 1 / (1 + np.exp((temperature - FREEZING_C) / FREEZING_WIDTH_C))
        liquid = 1 / (1 + np.exp(-(acquisition.temperature_c - 0.5) / 0.7))  # what fell in frost lies as snow
        fallen = np.asarray(acquisition.precipitation_mm) * liquid
        recent = 1 - np.exp(-float(fallen @ RAIN_FORGETTING ** np.arange(TOLD_DAYS)) / SATURATING_MM)
        before = 1 - np.exp(-hidden.memory_mm / MEMORY_MM)
        # The wetness of the ground itself leaves less for rain to add.
        self.wet = (1 - 0.5 * patches.wetness) * ((1 - MEMORY_SHARE) * recent + MEMORY_SHARE * before)
        self.drops = float(1 - np.exp(-fallen[0] / WET_CANOPY_MM))
        covered = 1 - np.exp(-acquisition.snow_depth_cm / WET_SNOW_CM)
        self.wet_snow = covered / (1 + np.exp(-(temperature - 0.5) / 0.6))
        self.snow_cm = acquisition.snow_depth_cm


def _ground_db(patches: Patches, acquisition: Acquisition, state: _Weather) -> np.ndarray:
    """(2, n) dB of ground and what grows on it, but trees."""
    level, wet, frost = (_of_cover(table, patches.cover) for table in (GROUND_DB, WET_DB, FROST_DB))
    level = level + field_shift_db(patches, acquisition.date) * (1 - 0.5 * state.frozen)
    # Water that is ice makes nothing brighter; under wet snow the ground is not seen.
    level += wet * 1.5 * (state.wet - 0.3) * (1 - state.frozen) * (1 - state.wet_snow)
    level += frost * state.frozen
    level += np.outer(WET_SNOW_DB, state.wet_snow)
    return level + np.outer(DRY_SNOW_DB_PER_CM, state.snow_cm * (1 - state.wet_snow))


def _canopy_db(patches: Patches, acquisition: Acquisition, state: _Weather) -> np.ndarray:
    """(2, n) dB of a canopy that lets nothing through."""
    leaves = leaf_share(acquisition.date) * patches.broadleaved
    level = np.array(CANOPY_DB)[:, None] + np.outer(LEAF_DB, leaves)
    level += np.outer(FROZEN_CANOPY_DB, state.frozen)
    level += np.outer(WET_CANOPY_DB, state.drops * (1 - state.frozen))
    return level + np.outer(WET_SNOW_CANOPY_DB, state.wet_snow)


def _water(
    shelter: np.ndarray, acquisition: Acquisition, state: _Weather, water: np.ndarray, hidden: Hidden
) -> np.ndarray:
    """(2, lakes) linear. Open water by wind, with CMOD5.N at VV and C-2PO at VH; ice by its age."""
    winds = np.round(hidden.wind_mps * shelter, 1)  # so that many lakes share what is worked out
    speeds, index = np.unique(winds, return_inverse=True)
    vv = [sigma0_vv(max(speed, 0.5), hidden.wind_deg, acquisition.incidence_angle_deg) for speed in speeds]
    vh = [sigma0_cross(speed) for speed in speeds]
    open_water = np.array([vv, vh])[:, index]
    age = np.clip(hidden.cold_degree_days / ICE_OLD_DEGREE_DAYS, 0, 1)
    ice_db = np.array(ICE_NEW_DB) + (np.array(ICE_OLD_DB) - ICE_NEW_DB) * age
    ice = _linear(ice_db[:, None] + np.outer(WET_SNOW_DB, state.wet_snow[water]))
    needed = ICE_DEGREE_DAYS * (1 + 5 * (shelter - 0.6))
    covered = 1 / (1 + np.exp(-(hidden.cold_degree_days - needed) / (0.15 * needed)))
    return open_water * (1 - covered) + ice * covered


def _of_cover(table: dict[int, tuple[float, float]], cover: np.ndarray) -> np.ndarray:
    """(2, n) of (n,) codes; 0 where the table has none."""
    values = np.zeros((2, max(COVERS) + 1))
    for code, pair in table.items():
        values[:, code] = pair
    return values[:, cover]


def _linear(db: np.ndarray) -> np.ndarray:
    return 10 ** (db / 10)
