"""OpenSARShip 1 and 2 as published: scenes of Sentinel-1, each an archive or a folder of chips.

    <scene>/Patch_Uint8/Visual_<Type>_x<col>_y<row>[_vv|_vh].tif   8 bit
    <scene>/Patch_Cal/<Type>_x<col>_y<row>.tif                     sigma nought, float32, a band per polarization
    <scene>/Ship.xml                                               AIS of every chip
    <scene>/<product>.xml (release 2) or Metedata.xml (1, so spelled)  metadata of the product

Patch_RGB is never read: it holds figures with a colour map, axes and margins, made for people.

L. Huang et al., "OpenSARShip: a dataset dedicated to Sentinel-1 ship interpretation", IEEE JSTARS 11 (2018);
B. Li et al., "OpenSARShip 2.0: a large-volume dataset for deeper interpretation of ship targets", BIGSARDATA 2017.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sarship.archives import Entry, Source
from sarship.chip import Chip
from sarship.command import UserError, log
from sarship.readers import (
    EMPTY,
    OTHER_CLASS,
    UNREADABLE,
    WRONG_POLARIZATION,
    WRONG_PRODUCT,
    Note,
    Rejected,
    UniqueNames,
    Wanted,
    all_classes,
    read_table,
    read_whole,
)
from sarship.readers.scenes import Scene, files_by_folder, scene_at, scene_places, scenes_inside
from sarship.readers.ship_xml import Ship, parse_ships
from sarship.readers.tiff import empty, read_pixels

DATASET = "OpenSARShip"
PIXELS = {"uint8": ("Patch_Uint8", "uint8"), "calibrated": ("Patch_Cal", "float32")}
# Middle of the 29.1 to 46.0 degrees of the interferometric wide swath (Sentinel-1 user guide), for SLC chips
# of scenes whose Ship.xml gives no incidence at all.
NOMINAL_INCIDENCE_DEG = 37.6

_CHIP_NAME = re.compile(
    r"(?:Visual_)?(?P<category>.+)_x(?P<x>\d+)_y(?P<y>\d+)(?:_(?P<polarization>vv|vh|hh|hv))?\.tiff?", re.IGNORECASE
)


@dataclass(frozen=True)
class _Patch:
    """One band of one file: what becomes a chip. x, y: column and row of its centre in the scene."""

    entry: Entry
    category: str
    x: int
    y: int
    polarization: str
    band: int
    bands: int


# What the reader could not take as the scenes say it, and how many scenes there were.
_UNKNOWN_VESSEL = "{} chips are not in Ship.xml or without an MMSI there: vessel unknown"
_NOMINAL_SPACING = "{} chips without metadata, pixel spacing taken as the nominal one"
_SCENES = "scenes"


@dataclass(frozen=True)
class OpenSARShipReader:
    """Scenes of one source: archives and folders inside one another, as they come, sorted by path.

    pixels: "uint8", or "calibrated" for linear sigma nought as float32. polarization: "vv", "vh", or "both" for
    all there are; a scene of a single polarization has that one. product: "grd", "slc" or "both".
    category is the type in the file name, subcategory Elaborated_type; spacing is that on the ground.
    """

    pixels: str = "uint8"
    polarization: str = "vv"
    product: str = "grd"
    wanted: Wanted = all_classes

    def parts(self, source: Source) -> Iterator["ScenePart"]:
        """A part for each scene, and for each archive in the source. Raises UserError if there is none."""
        places = scene_places(source)
        if not places:
            raise _no_scene(source.name)
        by_folder = files_by_folder(source.entries())
        for place in places:
            entries = [place] if isinstance(place, Entry) else self._files(Scene(source, place, by_folder))
            yield ScenePart(source.part(entries), place, self)

    def _files(self, scene: Scene) -> list[Entry]:
        """What is read of a scene: its tables, and the chips of one folder."""
        return scene.files("") + scene.files(PIXELS[self.pixels][0])

    def finish(self, source: str, tally: Counter[str]) -> None:
        """Raises UserError if there was no scene."""
        if not tally[_SCENES]:
            raise _no_scene(source)
        for line in (_UNKNOWN_VESSEL, _NOMINAL_SPACING):
            if tally[line]:
                log(f"{source}: {line.format(tally[line])}")

    def takes_product(self, product: str) -> bool:
        return self.product in ("both", product.lower())

    def takes_polarization(self, polarization: str) -> bool:
        return self.polarization in ("both", polarization.lower())


@dataclass(frozen=True)
class ScenePart:
    """One scene or one archive of them. place: the scene's folder, or the archive's entry.

    An archive is one part whatever is in it: whoever opens it has unpacked it.
    """

    source: Source
    place: str | Entry
    reader: OpenSARShipReader

    def chips(self, tally: Counter[str]) -> Iterator[Chip | Rejected | Note]:
        """Raises UserError if a scene has no Ship.xml or an unusable one, or an archive is bad."""
        with self.source as source:
            inside = isinstance(self.place, Entry)
            for item in scenes_inside(source, self.place) if inside else [scene_at(source, self.place)]:
                if isinstance(item, Note):
                    yield item
                else:
                    tally[_SCENES] += 1
                    yield from _read_scene(item, self.reader, tally)


def read_opensarship(
    source: Source,
    pixels: str = "uint8",
    polarization: str = "vv",
    product: str = "grd",
    wanted: Wanted = all_classes,
    names: UniqueNames | None = None,
) -> Iterator[Chip | Rejected]:
    """Every chip of one scene or many (see OpenSARShipReader), read in this process.

    names: give the same one for every archive of the data set, and no two chips have one name.
    """
    return read_whole(OpenSARShipReader(pixels, polarization, product, wanted), source, names)


def _no_scene(source: str) -> UserError:
    return UserError(f"{source}: holds no OpenSARShip scene (a folder with Ship.xml and Patch_Uint8)")


def _read_scene(scene: Scene, reader: OpenSARShipReader, tally: Counter[str]) -> Iterator[Chip | Rejected | Note]:
    folder, dtype = PIXELS[reader.pixels]
    entries = [entry for entry in scene.files(folder) if entry.name.lower().endswith((".tif", ".tiff"))]
    if not entries:
        yield Note(f"{scene.where}: holds no chips in {folder}")
    # Ship.xml can't be asked for before the product is known to be wanted: a scene of the other kind may lack it.
    ships = _ships(scene) if reader.takes_product(scene.product) else {}
    incidence_deg = _typical_incidence(ships)
    for entry in entries:
        for patch in _patches(scene, entry, reader.pixels):
            if isinstance(patch, Rejected):
                yield patch
                continue
            ship = ships.get((patch.x, patch.y), Ship())
            rejected = _unwanted(scene, patch, ship, reader)
            yield rejected or _read_chip(scene, patch, ship, dtype, incidence_deg, tally)


def _ships(scene: Scene) -> dict[tuple[int, int], Ship]:
    found = [entry for entry in scene.files("") if entry.name.rpartition("/")[2] == "Ship.xml"]
    if not found:
        raise UserError(f"{scene.where}: holds no Ship.xml; get the scene again")
    return parse_ships(read_table(scene.source, found[0]), scene.where)


def _typical_incidence(ships: dict[tuple[int, int], Ship]) -> float:
    """The median over the ships of a scene, degrees: for chips whose own is not known."""
    known = sorted(ship.incidence_deg for ship in ships.values() if not math.isnan(ship.incidence_deg))
    return known[len(known) // 2] if known else NOMINAL_INCIDENCE_DEG


def _patches(scene: Scene, entry: Entry, pixels: str) -> Iterator[_Patch | Rejected]:
    where = f"{scene.source.name}/{entry.name}"
    match = _CHIP_NAME.fullmatch(entry.name.rpartition("/")[2])
    if match is None:
        yield Rejected(where, UNREADABLE, "is not named <Type>_x<col>_y<row>")
        return
    place = {"entry": entry, "category": match["category"], "x": int(match["x"]), "y": int(match["y"])}
    bands = scene.polarizations
    if pixels == "calibrated":
        for band, polarization in enumerate(bands):
            yield _Patch(**place, polarization=polarization, band=band, bands=len(bands))
    elif match["polarization"] is None and len(bands) > 1:
        yield Rejected(where, UNREADABLE, f"does not say which of {' and '.join(bands)} it is")
    else:
        yield _Patch(**place, polarization=(match["polarization"] or bands[0]).upper(), band=0, bands=1)


def _unwanted(scene: Scene, patch: _Patch, ship: Ship, reader: OpenSARShipReader) -> Rejected | None:
    where = f"{scene.source.name}/{patch.entry.name}"
    if not reader.takes_product(scene.product):
        return Rejected(where, WRONG_PRODUCT, scene.product)
    if not reader.takes_polarization(patch.polarization):
        return Rejected(where, WRONG_POLARIZATION, patch.polarization)
    if not reader.wanted(patch.category, ship.elaborated_type):
        return Rejected(where, OTHER_CLASS, f"{patch.category}/{ship.elaborated_type}")
    return None


def _read_chip(
    scene: Scene, patch: _Patch, ship: Ship, dtype: str, incidence_deg: float, tally: Counter[str]
) -> Chip | Rejected:
    where = f"{scene.source.name}/{patch.entry.name}"
    pixels = read_pixels(scene.source, patch.entry, dtype, patch.bands)
    if isinstance(pixels, Rejected):
        return pixels
    if patch.bands > 1:
        pixels = pixels[:, :, patch.band].copy()  # (rows, cols, bands) -> (rows, cols)
    if empty(pixels):
        return Rejected(where, EMPTY)
    tally[_UNKNOWN_VESSEL] += ship.vessel == ""
    tally[_NOMINAL_SPACING] += scene.spacing.is_nominal
    if not math.isnan(ship.incidence_deg):
        incidence_deg = ship.incidence_deg
    return Chip(
        pixels=pixels,
        name=f"{scene.name}_x{patch.x}_y{patch.y}_{patch.polarization}",
        dataset=DATASET,
        category=patch.category,
        subcategory=ship.elaborated_type,
        vessel=ship.vessel,
        scene=scene.name,
        sensor="Sentinel-1",
        product=scene.product,
        polarization=patch.polarization,
        row_spacing_m=scene.spacing.azimuth_m,
        col_spacing_m=_ground_range_spacing_m(scene, incidence_deg),
        length_m=ship.length_m,
        width_m=ship.width_m,
        source=where,
    )


def _ground_range_spacing_m(scene: Scene, incidence_deg: float) -> float:
    """SLC is sampled along the slant range; a step there is longer on the ground by 1 / sin(incidence)."""
    if scene.product == "SLC":
        return scene.spacing.range_m / math.sin(math.radians(incidence_deg))
    return scene.spacing.range_m
