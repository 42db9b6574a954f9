"""Ships and sea to official archives: a laboratory where what differs between two sensors is known.

    fusar, opensarship = simulate_archives(Path("raw"), chips=400, seed=0)

The order of things: `ships` and `layouts` say what a vessel is, `sea` and `sensors` what surrounds and what sees it,
`imaging` renders one chip, `traffic` says who is seen when, `annotation` and `scene_xml` what people wrote down of it,
and `fusar_archive` and `opensarship_archive` write that in the official layouts.

What is simulated: length and beam by kind, scatterers of each kind's deck, layover, point-spread functions with side
lobes, looks, K-distributed clutter by wind and incidence, noise, spacing, 8-bit scaling. What is not: motion (azimuth
shift, defocus), wakes, azimuth ambiguities, ports, other ships in the chip, swell one could see, land. The makers of
the official sets took ships that stand out; here a small ship in a rough sea may hardly be seen.
"""

from pathlib import Path

import numpy as np

from sarship.command import UserError
from sarship.files import writable_folder
from sarship.simulator import fusar_archive, opensarship_archive, traffic
from sarship.simulator.imaging import View, mean_rcs_m2, render_chip, sigma0_of
from sarship.simulator.sensors import FUSAR, GRD, SLC, Sensor
from sarship.simulator.ships import KINDS, Kind, Vessel, draw_vessel

__all__ = [
    "FUSAR",
    "GRD",
    "KINDS",
    "SLC",
    "Kind",
    "Sensor",
    "Vessel",
    "View",
    "draw_vessel",
    "mean_rcs_m2",
    "render_chip",
    "sigma0_of",
    "simulate_archives",
]

FEWEST_CHIPS = 3 * traffic.FEWEST_VESSELS
FEWEST_SCENES = 8  # so that a vessel can be in six, and SLC, single-pol and release-1 scenes are among them


def simulate_archives(folder: Path, chips: int = 400, seed: int = 0, workers: int = 1) -> tuple[Path, Path]:
    """Write FUSAR_Ship1.0.zip and OpenSARShip_2.zip into `folder`, and return their paths in that order.

    chips: of Cargo, Fishing and Tanker together, in each of the two (in GRD scenes for OpenSARShip), at least 36;
    other classes, SLC twins and one duplicate come on top. Each class has at least 12 vessels, so with fewer than 300
    chips the smaller classes have more than their official share.
    seed: the same one gives the same bytes, whatever the number of workers, the processes that draw.

    Raises UserError if `chips` is too small, `seed` is negative, or the folder cannot be written.
    """
    if chips < FEWEST_CHIPS:
        raise UserError(f"{chips} simulated chips a data set are too few; ask for {FEWEST_CHIPS} or more")
    if seed < 0:
        raise UserError(f"seed {seed} is negative; choose 0 or above")
    writable_folder(folder)
    fusar, opensarship = _write_archives(folder, chips, seed, workers)
    return fusar, opensarship


def _write_archives(folder: Path, chips: int, seed: int, workers: int) -> list[Path]:
    fleet_seed, *seeds = np.random.SeedSequence(seed).spawn(5)
    fleets = traffic.draw_fleets(chips, np.random.default_rng(fleet_seed))
    plans = (
        ("Fusar", FUSAR, fusar_archive.CHIPS_PER_SCENE, fusar_archive.write_fusar),
        ("OpenSARShip", GRD, opensarship_archive.CHIPS_PER_SCENE, opensarship_archive.write_opensarship),
    )
    paths = []
    for (dataset, sensor, per_scene, write), scene_seed, who_seed in zip(plans, seeds[::2], seeds[1::2], strict=True):
        scenes = traffic.draw_scenes(sensor, max(FEWEST_SCENES, round(chips / per_scene)), scene_seed)
        rng = np.random.default_rng(who_seed)
        paths.append(write(folder, traffic.draw_sightings(dataset, chips, fleets[dataset], scenes, rng), workers))
    return paths
