"""The weather of a region, hour by hour: temperature, rain and snow, and what of it the conditions of an image tell.

Numbers without a source are estimates that put monthly means near the normals of Kajaani, Finland (Finnish
Meteorological Institute, 1991 to 2020): January near -10 degrees Celsius, July near 16, about 600 mm a year, lasting
snow from November to the end of April.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from scipy.signal import lfilter

WARM_UP_DAYS = 400  # before the first day: snow on it, and the memory of soil and ice, are those of a year that passed
MEAN_C, AMPLITUDE_C, COLDEST_DAY = 2.9, 13.2, 20
SUMMER_SPREAD_C, WINTER_SPREAD_C, DAY_TO_DAY = 3.0, 6.0, 0.8
MILD_SHORTER = 0.4
SUMMER_SWING_C, WINTER_SWING_C = 5.0, 1.0  # half the difference between day and night
WARMEST_HOUR_UTC = 12
# Wet days come in spells: a chain of two states (Richardson, Water Resources Research 17, 1981). These two make
# half of the days wet; gamma amounts of shape 0.75 are those of that model.
WET_AFTER_WET, WET_AFTER_DRY, RAIN_SHAPE = 0.66, 0.36, 0.75
SUMMER_RAIN_MM, WINTER_RAIN_MM, WETTEST_DAY = 4.6, 2.2, 215  # mean of a wet day
SNOW_BELOW_C = 0.7  # half of what falls is snow there (0.5 to 1.5: Feiccabrino et al., Hydrology Research 46, 2015)
MELT_MM_PER_DEGREE_DAY = 3.0  # 2 to 4 in Finland (Kuusisto, Publ. Water Research Institute 55, 1984)
FRESH_DENSITY, OLD_DENSITY, SETTLING_HOURS = 0.10, 0.27, 240  # of water; snow settles towards the second
MEMORY_DAYS, FORGETTING = 30, 0.92  # of wet soil, a day
TOLD_DAYS = 4
ICE_DECAY = 8  # a degree day above zero undoes as many below: lakes open weeks after the thaw begins


@dataclass(frozen=True)
class Conditions:
    """Weather at one time. rain_mm: of the last 24 hours, and of the three days before. Rain counts what fell as snow.

    Hidden, for no column tells it: memory_mm, rain from the fifth day back, weighted by FORGETTING; cold_degree_days,
    which make ice.
    """

    temperature_c: float
    snow_depth_cm: float
    rain_mm: tuple[float, float, float, float]
    memory_mm: float
    cold_degree_days: float


@dataclass(frozen=True)
class Weather:
    """Hourly series, (hours,) each, from `start` on, UTC.

    snow_cm: depth. cold_degree_days: sum of cold, which heat undoes ICE_DECAY times as fast.
    """

    start: datetime
    temperature_c: np.ndarray
    rain_mm: np.ndarray
    snow_cm: np.ndarray
    cold_degree_days: np.ndarray

    def at(self, when: datetime) -> Conditions:
        """Conditions at a time, UTC, at least MEMORY_DAYS after the start."""
        hour = int((when - self.start).total_seconds() // 3600) + 1  # what of the running hour has fallen counts
        days = self.rain_mm[hour - 24 * MEMORY_DAYS : hour].reshape(MEMORY_DAYS, 24).sum(axis=1)[::-1]
        rain = tuple(round(float(day), 1) for day in days[:TOLD_DAYS])
        memory = float(days[TOLD_DAYS:] @ FORGETTING ** np.arange(TOLD_DAYS, MEMORY_DAYS))
        return Conditions(
            round(float(self.temperature_c[hour - 1]), 1),
            round(float(self.snow_cm[hour - 1]), 1),
            rain,
            memory,
            float(self.cold_degree_days[hour - 1]),
        )


def draw_weather(first: date, days: int, rng: np.random.Generator) -> Weather:
    """The weather of `days` days from `first` on, and of WARM_UP_DAYS before."""
    start = datetime.combine(first, datetime.min.time()) - timedelta(days=WARM_UP_DAYS)
    n_days = WARM_UP_DAYS + days + 1
    day_of_year = np.array([(start + timedelta(days=index)).timetuple().tm_yday for index in range(n_days)])
    summer = 0.5 - 0.5 * np.cos(2 * np.pi * (day_of_year - COLDEST_DAY) / 365.25)  # 0 in January, 1 in July
    wet, rain = _rain(day_of_year, rng)
    temperature = _temperature(day_of_year, summer, wet, rng)
    snow, cold = _snow_and_ice(temperature, rain)
    return Weather(start, temperature, rain, snow, cold)


def nearby(weather: Weather, rng: np.random.Generator) -> Weather:
    """The weather of a place some kilometres away: showers miss it or do not, and it lies in a cold hollow or not."""
    n_days = len(weather.rain_mm) // 24
    rain = weather.rain_mm * np.repeat(rng.gamma(8, 1 / 8, n_days), 24)
    temperature = weather.temperature_c + rng.normal(0, 0.4) + np.repeat(rng.normal(0, 0.3, n_days), 24)
    return Weather(weather.start, temperature, rain, *_snow_and_ice(temperature, rain))


def typical_temperature_c(day_of_year: float) -> float:
    """Mean temperature of a day of the year."""
    return MEAN_C - AMPLITUDE_C * float(np.cos(2 * np.pi * (day_of_year - COLDEST_DAY) / 365.25))


def typical_cold_degree_days(day_of_year: int) -> float:
    """What Weather.cold_degree_days is in a year whose every day is a mean one."""
    days = np.arange(200, 200 + 365)  # from midsummer on, when there is none
    total = 0.0
    for day in days[: (day_of_year - 200) % 365 + 1]:
        total = _colder(total, typical_temperature_c(day), 1.0)
    return total


def _temperature(day_of_year: np.ndarray, summer: np.ndarray, wet: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(hours,) degrees Celsius. Rainy days are mild in winter and cool in summer, with less between day and night."""
    noise = rng.standard_normal(len(day_of_year)) * np.sqrt(1 - DAY_TO_DAY**2)
    spread = WINTER_SPREAD_C + (SUMMER_SPREAD_C - WINTER_SPREAD_C) * summer
    spell = lfilter([1], [1, -DAY_TO_DAY], noise)
    # Winter's thaws end a little above zero, where its cold spells have no such end.
    spell *= np.where(spell > 0, 1 - MILD_SHORTER * (1 - summer), 1)
    daily = MEAN_C + AMPLITUDE_C * (2 * summer - 1) + spread * spell
    daily += wet * np.where(summer > 0.5, -1.0, 1.5)
    hours = np.arange(24 * len(daily))
    swing = (WINTER_SWING_C + (SUMMER_SWING_C - WINTER_SWING_C) * summer) * np.where(wet, 0.5, 1.0)
    between = np.interp(hours, 24 * np.arange(len(daily)) + 12, daily)
    return between + np.repeat(swing, 24) * np.cos(2 * np.pi * (hours % 24 - WARMEST_HOUR_UTC) / 24)


