"""When Sentinel-1 flies over an area, and from where it looks."""

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

INCLINATION_DEG = 98.18  # this and the repeat cycle: ESA, Sentinel-1 mission
REPEAT_DAYS, BETWEEN_SATELLITES_DAYS = 12, 6
GROUND_SPEED_KMS = 6.8  # of the point beneath the satellite
EARTH_TURNS_KMS = 0.4651  # at the equator
LATITUDE_DEG = 64.0  # of the region
EASTING_M, NORTHING_M = 560_000, 7_100_000  # its middle in EPSG:3067, near 64 degrees north, 28 east
# One kilometre further from the track, as 693 km height and the Earth's curve have it: 0.066 degrees at 34 and 0.056 at
# 41 degrees of incidence.
INCIDENCE_DEG_PER_KM = 0.061


@dataclass(frozen=True)
class Orbit:
    """A relative orbit over the region. day: of the 12-day cycle of S1A. minute: of the day, UTC."""

    number: int
    direction: str
    incidence_deg: float
    day: int
    minute: int


# Neighbouring tracks lie 2.06 degrees of longitude apart, 100 km at 64 degrees north, so one place is in two or three
# swaths of each direction; the next one to the west comes 73 orbits, 5 days and 8 minutes, after the one before.
# An ascending one that is further west looks under a larger angle, a descending one under a smaller.
ORBITS = (
    Orbit(160, "ascending", 34.2, 2, 15 * 60 + 40),
    Orbit(58, "ascending", 41.0, 7, 15 * 60 + 48),
    Orbit(153, "descending", 43.4, 4, 4 * 60 + 50),
    Orbit(51, "descending", 36.9, 9, 4 * 60 + 58),
)


@dataclass(frozen=True)
class Pass:
    """One satellite over one area at one time. orbit: place in ORBITS. incidence_deg: at the area's centre."""

    when: datetime
    orbit: int
    satellite: str
    incidence_deg: float


def look_azimuth_deg(direction: str) -> float:
    """Where the radar looks, degrees clockwise from north: to the right of the track at LATITUDE_DEG.

    Grid north of EPSG:3067 is taken for north; in the region it lies 1.1 degrees off.
    """
    east = GROUND_SPEED_KMS * math.cos(math.radians(INCLINATION_DEG)) / math.cos(math.radians(LATITUDE_DEG))
    north = math.sqrt(GROUND_SPEED_KMS**2 - east**2) * (1 if direction == "ascending" else -1)
    heading = math.degrees(math.atan2(east - EARTH_TURNS_KMS * math.cos(math.radians(LATITUDE_DEG)), north))
    return (heading + 90) % 360


def range_km(direction: str, east_m: float | np.ndarray, north_m: float | np.ndarray) -> float | np.ndarray:
    """How much further from the track a place lies than another that it is `east_m` and `north_m` away from."""
    azimuth = math.radians(look_azimuth_deg(direction))
    return (east_m * math.sin(azimuth) + north_m * math.cos(azimuth)) / 1000


def plan_passes(first: date, days: int, east_m: float, north_m: float) -> list[Pass]:
    """Every pass over an area whose centre lies so far from the region's, in the order of time."""
    passes = []
    for index, orbit in enumerate(ORBITS):
        incidence = orbit.incidence_deg + INCIDENCE_DEG_PER_KM * range_km(orbit.direction, east_m, north_m)
        for satellite, lag in (("S1A", 0), ("S1B", BETWEEN_SATELLITES_DAYS)):
            # The cycle is counted from a fixed day, so that another start sees the same satellites.
            offset = (orbit.day + lag - (first - date(2014, 10, 1)).days) % REPEAT_DAYS
            for day in range(offset, days, REPEAT_DAYS):
                when = datetime.combine(first, datetime.min.time()) + timedelta(days=day, minutes=orbit.minute)
                passes.append(Pass(when, index, satellite, round(float(incidence), 2)))
    return sorted(passes, key=lambda each: each.when)
