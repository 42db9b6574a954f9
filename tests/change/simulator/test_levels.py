"""What weather and season do to each kind of land. Signs and sizes are those of the papers that `levels` names."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.change.conditions import Acquisition
from sarship.change.cover import BOG, BUILT_UP, FIELD, FOREST, WATER
from sarship.change.simulator.levels import Hidden, draw_wind, patch_levels, typical
from tests.change.simulator.plain_land import SUMMER, cereal_field, patches, weather

COVERS = (FOREST, FIELD, BOG, WATER, BUILT_UP)
LAND = patches(*COVERS)
RAIN = (12.0, 8.0, 0.0, 0.0)
VV, VH = 0, 1


def levels_db(acquisition: Acquisition, land=LAND, hidden: Hidden | None = None) -> dict[int, np.ndarray]:
    """VV and VH in dB by cover."""
    levels = 10 * np.log10(patch_levels(land, acquisition, hidden or typical(acquisition.date)))
    return dict(zip(land.cover.tolist(), levels.T, strict=True))


def change_db(before: Acquisition, after: Acquisition, land=LAND) -> dict[int, np.ndarray]:
    old, new = levels_db(before, land), levels_db(after, land)
    return {cover: new[cover] - old[cover] for cover in old}


def test_levels_are_those_of_boreal_land():
    level = levels_db(SUMMER)
    assert level[FOREST] == pytest.approx([-10, -16], abs=1)
    assert level[FIELD] == pytest.approx([-13.5, -20.5], abs=1.5)
    assert level[BOG] == pytest.approx([-12.5, -19.5], abs=1.5)
    assert level[WATER][VV] < -17
    assert level[WATER][VH] < -28
    assert level[BUILT_UP][VV] > level[FOREST][VV]
    for bands in level.values():
        assert bands[VH] < bands[VV] - 4


def test_rain_raises_fields_most_and_water_not_at_all():
    change = change_db(weather(), weather(precipitation_mm=RAIN))
    assert (change[FIELD] > 1.2).all()
    assert change[FIELD][VV] > change[FIELD][VH]
    for cover in (FOREST, BOG):
        assert (change[cover] > 0.2).all()
        assert (change[cover] < change[FIELD] - 0.5).all()
    assert change[WATER] == pytest.approx([0, 0])


@given(amounts=st.tuples(*[st.floats(0, 40)] * 4), day=st.integers(0, 3), more=st.floats(1, 20))
@settings(max_examples=40, deadline=None)
def test_more_rain_is_never_darker_and_older_rain_counts_less(amounts, day, more):
    def field(rain: tuple[float, ...]) -> float:
        return float(levels_db(weather(precipitation_mm=rain))[FIELD][VV])

    wetter = [amount + more * (index == day) for index, amount in enumerate(amounts)]
    assert field(tuple(wetter)) > field(amounts)
    older = field(tuple(more * (index == 3) for index in range(4)))
    assert field((more, 0.0, 0.0, 0.0)) > older > field((0.0, 0.0, 0.0, 0.0))


def test_rain_that_fell_in_frost_wets_nothing():
    def gain(temperature_c: float) -> float:
        dry = replace(weather(), temperature_c=temperature_c)
        return float(change_db(dry, replace(dry, precipitation_mm=RAIN))[FIELD][VV])

    # A little below zero most of the ground is not frozen yet, so that it could be wetted.
    assert 0 <= gain(-1.5) < 0.25 * gain(6.0)


def test_frost_takes_two_to_four_decibels_of_land():
    change = change_db(weather(), replace(weather(), temperature_c=-12.0))
    for cover in (FOREST, FIELD, BOG):
        assert (change[cover] < -2).all()
        assert (change[cover] > -4.5).all()
    assert (np.abs(change[BUILT_UP]) < 1.5).all()
    assert change[WATER] == pytest.approx([0, 0])


@given(warm=st.floats(-25, 20), colder=st.floats(0.1, 10))
@settings(max_examples=40, deadline=None)
def test_colder_is_never_brighter_without_rain_and_snow(warm, colder):
    change = change_db(replace(weather(), temperature_c=warm), replace(weather(), temperature_c=warm - colder))
    assert max(change[cover].max() for cover in COVERS) < 1e-9


def test_high_ground_freezes_first():
    land = patches(FIELD, FOREST, elevation_m=[350.0, 150.0])
    low = patches(FIELD, FOREST, elevation_m=[150.0, 350.0])
    cold = replace(weather(), temperature_c=-2.0)
    assert (levels_db(cold, land)[FIELD] < levels_db(cold, low)[FIELD] - 0.8).all()


def test_wet_snow_darkens_open_ground_and_dry_snow_hardly_changes_it():
    deep = replace(weather(), snow_depth_cm=40.0)
    wet = change_db(weather(), replace(deep, temperature_c=3.0))
    assert (wet[FIELD] < -2.5).all()
    assert (wet[BOG] < -2.5).all()
    assert (wet[FOREST] < -0.3).all()
    assert (wet[FOREST] > wet[FIELD] + 1).all()
    frozen = replace(weather(), temperature_c=-12.0)
    dry = change_db(frozen, replace(frozen, snow_depth_cm=40.0))
    assert (np.abs(dry[FIELD]) < 1).all()
    assert dry[FIELD][VH] > dry[FIELD][VV] > 0


def test_forest_is_brighter_the_more_wood_it_has():
    stocks = np.linspace(0, 300, 13)
    levels = patch_levels(patches(*[FOREST] * 13, stock_m3_ha=stocks), SUMMER, typical(SUMMER.date))
    assert (np.diff(levels, axis=1) > 0).all()
    assert 10 * np.log10(levels[VH, -1] / levels[VH, 0]) > 2


def test_leaves_darken_broadleaved_forest_at_vh():
    october = replace(SUMMER, date=datetime(2020, 10, 20, 15, 40))
    birch, spruce = (patches(FOREST, broadleaved=[share], stock_m3_ha=[150.0]) for share in (0.9, 0.0))
    fall = change_db(SUMMER, october, birch)[FOREST]
    assert 0.7 < fall[VH] < 2
    assert fall[VH] > fall[VV]
    assert np.abs(change_db(SUMMER, october, spruce)[FOREST]).max() < 0.1


def test_a_crop_weakens_vv_until_harvest():
    field = cereal_field(FIELD)  # sown on day 138, cut on day 245, the first of September

    def level(month: int, day: int) -> np.ndarray:
        return levels_db(replace(SUMMER, date=datetime(2020, month, day, 15)), field)[FIELD]

    assert level(7, 10)[VV] < level(6, 1)[VV] - 2.5
    assert level(9, 20)[VV] > level(8, 15)[VV] + 1
    assert level(7, 10)[VV] - level(6, 1)[VV] < level(7, 10)[VH] - level(6, 1)[VH]


def test_a_field_is_the_same_on_both_sides_of_new_year():
    for ploughed in (270.0, 999.0):
        field = replace(cereal_field(FIELD), ploughed_day=np.array([ploughed]))
        old, new = (
            levels_db(replace(SUMMER, date=date, temperature_c=-5.0), field)[FIELD]
            for date in (datetime(2020, 12, 31, 23), datetime(2021, 1, 1, 1))
        )
        assert new == pytest.approx(old, abs=0.02)


def test_wind_is_hidden_and_brightens_open_water_only():
    calm, windy = (replace(typical(SUMMER.date), wind_mps=speed) for speed in (1.5, 9.0))
    before, after = (levels_db(SUMMER, hidden=hidden) for hidden in (calm, windy))
    assert after[WATER][VV] > before[WATER][VV] + 5
    for cover in (FOREST, FIELD, BOG, BUILT_UP):
        assert after[cover] == pytest.approx(before[cover])


def test_ice_covers_sheltered_lakes_first_and_ends_the_wind():
    lakes = patches(WATER, WATER, shelter=[0.6, 1.0])
    winter = replace(weather(), temperature_c=-12.0)

    def wind_span_db(cold_degree_days: float) -> np.ndarray:
        levels = [
            10 * np.log10(patch_levels(lakes, winter, Hidden(wind, 90.0, 20.0, cold_degree_days, (0.0, 0.0)))[VV])
            for wind in (2.0, 10.0)
        ]
        return levels[1] - levels[0]

    assert (wind_span_db(0.0) > 5).all()
    assert wind_span_db(80.0)[0] < 1
    assert wind_span_db(80.0)[1] > 5
    assert (wind_span_db(400.0) < 0.1).all()


def test_satellites_differ_by_less_than_half_a_decibel_everywhere_alike():
    change = change_db(SUMMER, replace(SUMMER, satellite="S1B"))
    for bands in change.values():
        assert bands == pytest.approx(change[FOREST])
        assert (bands > 0.05).all()
        assert (bands < 0.5).all()


def test_lakes_are_open_in_summer_and_frozen_in_february_of_a_mean_year():
    assert typical(datetime(2020, 8, 1)).cold_degree_days == 0
    assert typical(datetime(2020, 2, 15)).cold_degree_days > 400


def test_wind_has_the_median_that_a_prediction_may_expect():
    rng = np.random.default_rng(0)
    speeds = [draw_wind(rng)[0] for _ in range(2000)]
    assert np.median(speeds) == pytest.approx(typical(SUMMER.date).wind_mps, rel=0.06)
