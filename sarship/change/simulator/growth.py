"""Fields and leaves through the year, field by field."""

from datetime import datetime

import numpy as np

from sarship.change.simulator.patches import CEREAL, GRASS, Patches

# Cereals: from tillering to heading the stalks weaken VV by 3 to 5 dB, while VH loses less, and both come back as the
# crop ripens (Veloso et al., Remote Sensing of Environment 199, 2017; Harfenmeister et al., Remote Sensing 11(13),
# 2019). That grass that grows is brighter at VH, and ploughed soil at VV, are estimates.
CEREAL_DB, STUBBLE_DB, PLOUGHED_DB, SEEDBED_DB, GRASS_DB = (-3.6, -0.8), (0.3, 0.6), (1.4, 0.9), (0.8, 0.3), (0.2, 1.6)
HEADING_DAYS, RISE_DAYS, GRASS_SPRING_DAY, GRASS_AUTUMN_DAY = 52, 9, 135, 280
REGROWTH_DAYS, SECOND_CUT_DAYS = 18, 50
# Leaves come in the middle of May and fall at the end of September at 64 degrees north: estimate.
LEAVES_OUT_DAY, LEAVES_OFF_DAY, LEAF_DAYS = 142, 268, 5
BETWEEN_STATES_DAYS = 1.5


def leaf_share(date: datetime) -> float:
    """Share of the leaves that are out, 0 to 1."""
    day = day_of_year(date)
    return float(_after(day, LEAVES_OUT_DAY, LEAF_DAYS) - _after(day, LEAVES_OFF_DAY, LEAF_DAYS))


def field_shift_db(patches: Patches, date: datetime) -> np.ndarray:
    """How far a field is from bare even soil, (2, n) dB, VV and VH; 0 for what is no field."""
    day = day_of_year(date)
    return np.where(
        patches.crop == CEREAL, _cereal(patches, day), np.where(patches.crop == GRASS, _grass(patches, day), 0.0)
    )


def day_of_year(date: datetime) -> float:
    """1.0 at the start of the first of January."""
    return date.timetuple().tm_yday + date.hour / 24


def _cereal(patches: Patches, day: float) -> np.ndarray:
    sown, cut, ploughed = patches.sown_day, patches.cut_day, patches.ploughed_day
    prepared = _after(day, sown - 4, BETWEEN_STATES_DAYS) - _after(day, sown + 15, 5)
    growing = _after(day, sown + HEADING_DAYS - 20, RISE_DAYS) * (1 - 0.5 * _after(day, cut - 20, 6))
    standing = growing * (1 - _after(day, cut, BETWEEN_STATES_DAYS))
    is_ploughed = _after(day, ploughed, BETWEEN_STATES_DAYS)
    # A field that was ploughed in autumn lies so until it is sown, and so does stubble.
    is_ploughed = is_ploughed + (ploughed < 999) * (1 - _after(day, sown - 4, BETWEEN_STATES_DAYS))
    stubble = _after(day, cut, BETWEEN_STATES_DAYS) + (1 - _after(day, sown - 4, BETWEEN_STATES_DAYS))
    stubble = np.clip(stubble - is_ploughed, 0, 1)
    states = ((SEEDBED_DB, prepared), (CEREAL_DB, standing), (PLOUGHED_DB, is_ploughed), (STUBBLE_DB, stubble))
    return sum(np.outer(shift_db, share) for shift_db, share in states)


def _grass(patches: Patches, day: float) -> np.ndarray:
    season = _after(day, GRASS_SPRING_DAY, 7) - _after(day, GRASS_AUTUMN_DAY, 10)
    height = 1.0
    for cut in (patches.cut_day, patches.cut_day + SECOND_CUT_DAYS):
        since = np.maximum(day - cut, 0) / REGROWTH_DAYS
        height = height * (1 - _after(day, cut, BETWEEN_STATES_DAYS) * np.exp(-since))
    return np.outer(GRASS_DB, season * height)


def _after(day: float, of: np.ndarray | float, days: float) -> np.ndarray | float:
    """0 long before day `of`, 1 long after, in about four times `days` between."""
    return 1 / (1 + np.exp(-np.clip((day - of) / days, -40, 40)))
