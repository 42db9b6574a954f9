"""One area of a series: its options, its place, who flew over it under which conditions, and its land."""

import json
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np

from sarship.change.conditions import Acquisition
from sarship.change.simulator.geometry import static_gain
from sarship.change.simulator.land import Land, make_land
from sarship.change.simulator.levels import Hidden, draw_wind
from sarship.change.simulator.passes import ORBITS, plan_passes
from sarship.change.simulator.settlements import FIELD_SHARE
from sarship.change.simulator.terrain import PIXEL_M
from sarship.change.simulator.weather import Weather, draw_weather, nearby
from sarship.command import UserError

VERSION = 1  # of what the same options give
JITTER_DB = 0.15  # radiometric stability is specified as 0.5 dB at three sigma (ESA, Sentinel-1 performance)
CLOSEST_AREAS_M = 12_000  # from centre to centre; larger areas lie further apart
# Streams of random numbers of a series: those of the regions, and those of an area.
_REGIONS, _AREAS = 0, 1
_LAND, _WEATHER, _MISSING, _HIDDEN, _SPECKLE = range(5)


@dataclass(frozen=True)
class Options:
    """What a series is made with; the same options give the same bytes.

    areas: how many. size: rows and columns of each. start, days: of the period. missing: share of the passes that left
    no image. lee_window: pixels, odd, 1 for no filter. regions: how many the areas lie in, in turn; each has a weather.
    fields: share of each area.
    """

    areas: int
    size: int
    start: date
    days: int
    seed: int
    missing: float
    lee_window: int
    regions: int = 1
    fields: float = FIELD_SHARE

    def names(self) -> list[str]:
        """Folders of the areas."""
        return [f"area_{number:0{len(str(self.areas))}d}" for number in range(1, self.areas + 1)]


@dataclass(frozen=True)
class Shot:
    """An image to be made. number: among all passes over the area; its speckle is drawn by it."""

    number: int
    acquisition: Acquisition
    hidden: Hidden


def write_options(path: Path, options: Options, area: int) -> None:
    """Write simulation.json of area number `area`, from 0."""
    content = {"version": VERSION, "area": area} | asdict(options) | {"start": options.start.isoformat()}
    path.write_text(json.dumps(content, indent=1) + "\n")


def read_options(path: Path) -> tuple[Options, int]:
    """Options and the number of the area, from simulation.json. Raises UserError if it says none that can be used."""
    try:
        content = json.loads(path.read_text())
        if content.pop("version") != VERSION:
            raise UserError(f"{path}: is of another version of the simulator; simulate the series again")
        area = int(content.pop("area"))
        return Options(**content | {"start": date.fromisoformat(content["start"])}), area
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: does not say what the area was simulated with ({error})") from error


def place_m(options: Options, area: int) -> tuple[float, float]:
    """How far east and north of the region's middle an area's centre lies: on a square grid, so none overlap."""
    columns = int(np.ceil(np.sqrt(options.areas)))
    spacing = max(CLOSEST_AREAS_M, 1.3 * options.size * PIXEL_M)
    row, col = divmod(area, columns)
    return (col - (columns - 1) / 2) * spacing, ((columns - 1) / 2 - row) * spacing


def plan_shots(options: Options, area: int) -> list[Shot]:
    """Every image of an area, in the order of time."""
    weather = area_weather(options, area)
    missing, hiding = (np.random.default_rng(_seed(options, _AREAS, area, key)) for key in (_MISSING, _HIDDEN))
    shots = []
    for number, each in enumerate(plan_passes(options.start, options.days, *place_m(options, area))):
        told = weather.at(each.when)
        # Drawn for every pass, so that another share of missing images leaves the others as they are.
        wind, jitter_db = draw_wind(hiding), tuple(hiding.normal(0, JITTER_DB, 2))
        if missing.random() < options.missing:
            continue
        direction = ORBITS[each.orbit].direction
        file = f"images/{each.when:%Y-%m-%dT%H%M}_{direction}_{each.satellite}.tif"
        acquisition = Acquisition(
            file, each.when, direction, each.satellite, each.incidence_deg,
            told.temperature_c, told.snow_depth_cm, told.rain_mm,
        )  # fmt: skip
        hidden = Hidden(*wind, told.memory_mm, told.cold_degree_days, jitter_db)
        shots.append(Shot(number, acquisition, hidden))
    return shots


def area_weather(options: Options, area: int) -> Weather:
    """The weather of an area: that of its region, but for showers and hollows."""
    region = area % options.regions
    stream = (_REGIONS, region) if region else (_REGIONS,)  # the first one's is that of a series of one region
    weather = draw_weather(options.start, options.days, np.random.default_rng(_seed(options, *stream)))
    return nearby(weather, np.random.default_rng(_seed(options, _AREAS, area, _WEATHER)))


@lru_cache(maxsize=1)  # a process makes many images of one area
def area_land(seed: int, area: int, size: int, fields: float) -> Land:
    """The land of an area; it depends on nothing else."""
    return make_land(size, np.random.SeedSequence(seed, spawn_key=(_AREAS, area, _LAND)), fields)


@lru_cache(maxsize=2)
def area_gain(seed: int, area: int, size: int, fields: float, direction: str, incidence_deg: float) -> np.ndarray:
    """What geometry and texture do to each pixel of it: static_gain."""
    return static_gain(area_land(seed, area, size, fields), direction, incidence_deg)


def speckle_generator(options: Options, area: int, number: int) -> np.random.Generator:
    """The generator of pass `number` over an area."""
    return np.random.default_rng(_seed(options, _AREAS, area, _SPECKLE, number))


def _seed(options: Options, *key: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(options.seed, spawn_key=key)
