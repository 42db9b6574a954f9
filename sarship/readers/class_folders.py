"""Images in a folder per class, as most scene data sets are published, whatever folders lie round those.

    UCMerced_LandUse/Images/agricultural/agricultural00.tif
    EuroSAT/2750/AnnualCrop/AnnualCrop_1.jpg
    AID/Airport/airport_1.jpg

Also images beside a list of their classes, as Terrassa Buildings 900 has them: train/images/<id>.jpg, and
train/annotation.txt with a heading and a line "<id> <class>" for each.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from sys import intern

from sarship.archives import Entry, Source
from sarship.chip import Chip
from sarship.command import UserError, log
from sarship.readers import EMPTY, UNREADABLE, Note, Rejected, check_classes, read_table
from sarship.readers.images import CONVERSIONS, MAX_FILE_BYTES, SUFFIXES, ImageError, is_image, place_of, read_picture
from sarship.scene_sets import SceneSet, check

CHIPS_PER_PART = 32
# Images whose centres lie in one square of this side count as one scene, so that a split by scene keeps them together.
PLACE_KM = 10

_LIST = "annotation.txt"
_CLASS = re.compile(r"\w[\w .&'()-]*")  # of a class that stands in a list: what may be a folder's name anywhere


@dataclass(frozen=True)
class ClassFolderReader:
    """Images sorted by path; the class is the folder that an image lies in. Folders of one name are joined.

    name: of the data set. bands: "rgb" or "grey". known: what is expected of it. white: the value that becomes 255 in
    images of more than 8 bits; the one of `known` if there is none.
    Pixels are uint8, (rows, cols, 3) or (rows, cols). Spacing and scene are those of a GeoTIFF; others have none.
    """

    name: str
    bands: str = "rgb"
    known: SceneSet | None = None
    white: int | None = None

    def parts(self, source: Source) -> Iterator["ImagesPart"]:
        """Logs what is odd about the folders. Raises UserError if there is none with images, or two that are alike."""
        images = [entry for entry in source.entries() if is_image(entry.name)]
        classes = _classes(source, images)
        found = sorted({name for name in classes if name})
        if not found:
            raise UserError(f"{source.name}: holds no folder of images ({', '.join(SUFFIXES)}) for each class")
        check_classes(source.name, found)
        for line in (*_oddities(source, images, classes), *check(self.known, found, len(images), source.name)):
            log(line)
        for first in range(0, len(images), CHIPS_PER_PART):
            some = slice(first, first + CHIPS_PER_PART)
            yield ImagesPart(source.part(images[some]), tuple(classes[some]), self)

    def finish(self, source: str, tally: Counter[str]) -> None:
        for line in CONVERSIONS:
            if tally[line]:
                log(f"{source}: {line.format(tally[line])}")


@dataclass(frozen=True)
class ImagesPart:
    """Some images. classes: those of the entries of `source`, in their order; "" for one that has none."""

    source: Source
    classes: tuple[str, ...]
    reader: ClassFolderReader

    def chips(self, tally: Counter[str]) -> Iterator[Chip | Rejected | Note]:
        with self.source as source:
            for entry, class_name in zip(source.entries(), self.classes, strict=True):
                yield _read_chip(source, entry, class_name, self.reader, tally)


# -- classes


def _classes(source: Source, images: list[Entry]) -> list[str]:
    """The class of each image; "" for those that lie beside class folders, or that their folder's list lacks."""
    listed = _listed_classes(source)
    # A folder with folders of images in it wraps classes, and is none.
    wrapping = {str(above) for entry in images for above in PurePosixPath(entry.name).parent.parents}
    classes = []
    for entry in images:
        path = PurePosixPath(entry.name)
        folder = str(path.parent)
        if folder in listed:
            classes.append(listed[folder].get(path.stem, ""))
        else:
            classes.append("" if folder in wrapping or folder == "." else intern(path.parent.name))
    return classes


