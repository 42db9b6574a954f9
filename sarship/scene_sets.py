"""The scene data sets that are known by name: where they come from, and what is expected of them."""

import difflib
import re
from dataclasses import dataclass

from sarship.command import UserError


@dataclass(frozen=True)
class SceneSet:
    """A data set as its owners published it; None where its figures are not known, and nothing is checked.

    archive: the file or files to download; images, classes: how many; image_size: pixels of a side.
    layout: "class_folders" (sarship/readers/class_folders.py) or "cifar" (sarship/readers/cifar.py).
    sensor: as it goes into the manifest. link: where to download; citation: the paper to cite.
    white: the value that becomes 255 in images of more than 8 bits; rgb_bands: which bands, from 0, are red, green
    and blue. None for 8-bit images of three bands.
    """

    name: str
    archive: str
    classes: int | None
    images: int | None
    image_size: int | None
    layout: str
    sensor: str
    link: str
    citation: str
    white: int | None = None
    rgb_bands: tuple[int, int, int] | None = None


_AID = SceneSet(
    name="AID",
    archive="AID.zip",  # the page links to cloud folders and names no file: this is what you may call it
    classes=30,
    images=10_000,
    image_size=600,
    layout="class_folders",
    sensor="Google Earth",
    link="https://captain-whu.github.io/AID/",
    citation="G.-S. Xia et al., AID: A benchmark data set for performance evaluation of aerial scene classification, "
    "IEEE TGRS 55(7), 2017",
)
_NWPU = SceneSet(
    name="NWPU",
    archive="NWPU-RESISC45.rar",
    classes=45,
    images=31_500,
    image_size=256,
    layout="class_folders",
    sensor="Google Earth",
    link="https://gcheng-nwpu.github.io/#Datasets",
    citation="G. Cheng, J. Han and X. Lu, Remote sensing image scene classification: Benchmark and state of the art, "
    "Proceedings of the IEEE 105(10), 2017",
)
_UCMERCED = SceneSet(
    name="UCMerced",
    archive="UCMerced_LandUse.zip",
    classes=21,
    images=2_100,
    image_size=256,  # 44 of them are a few pixels off
    layout="class_folders",
    sensor="USGS aerial imagery",
    link="http://weegee.vision.ucmerced.edu/datasets/landuse.html",
    citation="Y. Yang and S. Newsam, Bag-of-visual-words and spatial extensions for land-use classification, "
    "ACM SIGSPATIAL GIS, 2010",
)
# 1,005 is what repositories count that hold the images. Papers also speak of 950, as of 50 a class.
_WHU = SceneSet(
    name="WHU",
    archive="WHU-RS19.zip",
    classes=19,
    images=1_005,
    image_size=600,
    layout="class_folders",
    sensor="Google Earth",
    link="https://captain-whu.github.io/BED4RS/",
    citation="D. Dai and W. Yang, Satellite image classification via two-layer sparse coding with biased image "
    "representation, IEEE GRSL 8(1), 2011",
)
_HELBER = (
    "P. Helber et al., EuroSAT: A novel dataset and deep learning benchmark for land use and land cover "
    "classification, IEEE JSTARS 12(7), 2019"
)
_EUROSAT = SceneSet(
    name="EuroSAT",
    archive="EuroSAT_RGB.zip",  # before 2023 EuroSAT.zip, with a folder 2750 round the classes
    classes=10,
    images=27_000,
    image_size=64,
    layout="class_folders",
    sensor="Sentinel-2",
    link="https://zenodo.org/records/7711810",
    citation=_HELBER,
)
# Copies of EuroSATallBands.zip are about that hold 597 images more in SeaLake (Bombay_*, Jakarta_*): the count of
# images tells. Band 8A comes last, so bands 4, 3 and 2 stand at their numbers.
_EUROSAT_MS = SceneSet(
    name="EuroSAT_MS",
    archive="EuroSAT_MS.zip",  # before 2023 EuroSATallBands.zip
    classes=10,
    images=27_000,
    image_size=64,
    layout="class_folders",
    sensor="Sentinel-2",
    link="https://zenodo.org/records/7711810",
    citation=_HELBER,
    # Digital numbers are 10,000 times reflectance (Sentinel-2 Products Specification Document, QUANTIFICATION_VALUE).
    # EuroSAT's RGB version clips them to 0 to 2750 (its maintainer, in issue 1 of github.com/jensleitloff/CNN-Sentinel,
    # 2019), so with this both versions look alike.
    white=2750,
    rgb_bands=(3, 2, 1),
)
_CIFAR10 = SceneSet(
    name="CIFAR10",
    archive="cifar-10-binary.tar.gz",
    classes=10,
    images=60_000,
    image_size=32,
    layout="cifar",
    sensor="photographs",
    link="https://www.cs.toronto.edu/~kriz/cifar.html",
    citation="A. Krizhevsky, Learning multiple layers of features from tiny images, University of Toronto, 2009",
)
# Of UPC's course on deep learning. Its page was not at hand: class names and the layout (images beside an
# annotation.txt, not a folder a class) are those that public code of its students reads, 13 classes with "desconegut"
# (unknown). The name speaks of 900 images and the version of 2019 may have others, so their number is not checked.
_TERRASSA = SceneSet(
    name="Terrassa",
    archive="terrassa900-trainval.zip and terrassa900-test.zip",
    classes=13,
    images=None,
    image_size=None,
    layout="class_folders",
    sensor="photographs",
    link="https://imatge.upc.edu/web/resources/terrassa-buildings-4126",
    citation="Image Processing Group, Universitat Politecnica de Catalunya, Terrassa Buildings 900",
)
# 11 landmarks and "general". 20 of the files hold no image (corrupt.txt on its page) and are left out as unreadable.
# Sizes differ. Its two archives hold some classes each: unpack both into one folder for the counts to fit.
_PARIS = SceneSet(
    name="Paris",
    archive="paris_1.tgz and paris_2.tgz",
    classes=12,
    images=6_412,
    image_size=None,
    layout="class_folders",
    sensor="photographs",
    link="https://www.robots.ox.ac.uk/~vgg/data/parisbuildings/",
    citation="J. Philbin et al., Lost in quantization: Improving particular object retrieval in large scale image "
    "databases, CVPR, 2008",
)

