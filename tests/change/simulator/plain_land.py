"""Lands made by hand, with nothing on them but what a test is about."""

from dataclasses import replace
from datetime import datetime

import numpy as np

from sarship.change.conditions import Acquisition
from sarship.change.cover import FOREST
from sarship.change.simulator.land import Land
from sarship.change.simulator.patches import CEREAL, Patches

SUMMER = Acquisition("", datetime(2020, 7, 1, 15, 40), "ascending", "S1A", 38.0, 15.0, 0.0, (0.0, 0.0, 0.0, 0.0))


def weather(**changes) -> Acquisition:
    """A dry day of October, above zero and without snow, but for what is changed."""
    return replace(SUMMER, date=datetime(2020, 10, 20, 15, 40), temperature_c=6.0, **changes)


def patches(*covers: int, **values) -> Patches:
    """Patches that differ in cover only, without trees but in forest; `values` fills fields of all of them."""
    n = len(covers)
    cover = np.array(covers, np.uint8)
    plain = {
        "stock_m3_ha": np.where(cover == FOREST, 120.0, 0.0),
        "broadleaved": np.zeros(n),
        "height_m": np.zeros(n, np.float32),
        "offset_db": np.zeros((2, n)),
        "wetness": np.full(n, 0.45),
        "crop": np.zeros(n, int),
        "sown_day": np.full(n, 138.0),
        "cut_day": np.full(n, 245.0),
        "ploughed_day": np.full(n, 999.0),
        "elevation_m": np.full(n, 200.0),
        "shelter": np.ones(n),
    }
    return Patches(cover=cover, **plain | {name: np.asarray(value) for name, value in values.items()})


def cereal_field(code: int) -> Patches:
    """One field of cereals."""
    return patches(code, crop=[CEREAL])


def plain_land(elevation_m: np.ndarray, cover: int = FOREST, canopy_m: np.ndarray | None = None) -> Land:
    """A land of one patch and no texture: (rows, cols) elevation and height of trees."""
    shape = elevation_m.shape
    return Land(
        elevation_m=elevation_m.astype(np.float32),
        cover=np.full(shape, cover, np.uint8),
        patch=np.zeros(shape, np.int32),
        patches=patches(cover),
        canopy_m=np.zeros(shape, np.float32) if canopy_m is None else canopy_m.astype(np.float32),
        texture=np.ones((2, *shape), np.float32),
        house=np.zeros(0, np.int64),
        house_gain=np.zeros(0, np.float32),
        house_angle_deg=np.zeros(0, np.float32),
    )