def _listed_classes(source: Source) -> dict[str, dict[str, str]]:
    """By folder of images, the class of each stem: of every folder "images" that lies beside a list."""
    folders = set(source.folders())
    return {
        images: _read_list(source, entry)
        for entry in source.entries()
        if PurePosixPath(entry.name).name == _LIST
        and (images := str(PurePosixPath(entry.name).with_name("images"))) in folders
    }


def _read_list(source: Source, entry: Entry) -> dict[str, str]:
    where = f"{source.name}/{entry.name}"
    text = read_table(source, entry)
    classes = {}
    for number, line in enumerate(text.splitlines()[1:], start=2):
        if not line.strip():
            continue
        identifier, *class_name = line.split(maxsplit=1)
        if not class_name or not _CLASS.fullmatch(class_name[0].rstrip()):
            raise UserError(f"{where}: line {number} is no identifier and class name; get it again")
        classes[identifier] = intern(class_name[0].rstrip())
    return classes


def _oddities(source: Source, images: list[Entry], classes: list[str]) -> Iterator[str]:
    """A line for classes that lie in several folders, and one for class folders without images."""
    folders_of = defaultdict(set)
    for entry, class_name in zip(images, classes, strict=True):
        folders_of[class_name].add(str(PurePosixPath(entry.name).parent))
    folders_of.pop("", None)
    several = sorted(name for name, folders in folders_of.items() if len(folders) > 1)
    if several:
        first = several[0]
        where = ", ".join(sorted(folders_of[first]))
        yield f"{source.name}: {len(several)} classes lie in several folders each, which are joined ({first}: {where})"
    empty = sorted(_empty_class_folders(source, images, set().union(*folders_of.values())))
    if empty:
        yield f"{source.name}: class folders without images, left out: {', '.join(empty)}"


def _empty_class_folders(source: Source, images: list[Entry], class_folders: set[str]) -> set[str]:
    """Folders beside class folders, with no image in them at any depth."""
    beside = {str(PurePosixPath(folder).parent) for folder in class_folders}
    filled = {str(above) for entry in images for above in PurePosixPath(entry.name).parents}
    return {
        folder
        for folder in source.folders()
        if folder not in filled
        and str(PurePosixPath(folder).parent) in beside
        and not PurePosixPath(folder).name.startswith(".")
    }


# -- chips


def _read_chip(
    source: Source, entry: Entry, class_name: str, reader: ClassFolderReader, tally: Counter[str]
) -> Chip | Rejected:
    where = f"{source.name}/{entry.name}"
    if not class_name:
        return Rejected(where, UNREADABLE, "has no class: it lies beside class folders, or is not in their list")
    if not 0 < entry.size <= MAX_FILE_BYTES:
        return Rejected(where, UNREADABLE, f"has {entry.size:,} bytes")
    data = source.read(entry)
    known = reader.known
    white = reader.white or (known.white if known else None)
    try:
        pixels, conversions = read_picture(data, reader.bands, white, known.rgb_bands if known else None)
    except ImageError as error:
        return Rejected(where, UNREADABLE, str(error))
    if (pixels == pixels[0, 0]).all():
        return Rejected(where, EMPTY)
    tally.update(conversions)
    place = place_of(data)
    return Chip(
        pixels=pixels,
        name=_chip_name(class_name, PurePosixPath(entry.name).stem),
        dataset=reader.name,
        category=class_name,
        subcategory="",
        vessel="",
        scene=_cell(place.system, place.east_m, place.north_m) if place else "",
        sensor=known.sensor if known else "",
        product="",
        polarization="",
        row_spacing_m=place.row_spacing_m if place else math.nan,
        col_spacing_m=place.col_spacing_m if place else math.nan,
        length_m=math.nan,
        width_m=math.nan,
        source=where,
    )


def _chip_name(class_name: str, stem: str) -> str:
    """A name that says the class, as most data sets' own file names do."""
    return stem if stem.casefold().startswith(class_name.casefold()) else f"{class_name}_{stem}"


def _cell(system: str, east_m: float, north_m: float) -> str:
    side_m = 1000 * PLACE_KM
    return f"{system}_{math.floor(east_m / side_m)}_{math.floor(north_m / side_m)}"