SCENE_SETS = {
    known.name: known for known in (_AID, _NWPU, _UCMERCED, _WHU, _EUROSAT, _EUROSAT_MS, _CIFAR10, _TERRASSA, _PARIS)
}

_TAKEN = ("Fusar", "OpenSARShip", "Mixed")
# Letters, digits, "-" and "_": what names of folders and model files are made of; "+" stands between two data sets.
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LIKENESS = 0.85  # of two names, of 1: a letter too many or too few in a name of three (difflib.SequenceMatcher.ratio)


def scene_set(name: str) -> SceneSet | None:
    """The known set of that name; None for a name of the user's own.

    Raises UserError for one that is no safe folder name, is taken by the ship study, or is nearly that of a known set.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r}: is no name for a data set; use up to 64 letters, digits, - and _")
    if name in SCENE_SETS:
        return SCENE_SETS[name]
    # Without regard to case: some file systems know none.
    taken = next((taken for taken in _TAKEN if taken.casefold() == name.casefold()), None)
    if taken is not None:
        raise UserError(f"{name}: {taken} is a data set of the ship study; choose another name")
    by_folded = {known.casefold(): known for known in SCENE_SETS}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=_LIKENESS)
    if near:
        raise UserError(f"{name}: did you mean {by_folded[near[0]]}? A set of your own needs a name less like it")
    return None


def check(known: SceneSet | None, found_classes: list[str], found_images: int, source: str) -> list[str]:
    """What is not as expected of a known set, as lines for the log; an empty list for a set that is not known.

    found_images: files with the suffix of an image; source: the archive or folder that was read.
    """
    if known is None:
        return []
    lines = []
    if known.classes is not None and len(found_classes) != known.classes:
        lines.append(f"{source}: has {len(found_classes)} classes, {known.name} ({known.archive}) has {known.classes}")
    if known.images is not None and found_images != known.images:
        lines.append(f"{source}: has {found_images:,} images, {known.name} ({known.archive}) has {known.images:,}")
    return lines
