"""OpenSARShip_2.zip of simulated scenes, in the official layout (see readers/opensarship.py for what that is)."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from sarship.files import whole_file
from sarship.pool import Pool
from sarship.simulator.annotation import annotate
from sarship.simulator.imaging import View, render_chip, sigma0_of
from sarship.simulator.packing import float_tiff, packbits_tiff, zip_writer
from sarship.simulator.scene_xml import Pass, Ship, metadata, ship_list
from sarship.simulator.sensors import GRD, SLC, Sensor
from sarship.simulator.traffic import Scene, Sighting, by_scene

NAME = "OpenSARShip_2.zip"
CHIPS_PER_SCENE = 12  # the four real scenes have 9 to 124
SINGLE_POL_EVERY = 5  # mostly dual-pol, as Sentinel-1 over sea in IW
RELEASE_1_SCENES = {0}
SLC_SCENES = {1, 2}  # those passes are there as SLC as well
SUFFIX_SCENES = {3}  # some official names bear the "(1)" of a second download
# Amplitude over the root of sigma nought: 603 to 661 in the real GRD chips, 303 in the SLC ones.
GAIN = {"GRD": 620.0, "SLC": 303.0}
# Real full scale is the largest amplitude, in chips from some 5,000 pixels on the second largest.
LARGE_CHIP_PIXELS = 5000
# Scene pixels (x, y) of an IW product, kept from its edges: 25,700 x 16,700 for GRD, three sub-swaths for SLC.
SCENE_PX = {"GRD": (25_000, 16_000), "SLC": (68_000, 12_500)}
EDGE_PX = 300
FIRST_PASS = datetime(2015, 1, 4, 9, 30, tzinfo=UTC)  # Sentinel-1A repeats every 12 days


def write_opensarship(folder: Path, sightings: list[Sighting], workers: int = 1) -> Path:
    """Write the archive whole or not at all; returns its path. `sightings` are sorted by scene."""
    path = folder / NAME
    scenes = ((None, scene) for scene in by_scene(sightings))
    with Pool(_draw_scene, workers) as pool, whole_file(path) as file, zip_writer(file) as archive:
        for _, products in pool.map(scenes):
            for name, data in products:
                archive.add(name, data)
    return path


def _draw_scene(sightings: list[Sighting]) -> list[tuple[str, bytes]]:
    """The products of one pass as (file name, zip bytes): GRD, and SLC for some.

    Speckle of the two is drawn apart, though in nature GRD is made from SLC.
    """
    scene = sightings[0].scene
    own, grd, slc = (np.random.default_rng(seed) for seed in scene.seed.spawn(3))
    headings_deg = own.uniform(0, 360, len(sightings))
    places = own.random((len(sightings), 2))
    pass_seed = own.integers(2**32)
    products = []
    for sensor, rng in ((GRD, grd), (SLC, slc)):
        if sensor is GRD or scene.number in SLC_SCENES:
            product = _pass_of(scene, sensor, np.random.default_rng([pass_seed, sensor is SLC]))
            suffix = "(1)" if scene.number in SUFFIX_SCENES and sensor is GRD else ""
            data = _scene_zip(product, sensor, sightings, headings_deg, places, rng)
            products.append((f"{product.name}{suffix}.zip", data))
    return products


def _pass_of(scene: Scene, sensor: Sensor, rng: np.random.Generator) -> Pass:
    single = scene.number % SINGLE_POL_EVERY == SINGLE_POL_EVERY - 1
    return Pass(
        product=sensor.product,
        start=FIRST_PASS + timedelta(days=12 * scene.number, minutes=7 * scene.number),
        orbit=4000 + 175 * scene.number,  # 175 orbits in 12 days
        take=0x5000 + 0x2A7 * scene.number,
        code=int(rng.integers(2**16)),
        polarizations=("VV",) if single else ("VH", "VV"),
        descending=scene.number % 2 == 0,
        corner=(120.0 + scene.number % 3, 30.0 + scene.number % 7),
    )


def _scene_zip(scene: Pass, sensor: Sensor, sightings, headings_deg, places, rng: np.random.Generator) -> bytes:
    release = 1 if sightings[0].scene.number in RELEASE_1_SCENES else 2
    root = f"{scene.name}/" if release == 1 else ""
    buffer, ships = io.BytesIO(), []
    with zip_writer(buffer) as archive:
        for folder in ("", "Patch/", "Patch_Cal/", "Patch_RGB/", "Patch_Uint8/"):
            if root or folder:
                archive.add(root + folder, b"")
        for sighting, heading_deg, place in zip(sightings, headings_deg, places, strict=True):
            ship = _mark(sighting, scene, sensor, heading_deg, place, rng)
            chip = _render(sighting, ship, scene, sensor, rng)
            for name, data in _files(ship, chip, scene, sensor):
                archive.add(root + name, data)
            ships.append(ship)
        archive.add(root + _figure_name(ships[-1], scene, release), _figure(chip, sensor))
        archive.add(root + ("Metedata.xml" if release == 1 else f"{scene.name}.xml"), metadata(scene, sensor))
        archive.add(root + "Ship.xml", ship_list(ships, scene, sensor, release))
    return buffer.getvalue()


def _mark(sighting: Sighting, scene: Pass, sensor: Sensor, heading_deg, place, rng) -> Ship:
    """Where in the scene a vessel is; `place` in 0..1 along range and azimuth is the same in all products of a pass."""
    width, height = SCENE_PX[scene.product]
    center = (EDGE_PX + int(place[0] * (width - 2 * EDGE_PX)), EDGE_PX + int(place[1] * (height - 2 * EDGE_PX)))
    low, high = sensor.incidence_deg
    incidence_deg = low + place[0] * (high - low)
    mark = annotate(sighting.vessel, sensor, center, heading_deg, incidence_deg, rng)
    return Ship(sighting.vessel, mark, heading_deg, incidence_deg)


def _render(sighting: Sighting, ship: Ship, scene: Pass, sensor: Sensor, rng) -> np.ndarray:
    weather = sighting.scene
    view = View(
        heading_deg=ship.heading_deg,
        incidence_deg=ship.incidence_deg,
        wind_mps=weather.wind_mps,
        wind_direction_deg=weather.wind_direction_deg,
        polarizations=scene.polarizations,
        clutter_order=weather.clutter_order,
        offset_m=ship.annotation.offset_m,
    )
    return render_chip(ship.vessel, sensor, view, ship.annotation.side_px, rng)


def _files(ship: Ship, chip: np.ndarray, scene: Pass, sensor: Sensor):
    """(name, bytes) of Patch, Patch_Cal and Patch_Uint8 of one chip, from its complex looks."""
    gain = GAIN[scene.product]
    if scene.product == "SLC":
        parts = np.rint(gain * np.stack([chip[:, 0].real, chip[:, 0].imag], axis=1))  # (pol, 2, rows, cols)
        raw = parts.reshape(-1, *chip.shape[2:])
        amplitude = np.hypot(parts[:, 0], parts[:, 1])
    else:
        raw = amplitude = np.rint(gain * np.sqrt(sigma0_of(chip, sensor)))
    name = _chip_name(ship)
    yield f"Patch/{name}.tif", float_tiff(_bands_last(raw))
    yield f"Patch_Cal/{name}.tif", float_tiff(_bands_last((amplitude / gain) ** 2))
    for band, polarization in zip(amplitude, scene.polarizations, strict=True):
        suffix = f"_{polarization.lower()}" if len(amplitude) > 1 else ""
        yield f"Patch_Uint8/Visual_{name}{suffix}.tif", packbits_tiff(_to_uint8(band))


def _bands_last(bands: np.ndarray) -> np.ndarray:
    return bands[0] if len(bands) == 1 else np.moveaxis(bands, 0, -1)  # (bands, rows, cols) -> (rows, cols, bands)


def _chip_name(ship: Ship) -> str:
    x, y = ship.annotation.center
    return f"{ship.vessel.kind.opensarship_type}_x{x}_y{y}"


def _to_uint8(amplitude: np.ndarray) -> np.ndarray:
    """(rows, cols) amplitude to 0..255, as in the real chips; the absolute level is lost."""
    largest = np.partition(amplitude.ravel(), -2)[-2:]
    full_scale = largest[0] if amplitude.size >= LARGE_CHIP_PIXELS else largest[1]
    return np.rint(np.minimum(255 * amplitude / full_scale, 255)).astype(np.uint8)


def _figure_name(ship: Ship, scene: Pass, release: int) -> str:
    # Release 1 names its PNG files .tif.
    suffix = "_vv" if len(scene.polarizations) > 1 else ""
    return f"Patch_RGB/{_chip_name(ship)}{suffix}.{'tif' if release == 1 else 'png'}"


def _figure(chip: np.ndarray, sensor: Sensor) -> bytes:
    """A PNG like the official ones, in jet colours amid white margins: made for people, and no reader may take it.

    One a scene stands for the official one a chip: nobody reads them, and drawing them all would double the time.
    """
    amplitude = np.sqrt(sigma0_of(chip, sensor)[-1])
    level = amplitude[..., None] / amplitude.max()
    jet = np.clip(1.5 - np.abs(4 * level - np.array([3.0, 2.0, 1.0])), 0, 1)
    picture = Image.fromarray(np.rint(255 * jet).astype(np.uint8)).resize((520, 520), Image.Resampling.NEAREST)
    page = Image.new("RGB", (875, 656), "white")
    page.paste(picture, (170, 60))
    buffer = io.BytesIO()
    page.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
