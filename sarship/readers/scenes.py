"""Where the scenes of OpenSARShip lie in a source, and what names and metadata say of each."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from sarship.archives import Entry, Source, is_archive
from sarship.command import UserError
from sarship.readers import Note, fields, read_table

# Sentinel-1 product names, e.g. S1A_IW_GRDH_1SDV_<start>_<stop>_<orbit>_<take>_<id> (Sentinel-1 product specification,
# naming convention): type, resolution, level and class, polarization.
_PRODUCT_NAME = re.compile(
    r"S1[A-D]_[A-Z0-9]{2}_(?P<product>GRD|SLC)[FHM_]_[012][SA](?P<polarization>SV|SH|DV|DH)"
    r"_\d{8}T\d{6}_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}"
)
# In the order of the bands of Patch_Cal: VH first, so sorted by name as SNAP sorts them, in all real dual scenes.
_POLARIZATIONS = {"SV": ("VV",), "SH": ("HH",), "DV": ("VH", "VV"), "DH": ("HH", "HV")}
_PATCH_FOLDERS = {"Patch", "Patch_Cal", "Patch_Uint8", "Patch_RGB"}


@dataclass(frozen=True)
class Spacing:
    """Pixel spacing as the product has it, metres; range_m lies in the slant plane for SLC."""

    range_m: float
    azimuth_m: float
    is_nominal: bool = False


# Interferometric wide swath, range x azimuth: Sentinel-1 user guide, level-1 product tables (SLC: slant range).
_NOMINAL_SPACING = {"GRD": Spacing(10.0, 10.0, is_nominal=True), "SLC": Spacing(2.3, 14.1, is_nominal=True)}
_NO_VALUE = 99999.0  # what SNAP, which wrote the metadata, puts where it knows no number


@dataclass(frozen=True)
class Scene:
    """One scene in an open source.

    root: the folder of its files there, "" for the top; by_folder: all files of the source.
    """

    source: Source
    root: str
    by_folder: dict[str, list[Entry]]

    @property
    def where(self) -> str:
        return f"{self.source.name}/{self.root}" if self.root else self.source.name

    def files(self, folder: str) -> list[Entry]:
        """The files right inside a folder of the scene, sorted by name; folder "": beside Ship.xml."""
        return self.by_folder.get("/".join(filter(None, (self.root, folder))), [])

    @property
    def name(self) -> str:
        """The name of the satellite product, without what a copy or an archiver has put behind it."""
        return self._product_name[0]

    @property
    def product(self) -> str:
        """Either "GRD" or "SLC"."""
        return self._product_name["product"]

    @property
    def polarizations(self) -> tuple[str, ...]:
        """In the order of the bands of Patch_Cal. From the product name: the number of bands would not tell."""
        return _POLARIZATIONS[self._product_name["polarization"]]

    @cached_property
    def spacing(self) -> Spacing:
        """From the metadata; the nominal one of the product where there are none."""
        for metadata in self._metadata:
            range_m = fields.positive(_attribute(metadata, "range_spacing"))
            azimuth_m = fields.positive(_attribute(metadata, "azimuth_spacing"))
            if range_m < _NO_VALUE and azimuth_m < _NO_VALUE:  # false for NaN, too
                return Spacing(range_m, azimuth_m)
        return _NOMINAL_SPACING[self.product]

    @cached_property
    def _product_name(self) -> re.Match:
        in_metadata = [_attribute(metadata, "PRODUCT") for metadata in self._metadata]
        for text in (self.root.rpartition("/")[2], self.source.name.rpartition("/")[2], *in_metadata):
            if match := _PRODUCT_NAME.search(text):
                return match
        raise UserError(
            f"{self.where}: neither its folder nor its archive nor its metadata name a Sentinel-1 product; "
            "give it its official name (S1A_IW_GRDH_1SDV_...)"
        )

    @cached_property
    def _metadata(self) -> list[str]:
        beside = [entry for entry in self.files("") if entry.name.lower().endswith(".xml")]
        tables = [entry for entry in beside if entry.name.rpartition("/")[2] != "Ship.xml"]
        return [read_table(self.source, entry) for entry in tables]


def _attribute(metadata: str, name: str) -> str:
    """The value of the first <attrib name="..." value="..."/> of this name; "" if there is none."""
    found = re.search(f'<attrib name="{name}" value="([^"]*)"', metadata)
    return found[1] if found else ""


def find_scenes(source: Source) -> Iterator[Scene | Note]:
    """The scenes of a source and of the archives in it, sorted by path; one archive is open at a time.

    Raises UserError for an archive inside that is refused (sarship/archives.py).
    """
    by_folder = files_by_folder(source.entries())
    for place in scene_places(source):
        if isinstance(place, Entry):
            yield from scenes_inside(source, place)
        else:
            yield Scene(source, place, by_folder)


def scene_places(source: Source) -> list[str | Entry]:
    """Where scenes lie: the folder of each, and each archive that may hold some, sorted by path."""
    entries = source.entries()
    archives = {entry.name: entry for entry in entries if is_archive(entry.name)}
    roots = _roots(files_by_folder(entries))
    return [path if path in roots else archives[path] for path in sorted(roots | archives.keys())]


def scene_at(source: Source, root: str) -> Scene:
    """The scene in a folder of a source."""
    return Scene(source, root, files_by_folder(source.entries()))


def scenes_inside(source: Source, archive: Entry) -> Iterator[Scene | Note]:
    """The scenes of an archive inside a source; a Note if there are none."""
    with source.open_nested(archive) as nested:
        found = False
        for item in find_scenes(nested):
            found |= isinstance(item, Scene)
            yield item
        if not found:
            yield Note(f"{nested.name}: holds no OpenSARShip scene, left out")


def files_by_folder(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The files right inside each folder, "" for the top."""
    by_folder = defaultdict(list)
    for entry in entries:
        by_folder[entry.name.rpartition("/")[0]].append(entry)
    return by_folder


def _roots(by_folder: dict[str, list[Entry]]) -> set[str]:
    """Folders of scenes: those with a Ship.xml, or with one of the four folders of chips."""
    roots = set()
    for folder, entries in by_folder.items():
        parent, _slash, last = folder.rpartition("/")
        if last in _PATCH_FOLDERS:
            roots.add(parent)
        if any(entry.name.rpartition("/")[2] == "Ship.xml" for entry in entries):
            roots.add(folder)
    return roots
