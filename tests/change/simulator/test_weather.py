"""Weather that could be that of Kajaani, and the passes of two satellites over it."""

from collections import Counter
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest

from sarship.change.simulator.passes import ORBITS, plan_passes
from sarship.change.simulator.weather import MEMORY_DAYS, Weather, draw_weather, nearby

START, DAYS = date(2019, 7, 1), 540


@lru_cache
def some_weather(seed: int) -> Weather:
    return draw_weather(START, DAYS, np.random.default_rng(seed))


def by_month(month: int, values: str, seeds: int = 10) -> np.ndarray:
    """Hourly values of a month, of several draws."""
    found = []
    for seed in range(seeds):
        weather = some_weather(seed)
        months = [(weather.start + timedelta(days=day)).month for day in range(len(weather.rain_mm) // 24)]
        found.append(getattr(weather, values)[np.repeat(months, 24) == month])
    return np.concatenate(found)


@pytest.mark.parametrize(("month", "normal_c"), [(1, -10), (4, 2), (7, 16), (10, 3)])
def test_months_are_as_cold_as_they_are(month, normal_c):
    assert by_month(month, "temperature_c").mean() == pytest.approx(normal_c, abs=2)


def test_a_year_has_its_rain_and_half_of_its_days_are_wet():
    rain = np.concatenate([some_weather(seed).rain_mm for seed in range(10)]).reshape(-1, 24).sum(axis=1)
    assert rain.min() == 0
    assert rain.mean() * 365 == pytest.approx(600, rel=0.12)
    wet = rain > 0.1
    assert 0.4 < wet.mean() < 0.55
    assert wet[1:][wet[:-1]].mean() > wet[1:][~wet[:-1]].mean() + 0.2  # spells
    assert by_month(8, "rain_mm").mean() > 1.4 * by_month(3, "rain_mm").mean()


def test_snow_lies_in_winter_only():
    assert by_month(7, "snow_cm").max() < 0.01
    assert 20 < by_month(3, "snow_cm").mean() < 80
    assert 0 < by_month(11, "snow_cm").mean() < 20
    assert by_month(2, "snow_cm").min() >= 0


def test_the_default_period_ends_with_rain_frost_and_first_snow_and_had_a_winter_before():
    weather = nearby(some_weather(1), np.random.default_rng(2))
    last = slice(-70 * 24, None)
    assert (weather.rain_mm[last].reshape(-1, 24).sum(axis=1) > 2).sum() >= 8
    assert 0.15 < (weather.temperature_c[last] < -2).mean() < 0.85
    assert weather.snow_cm[-75 * 24] == 0
    assert weather.snow_cm[last].max() > 3
    assert weather.snow_cm[-365 * 24 :][: 120 * 24].max() > 20


def test_what_is_told_is_what_fell():
    weather = some_weather(3)
    when = datetime(2020, 8, 12, 15, 40)
    told = weather.at(when)
    hour = int((when - weather.start) / timedelta(hours=1)) + 1
    for day, amount in enumerate(told.rain_mm):
        assert amount == pytest.approx(weather.rain_mm[hour - 24 * (day + 1) : hour - 24 * day].sum(), abs=0.051)
    assert told.temperature_c == pytest.approx(weather.temperature_c[hour - 1], abs=0.051)
    assert sum(amount > 0 for amount in told.rain_mm) >= 2  # else days could be mixed up unnoticed


def test_rain_before_the_fourth_day_is_remembered_and_not_told():
    start = datetime(2020, 6, 1)
    hours = 24 * (MEMORY_DAYS + 20)
    rain = np.zeros(hours)
    weather = Weather(start, np.full(hours, 15.0), rain, np.zeros(hours), np.zeros(hours))
    when = start + timedelta(days=MEMORY_DAYS + 10)
    rain[24 * (MEMORY_DAYS + 3)] = 20.0  # seven days before
    told = weather.at(when)
    assert told.rain_mm == (0, 0, 0, 0)
    assert 5 < told.memory_mm < 20
    assert weather.at(when + timedelta(days=5)).memory_mm < told.memory_mm


def test_neighbours_share_most_of_their_weather():
    region = some_weather(4)
    first, second = (nearby(region, np.random.default_rng(seed)) for seed in range(2))
    assert np.corrcoef(first.temperature_c, second.temperature_c)[0, 1] > 0.98
    assert 0.7 < np.corrcoef(first.rain_mm, second.rain_mm)[0, 1] < 0.99


def test_each_relative_orbit_is_flown_every_six_days_by_the_satellites_in_turn():
    passes = plan_passes(START, 120, 0, 0)
    assert len(passes) == pytest.approx(120 / 6 * len(ORBITS), abs=4)
    assert len({each.when for each in passes}) == len(passes)
    for index in range(len(ORBITS)):
        own = [each for each in passes if each.orbit == index]
        assert {later.when - earlier.when for earlier, later in pairwise(own)} == {timedelta(days=6)}
        assert all(later.satellite != earlier.satellite for earlier, later in pairwise(own))
        assert len({each.incidence_deg for each in own}) == 1


def test_two_orbits_a_direction_look_under_angles_of_their_own():
    assert Counter(orbit.direction for orbit in ORBITS) == {"ascending": 2, "descending": 2}
    angles = sorted(orbit.incidence_deg for orbit in ORBITS)
    assert angles[0] >= 30
    assert angles[-1] <= 45
    assert np.diff(angles).min() > 1


def test_another_start_sees_the_same_satellites():
    early, late = plan_passes(START, 60, 0, 0), plan_passes(START + timedelta(days=17), 43, 0, 0)
    assert [each for each in early if each.when.date() >= START + timedelta(days=17)] == late


def test_an_area_further_from_the_track_is_seen_under_a_larger_angle():
    here, east = (plan_passes(START, 12, east_m, 0) for east_m in (0, 20_000))
    for one, other in zip(here, east, strict=True):
        grows = ORBITS[one.orbit].direction == "ascending"
        assert (other.incidence_deg > one.incidence_deg) == grows
        assert abs(other.incidence_deg - one.incidence_deg) == pytest.approx(1.14, abs=0.1)
