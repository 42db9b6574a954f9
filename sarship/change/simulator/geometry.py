"""What the radar's place does to an image: incidence, slopes, the edges of forests, and walls that face it."""

import numpy as np

from sarship.change.cover import BOG, BUILT_UP, FIELD, FOREST, WATER
from sarship.change.simulator.land import Land
from sarship.change.simulator.passes import INCIDENCE_DEG_PER_KM, look_azimuth_deg, range_km
from sarship.change.simulator.terrain import PIXEL_M

REFERENCE_DEG = 38.0  # incidence that the levels of `levels` hold for
# Sigma nought falls as cos^n of incidence: n = 1 for a cloud of scatterers, 2 for a rough surface by Lambert's law,
# more for smoother ones (Ulaby, Moore & Fung, Microwave Remote Sensing II, 1982). The values are estimates within that.
COSINE_POWER = {FOREST: 1.3, FIELD: 2.6, BOG: 2.4, BUILT_UP: 1.5, WATER: 8.0}
MOST_GAIN, LEAST_GAIN = 10**0.3, 10**-0.5  # of slopes and edges: the resolution cell mixes in what is not so steep
EDGE_OPACITY = 0.45  # a forest's edge lets part of the beam in between its trees, so it is no wall: estimate
WALL_BEAM_DEG = 14  # how far a wall may turn from the look direction until its echo is lost: estimate


def static_gain(land: Land, direction: str, incidence_deg: float) -> np.ndarray:
    """What an orbit and the fixed texture do to each pixel's backscatter, (2, rows, cols) float32, linear.

    direction: ascending or descending. incidence_deg: at the centre of the area, on level ground. Times the level of a
    patch at REFERENCE_DEG (of water: at `incidence_deg`) this is the mean sigma nought of the pixel.
    """
    incidence = incidence_map(land.cover.shape, direction, incidence_deg)
    gain = slope_gain(land, direction, incidence)
    gain *= _by_incidence(land.cover, incidence, incidence_deg)
    gain.ravel()[land.house] *= 1 + _wall_gain(land, direction)
    return gain * land.texture


def incidence_map(shape: tuple[int, int], direction: str, incidence_deg: float) -> np.ndarray:
    """Incidence angle on level ground at each pixel, (rows, cols) float32 degrees."""
    north = (np.float32((shape[0] - 1) / 2) - np.arange(shape[0], dtype=np.float32)[:, None]) * PIXEL_M
    east = (np.arange(shape[1], dtype=np.float32)[None, :] - np.float32((shape[1] - 1) / 2)) * PIXEL_M
    return np.float32(incidence_deg) + np.float32(INCIDENCE_DEG_PER_KM) * range_km(direction, east, north)


def slope_gain(land: Land, direction: str, incidence_deg: np.ndarray) -> np.ndarray:
    """How much brighter slopes and forest edges are than level ground, (rows, cols) float32, linear.

    A resolution cell holds more ground the more it leans to the sensor: of terrain whose gamma nought is constant,
    sigma nought is tan(incidence) / tan(local incidence) times that of level ground (Small, IEEE TGRS 49, 2011, here in
    the plane of incidence). The surface is that of the canopy, so a forest's edge is a slope too: bright where it
    faces the sensor, and dark behind, where trees cast their shadow. Of the ground's slope, surfaces lose more than
    that (COSINE_POWER).
    """
    tangent = np.tan(np.radians(incidence_deg)).astype(np.float32)
    ground = rise(land.elevation_m, direction)
    surface = ground + np.float32(EDGE_OPACITY) * rise(land.canopy_m, direction)
    gain = (1 + surface * tangent) / np.maximum(1 - surface / tangent, np.float32(0.05))
    np.clip(gain, LEAST_GAIN, MOST_GAIN, out=gain)
    local = np.radians(incidence_deg) - np.arctan(ground)
    ratio = np.cos(local) / np.cos(np.radians(incidence_deg))
    return gain * np.maximum(ratio, np.float32(0.1)) ** (_of_cover(COSINE_POWER)[land.cover] - 1)


def rise(height_m: np.ndarray, direction: str) -> np.ndarray:
    """Rise over run of a surface in the look direction, (rows, cols) float32: positive where it faces the sensor."""
    azimuth = np.radians(look_azimuth_deg(direction))
    south, east = np.gradient(height_m, np.float32(PIXEL_M))
    return east * np.float32(np.sin(azimuth)) - south * np.float32(np.cos(azimuth))


def _by_incidence(cover: np.ndarray, incidence_deg: np.ndarray, centre_deg: float) -> np.ndarray:
    cosine = np.log(np.cos(np.radians(incidence_deg)))
    # The level of water is that of the area's centre already.
    reference = {code: centre_deg if code == WATER else REFERENCE_DEG for code in COSINE_POWER}
    base = _of_cover({code: np.log(np.cos(np.radians(angle))) for code, angle in reference.items()})
    return np.exp((cosine - base[cover]) * _of_cover(COSINE_POWER)[cover])


def _wall_gain(land: Land, direction: str) -> np.ndarray:
    """(houses,) Walls stand at right angles; the one that faces the radar best counts."""
    off = (land.house_angle_deg - look_azimuth_deg(direction) + 45) % 90 - 45
    return land.house_gain * np.exp(-np.float32(0.5) * (off / np.float32(WALL_BEAM_DEG)) ** 2)


def _of_cover(values: dict[int, float]) -> np.ndarray:
    table = np.zeros(max(values) + 1, np.float32)
    table[list(values)] = list(values.values())
    return table
