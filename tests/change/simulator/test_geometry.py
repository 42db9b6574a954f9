"""What the radar's place does to an image: slopes, edges, walls and incidence, by orbit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.change.conditions import ORBITS
from sarship.change.cover import BUILT_UP, FIELD, FOREST
from sarship.change.simulator.geometry import incidence_map, slope_gain, static_gain
from sarship.change.simulator.passes import look_azimuth_deg
from tests.change.simulator.plain_land import plain_land

FLAT = np.full((40, 40), 200.0)
FACING = {"ascending": "west", "descending": "east"}  # where the sensor is, and so the slopes that face it look
OTHER = dict(zip(ORBITS, ORBITS[::-1], strict=True))


def db(gain: np.ndarray) -> np.ndarray:
    return 10 * np.log10(gain)


def hill(slope: float) -> np.ndarray:
    """A ridge from north to south: its west side rises to the east, its east side falls."""
    cols = np.arange(40.0)
    return np.tile(200 + 10 * slope * np.minimum(cols, 39 - cols), (40, 1))


def sides(gain: np.ndarray) -> dict[str, float]:
    """Mean dB of the west and the east side of `hill`."""
    return {"west": float(db(gain[..., 5:15]).mean()), "east": float(db(gain[..., 25:35]).mean())}


def test_the_radar_looks_to_the_right_of_its_track():
    # 339 and 201 degrees are the headings at 64 degrees north; 69 and 291 the looks.
    assert look_azimuth_deg("ascending") == pytest.approx(69, abs=2)
    assert look_azimuth_deg("descending") == pytest.approx(291, abs=2)


@given(slope=st.floats(0.02, 0.35), incidence=st.floats(30, 45))
@settings(max_examples=30, deadline=None)
def test_slopes_that_face_the_sensor_are_bright_and_change_roles_with_the_orbit(slope, incidence):
    land = plain_land(hill(slope))
    for orbit in ORBITS:
        seen = sides(static_gain(land, orbit, incidence))
        level = float(db(static_gain(plain_land(FLAT), orbit, incidence)).mean())
        assert seen[FACING[orbit]] > level + 2 * slope
        assert seen[FACING[OTHER[orbit]]] < level - 2 * slope


def test_a_gentle_slope_has_the_area_term_of_its_local_incidence():
    # Forest has almost that term alone: 10 degrees of local incidence less, in the plane of incidence.
    slope = np.tan(np.radians(10)) / np.cos(np.radians(look_azimuth_deg("ascending") - 90))
    seen = sides(slope_gain(plain_land(hill(slope)), "ascending", np.float32(38.0)))["west"]
    expected = 10 * np.log10(np.tan(np.radians(38)) / np.tan(np.radians(28)))
    assert seen == pytest.approx(expected, abs=0.25)


def test_bare_ground_loses_more_than_forest_where_it_leans_away():
    away = [sides(static_gain(plain_land(hill(0.2), cover), "ascending", 38.0))["east"] for cover in (FIELD, FOREST)]
    assert away[0] < away[1] - 0.5


def test_a_forest_has_a_bright_edge_towards_the_sensor_and_a_shadow_behind():
    trees = np.zeros((40, 40))
    trees[:, 12:28] = 18
    land = plain_land(FLAT, canopy_m=trees)
    for orbit in ORBITS:
        gain = db(slope_gain(land, orbit, np.float32(38.0)))[20]
        edge = {"west": gain[11:13].max(), "east": gain[27:29].max()}
        assert edge[FACING[orbit]] > 1.5
        assert {"west": gain[11:13].min(), "east": gain[27:29].min()}[FACING[OTHER[orbit]]] < -3
        assert np.abs(gain[16:24]).max() < 0.01
        assert np.abs(gain[:8]).max() < 0.01


@given(height=st.floats(0, 60), incidence=st.floats(25, 50))
@settings(max_examples=30, deadline=None)
def test_no_edge_however_steep_is_out_of_bounds(height, incidence):
    trees = np.zeros((40, 40))
    trees[::3, ::4] = height
    gain = static_gain(plain_land(hill(0.3), canopy_m=trees), "descending", incidence)
    assert np.isfinite(gain).all()
    assert gain.min() > 0.01
    assert gain.max() < 10


def test_the_angle_grows_away_from_the_track():
    rising = {orbit: np.diff(incidence_map((200, 200), orbit, 38.0)[100]) for orbit in ORBITS}
    assert (rising["ascending"] > 0).all()
    assert (rising["descending"] < 0).all()
    angles = incidence_map((2001, 2001), "ascending", 38.0)
    assert angles[1000, 1000] == pytest.approx(38, abs=1e-3)
    assert angles[1000, 2000] - angles[1000, 0] == pytest.approx(20 * 0.061, rel=0.1)  # 20 km


def test_larger_angles_are_darker_and_fields_more_so_than_forest():
    def drop(cover: int) -> float:
        near, far = (db(static_gain(plain_land(FLAT, cover), "ascending", angle)).mean() for angle in (32.0, 44.0))
        return float(near - far)

    assert drop(FIELD) > drop(FOREST) + 0.5
    assert 0.5 < drop(FOREST) < 2


def test_walls_shine_in_the_orbit_that_they_face():
    land = plain_land(FLAT, BUILT_UP)
    facing = np.array([look_azimuth_deg("ascending") + 90], np.float32)  # the other wall of the house faces it too
    land = replace(land, house=np.array([825]), house_gain=np.array([9.0], np.float32), house_angle_deg=facing)
    bright, dark = (static_gain(land, orbit, 38.0)[0] for orbit in ORBITS)
    assert bright.ravel()[825] == pytest.approx(10 * bright[0, 0], rel=0.01)
    assert dark.ravel()[825] < 2 * dark[0, 0]