def _rain(day_of_year: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which days are wet, (days,) bool, and what falls, (hours,) mm: each wet day has one spell of some hours."""
    n_days = len(day_of_year)
    draws, wet = rng.random(n_days), np.zeros(n_days, bool)
    for day in range(1, n_days):
        wet[day] = draws[day] < (WET_AFTER_WET if wet[day - 1] else WET_AFTER_DRY)
    season = 0.5 + 0.5 * np.cos(2 * np.pi * (day_of_year - WETTEST_DAY) / 365.25)
    mean_mm = WINTER_RAIN_MM + (SUMMER_RAIN_MM - WINTER_RAIN_MM) * season
    amount = np.where(wet, mean_mm * rng.gamma(RAIN_SHAPE, 1 / RAIN_SHAPE, n_days), 0.0)
    length = np.ceil(np.where(season > 0.5, rng.uniform(1, 10, n_days), rng.uniform(4, 20, n_days))).astype(int)
    first = (rng.random(n_days) * (24 - length)).astype(int)
    hour = np.arange(24)
    falls = (hour >= first[:, None]) & (hour < (first + length)[:, None])
    return wet, (falls * (amount / length)[:, None]).ravel()


def _snow_and_ice(temperature_c: np.ndarray, rain_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Snow depth, (hours,) cm, and degree days of cold, (hours,)."""
    snowfall = rain_mm / (1 + np.exp((temperature_c - SNOW_BELOW_C) / 0.4))
    melt = MELT_MM_PER_DEGREE_DAY / 24 * np.maximum(temperature_c, 0)
    depth_cm, cold = np.empty(len(rain_mm)), np.empty(len(rain_mm))
    water_mm = depth = total = 0.0
    for hour, (falls, melts, degrees) in enumerate(zip(snowfall, melt, temperature_c, strict=True)):
        kept = max(0.0, water_mm - melts)
        depth = depth * (kept / water_mm if water_mm else 0.0) + falls / FRESH_DENSITY / 10
        water_mm = kept + falls
        settled = water_mm / OLD_DENSITY / 10
        depth = settled + (depth - settled) * (1 - 1 / SETTLING_HOURS) if depth > settled else settled
        total = _colder(total, degrees, 1 / 24)
        depth_cm[hour], cold[hour] = depth, total
    return depth_cm, cold


def _colder(cold_degree_days: float, temperature_c: float, days: float) -> float:
    return max(0.0, cold_degree_days - temperature_c * days * (1 if temperature_c < 0 else ICE_DECAY))
