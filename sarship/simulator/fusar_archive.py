"""FUSAR_Ship1.0.zip of simulated chips, in the official layout (see readers/fusar.py for what that is)."""

import csv
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from sarship.files import whole_file
from sarship.pool import Pool
from sarship.simulator import sea
from sarship.simulator.imaging import View, render_chip, sigma0_of
from sarship.simulator.packing import ZipWriter, packbits_tiff, zip_writer
from sarship.simulator.sensors import FUSAR, Sensor
from sarship.simulator.ships import Vessel
from sarship.simulator.traffic import Scene, Sighting, by_scene

NAME = "FUSAR_Ship1.0.zip"
SIDE_PX = 512
ROWS_PER_STRIP = 16  # as in the official files
CHIPS_PER_SCENE = 8
COLUMNS = ("id", "mmsi", "length", "width", "polarMode", "centerLookAngle", "heightspace", "widthspace", "path")
# Mean grey level of the sea: 2.5 to 3.9 in the four real chips, after undoing the stretch of two of them.
SEA_LEVEL, SEA_LEVEL_SPREAD = 3.1, 0.17
# Two of the four real chips use every third grey level only, up to a third of full scale before the stretch.
STRETCH, STRETCHED_SHARE = 3, 0.5
# AIS position to image: GPS, antenna offset and travel between message and pass leave some 10 m.
CENTRING_ERROR_M = 10.0
EXTRA_ROWS_SHARE = 0.03  # meta.csv has more rows than there are chips
LARGEST_BAD_SHARE = 1 / 300  # from 300 chips on, one of them has no bytes
EARTH_RADIUS_KM, ORBIT_HEIGHT_KM = 6371, 755  # Gaofen-3


def write_fusar(folder: Path, sightings: list[Sighting], workers: int = 1) -> Path:
    """Write the archive whole or not at all; returns its path. `sightings` are sorted by scene."""
    table = _Table()
    path = folder / NAME
    scenes = ((scene, scene) for scene in by_scene(sightings))
    with Pool(_draw_scene, workers) as pool, whole_file(path) as file, zip_writer(file) as archive:
        archive.add("FUSAR_Ship1.0/", b"")
        for scene, (look, files) in pool.map(scenes):
            for sighting, data in zip(scene, files, strict=True):
                archive.add(table.add(sighting.vessel, look), data)
                if sighting.vessel.kind.category == "Cargo":
                    last_cargo = sighting.vessel, look, data
        _add_flaws(archive, table, *last_cargo, chips=len(sightings))
        archive.add("FUSAR_Ship1.0/meta.csv", table.csv())
    return path


def _draw_scene(sightings: list[Sighting]) -> tuple["_Look", list[bytes]]:
    """The look of a scene, and the TIFF files of its sightings."""
    look = _Look(sightings[0].scene)
    return look, [packbits_tiff(look.chip(sighting), ROWS_PER_STRIP) for sighting in sightings]


def _add_flaws(archive: ZipWriter, table: "_Table", vessel: Vessel, look: "_Look", data: bytes, chips: int) -> None:
    """What the official archive has too: a chip that is there twice, rows without chip, and a file without bytes."""
    archive.add(table.add(vessel, look), data)
    if chips * LARGEST_BAD_SHARE >= 1:
        archive.add(table.add(vessel, look), b"")
    for _ in range(max(1, round(EXTRA_ROWS_SHARE * chips))):
        table.add(vessel, look)


class _Look:
    """How one scene of Gaofen-3 sees and is scaled to 8 bit; draws its chips one after the other."""

    def __init__(self, scene: Scene):
        self.scene = scene
        own, self._chips = (np.random.default_rng(seed) for seed in scene.seed.spawn(2))
        self.polar_mode = str(own.choice(["DH", "DV"]))
        # 1.70 to 1.73 m: azimuth spacing follows the pulse rate of the beam. Resolution goes along, 1 % at most.
        spacing_m = round(own.uniform(1.70, 1.73), 5)
        resolution_m = FUSAR.row_resolution_m * spacing_m / FUSAR.row_spacing_m
        self.sensor: Sensor = replace(FUSAR, row_spacing_m=spacing_m, row_resolution_m=resolution_m)
        self._polarization = {"DH": "HH", "DV": "VV"}[self.polar_mode]
        level = sea.sigma0(self._polarization, scene.wind_mps, scene.wind_direction_deg, scene.incidence_deg)
        mean_amplitude = np.sqrt(np.pi / 4 * (level + 10 ** (FUSAR.noise_db / 10)))  # Rayleigh
        self._scale = SEA_LEVEL * np.exp(SEA_LEVEL_SPREAD * own.standard_normal()) / mean_amplitude
        self._stretch = STRETCH if own.random() < STRETCHED_SHARE else 1

    @property
    def look_angle_deg(self) -> float:
        ratio = EARTH_RADIUS_KM / (EARTH_RADIUS_KM + ORBIT_HEIGHT_KM)
        return float(np.degrees(np.arcsin(ratio * np.sin(np.radians(self.scene.incidence_deg)))))

    def chip(self, sighting: Sighting) -> np.ndarray:
        """(512, 512) uint8."""
        view = View(
            heading_deg=self._chips.uniform(0, 360),
            incidence_deg=self.scene.incidence_deg,
            wind_mps=self.scene.wind_mps,
            wind_direction_deg=self.scene.wind_direction_deg,
            polarizations=(self._polarization,),
            clutter_order=self.scene.clutter_order,
            tilt_deg=self.scene.tilt_deg,
            offset_m=tuple(CENTRING_ERROR_M * self._chips.standard_normal(2)),
        )
        chip = render_chip(sighting.vessel, self.sensor, view, SIDE_PX, self._chips)
        amplitude = np.sqrt(sigma0_of(chip, self.sensor)[0])
        grey = np.rint(np.minimum(amplitude * np.float32(self._scale), 255 // self._stretch))
        return grey.astype(np.uint8) * np.uint8(self._stretch)


class _Table:
    """meta.csv and the names in it: numbers count up in each sub-category."""

    def __init__(self):
        self._rows: list[list] = []
        self._numbers: Counter[str] = Counter()

    def add(self, vessel: Vessel, look: _Look) -> str:
        """One row; returns the path of its chip in the archive."""
        kind = vessel.kind
        self._numbers[kind.fusar_code] += 1
        name = f"Ship_{kind.fusar_code}N{self._numbers[kind.fusar_code]:04d}"
        self._rows.append([
            name,
            vessel.mmsi,
            round(vessel.length_m),
            round(vessel.beam_m),
            look.polar_mode,
            f"{look.look_angle_deg:.2f}",
            look.sensor.row_spacing_m,
            "1.124222",
            f"{kind.category}\\{kind.fusar_folder}",
        ])  # fmt: skip
        return f"FUSAR_Ship1.0/{kind.category}/{kind.fusar_folder}/{name}.tiff"

    def csv(self) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        writer.writerows(self._rows)
        return text.getvalue().encode()
