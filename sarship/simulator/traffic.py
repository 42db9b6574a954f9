"""Who is seen when: the vessels of both archives, their scenes, and how many chips of each class there are."""

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from sarship.simulator import sea
from sarship.simulator.sensors import Sensor
from sarship.simulator.ships import FLAGS, KINDS, Kind, Vessel, draw_vessel

# Parts of the three classes. FUSAR-Ship 1.0 has 2,114, 789 and 248 chips of them; of OpenSARShip's test rows in the
# published study 72.97 % are Cargo, and its release has about six tankers for one fishing vessel.
SHARES = {
    "Fusar": {"Cargo": 2114 / 3151, "Fishing": 789 / 3151, "Tanker": 248 / 3151},
    "OpenSARShip": {"Cargo": 0.725, "Fishing": 0.04, "Tanker": 0.235},
}
OTHER_SHARE = 0.02  # of each other class: enough that a reader must leave some out
# A vessel is in 1 to 6 scenes, 2.5 on average; at least 12 vessels a class leave one or two for a split of 10 %.
SCENES_PER_VESSEL, MOST_SCENES_PER_VESSEL = 2.5, 6
FEWEST_VESSELS = 12
# Part of the smaller fleet of each class that the larger one has too: the same coasts, the same ships.
COMMON_SHARE = 0.25


@dataclass(frozen=True)
class Scene:
    """One satellite pass. incidence_deg is that of the middle; clutter_order and tilt_deg as in imaging.View."""

    number: int
    wind_mps: float
    wind_direction_deg: float
    incidence_deg: float
    clutter_order: float
    tilt_deg: float
    seed: np.random.SeedSequence


@dataclass(frozen=True)
class Sighting:
    """One vessel in one scene: one chip."""

    vessel: Vessel
    scene: Scene


def chips_per_class(dataset: str, chips: int) -> dict[str, int]:
    """Chips of each category, three classes that add up to `chips` where they can, then the other classes.

    No class has fewer chips than FEWEST_VESSELS, so in small data sets the shares are not quite those of SHARES.
    """
    counts = {category: max(FEWEST_VESSELS, round(share * chips)) for category, share in SHARES[dataset].items()}
    counts["Cargo"] = max(FEWEST_VESSELS, chips - counts["Fishing"] - counts["Tanker"])
    others = sorted({kind.category for kind in KINDS} - counts.keys())
    return counts | {category: max(2, round(OTHER_SHARE * chips)) for category in others}


def draw_fleets(chips: int, rng: np.random.Generator) -> dict[str, list[Vessel]]:
    """The vessels of each data set; some are in both."""
    numbers = iter(rng.permutation(1_000_000))  # no MMSI twice
    fleets = {dataset: [] for dataset in SHARES}
    for category in sorted({kind.category for kind in KINDS}):
        sizes = {dataset: _vessels(chips_per_class(dataset, chips)[category]) for dataset in SHARES}
        common = _draw(category, round(COMMON_SHARE * min(sizes.values())), numbers, rng)
        for dataset, size in sizes.items():
            fleets[dataset] += common + _draw(category, size - len(common), numbers, rng)
    return fleets


def _vessels(chips: int) -> int:
    return max(min(chips, FEWEST_VESSELS), round(chips / SCENES_PER_VESSEL))


def _draw(category: str, count: int, numbers, rng: np.random.Generator) -> list[Vessel]:
    kinds: list[Kind] = [kind for kind in KINDS if kind.category == category]
    shares = np.array([kind.share for kind in kinds])
    drawn = rng.choice(len(kinds), size=count, p=shares / shares.sum())
    flags = rng.choice(list(FLAGS), size=count)
    return [
        draw_vessel(kinds[kind], int(flag) * 1_000_000 + int(next(numbers)), rng)
        for kind, flag in zip(drawn, flags, strict=True)
    ]


def draw_scenes(sensor: Sensor, count: int, seed: np.random.SeedSequence) -> list[Scene]:
    """`count` passes of a sensor, each with its own weather and geometry."""
    scenes = []
    for number, child in enumerate(seed.spawn(count)):
        rng = np.random.default_rng(child)
        wind_mps, wind_direction_deg = sea.draw_wind(rng)
        low, high = np.log(sensor.clutter_order)
        incidence_deg, order = rng.uniform(*sensor.incidence_deg), np.exp(rng.uniform(low, high))
        tilt_deg = sensor.tilt_deg * rng.choice([-1, 1])  # ascending or descending
        scenes.append(Scene(number, wind_mps, wind_direction_deg, incidence_deg, order, tilt_deg, child))
    return scenes


def draw_sightings(
    dataset: str, chips: int, fleet: list[Vessel], scenes: list[Scene], rng: np.random.Generator
) -> list[Sighting]:
    """Which vessel is in which scenes, sorted by scene; never the same vessel twice in one scene."""
    most = min(MOST_SCENES_PER_VESSEL, len(scenes))
    sightings = []
    for category, count in chips_per_class(dataset, chips).items():
        vessels = [vessel for vessel in fleet if vessel.kind.category == category]
        for vessel, times in zip(vessels, _times(len(vessels), count, most, rng), strict=True):
            chosen = rng.choice(len(scenes), size=times, replace=False)
            sightings += [Sighting(vessel, scenes[number]) for number in chosen]
    return sorted(sightings, key=lambda sighting: sighting.scene.number)


def by_scene(sightings: list[Sighting]) -> list[list[Sighting]]:
    """The sightings of each scene; they are sorted by scene."""
    return [list(group) for _, group in groupby(sightings, key=lambda sighting: sighting.scene.number)]


def _times(vessels: int, chips: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """In how many scenes each vessel is, (vessels,): at least one, at most `most`, `chips` in all."""
    times = np.ones(vessels, dtype=int)
    for _ in range(chips - vessels):
        times[rng.choice(np.flatnonzero(times < most))] += 1
    return times
