"""What can be prepared: ships from SAR archives, or land-use scenes from class folders.

A subject says where its sources are and who reads them, which class a chip belongs to, what size chips become, how they
are split, and which options its prepared folder depends on. All else is the same for both, and in dataset_prep.py.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from sarship.archives import Source
from sarship.classes import class_of
from sarship.command import UserError
from sarship.files import writable_folder
from sarship.preparation import Geometry
from sarship.readers import Reader, check_classes, safe_name
from sarship.readers.cifar import CifarReader
from sarship.readers.class_folders import ClassFolderReader
from sarship.readers.fusar import FusarReader
from sarship.readers.images import ImageError, decode_image, is_image
from sarship.readers.opensarship import OpenSARShipReader
from sarship.scene_sets import SceneSet, scene_set
from sarship.simulator import simulate_archives
from sarship.splits import SCENE_SPLIT_METHODS, SPLIT_METHODS, assign_scene_splits, assign_splits

SMALLEST, LARGEST = 32, 1024  # pixels per side of prepared chips: five poolings below, the memory of a network above
SHIP_CLASSES = ("Cargo", "Fishing", "Tanker")

# Options of one subject only; with the other, they are refused.
SHIP_OPTIONS = (
    "fusar", "opensarship", "demo", "demo_chips", "pixels", "polarization", "product", "level", "classes",
    "geometry", "extent", "spacing",
)  # fmt: skip
SCENE_OPTIONS = ("scenes", "train_percent", "val_percent", "size", "bands", "white", "join")
# Options that do not change what is prepared.
_WITHOUT_EFFECT = ("study", "out", "overwrite", "max_bytes", "max_bad", "fusar", "opensarship", "demo", "workers")

_DOWNLOADS = """no archives in {folder}. Download \
FUSAR_Ship1.0.zip from https://emwlab.fudan.edu.cn/resources/list.htm and \
OpenSARShip_2.zip from https://opensar.sjtu.edu.cn (registration) into {folder}, \
or name them with --fusar and --opensarship, or run with --demo, which needs neither"""


class Subject(Protocol):
    """paths: of the sources, by data set. class_of: the class of (data set, category, subcategory), "" if not wanted.

    joins: whether Mixed is made of several data sets. names_dataset: see `Preparation`.
    """

    paths: dict[str, list[Path]]
    class_of: Callable[[str, str, str], str]
    joins: bool
    names_dataset: bool

    def reader(self, dataset: str) -> Reader:
        """Who reads the sources of a data set."""

    def geometry(self, first: Source) -> Geometry:
        """What size chips become. first: a source to look into."""

    def classes(self, chips: pd.DataFrame) -> list[str]:
        """Names of the classes that every split should have."""

    def split(self, chips: pd.DataFrame) -> np.ndarray:
        """The split of each chip, (chips,) of "train", "val", "test"."""

    def settings(self) -> dict:
        """The options that prepared/ depends on; after `geometry`, which finds out the size where none was named."""

    def remarks(self, chips: pd.DataFrame) -> list[str]:
        """Lines for the report, of rows of the manifest and `continued`."""


def subject_of(chosen: argparse.Namespace) -> Subject:
    """What the options ask for. Raises UserError for values that cannot be."""
    return Scenes(chosen) if chosen.scenes else Ships(chosen)


def check_subject(chosen: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """UserError for options of ships beside --scenes, and the reverse."""
    for name in SHIP_OPTIONS if chosen.scenes else SCENE_OPTIONS:
        if getattr(chosen, name) != parser.get_default(name):
            option = f"--{name.replace('_', '-')}"
            advice = "is for ships; leave it out with --scenes" if chosen.scenes else "needs --scenes"
            raise UserError(f"{option}: {advice}")
    methods = SCENE_SPLIT_METHODS if chosen.scenes else SPLIT_METHODS
    if chosen.split and chosen.split not in methods:
        raise UserError(f"--split {chosen.split}: choose from {', '.join(methods)}")
    subject_of(chosen)


class Ships:
    """FUSAR-Ship, OpenSARShip, and with both, Mixed."""

    joins, names_dataset = True, False

    def __init__(self, chosen: argparse.Namespace):
        self._chosen = chosen
        self._method = chosen.split or "vessel"
        self._classes = list(chosen.classes or SHIP_CLASSES)
        size = chosen.extent / chosen.spacing if chosen.spacing > 0 else 0
        if not (SMALLEST <= size <= LARGEST and size == int(size)):
            which = f"--extent {chosen.extent:g} --spacing {chosen.spacing:g}"
            raise UserError(f"{which}: must give {SMALLEST} to {LARGEST} whole pixels")
        for name in self._classes:
            _check_folder_name("--classes", name)
        if len(set(self._classes)) < max(2, len(self._classes)):
            raise UserError(f"--classes {' '.join(self._classes)}: name two or more different classes")
        self.class_of = partial(class_of, level=chosen.level, classes=self._classes)

    @cached_property
    def paths(self) -> dict[str, list[Path]]:
        """From the options, from --demo, which simulates the archives first, or from raw/ below --out."""
        chosen, raw = self._chosen, self._chosen.out / "raw"
        if chosen.demo:
            if chosen.fusar or chosen.opensarship:
                raise UserError("--demo simulates the archives: leave out --fusar and --opensarship")
            folder = writable_folder(raw / "demo")
            fusar, opensarship = simulate_archives(folder, chosen.demo_chips, chosen.seed, chosen.workers)
            return {"Fusar": [fusar], "OpenSARShip": [opensarship]}
        named = {"Fusar": [chosen.fusar] if chosen.fusar else [], "OpenSARShip": chosen.opensarship or []}
        if not any(named.values()):
            named = {"Fusar": sorted(raw.glob("FUSAR*")), "OpenSARShip": sorted(raw.glob("OpenSARShip*"))}
        found = {dataset: paths for dataset, paths in named.items() if paths}
        if not found:
            raise UserError(_DOWNLOADS.format(folder=raw))
        return found

    def reader(self, dataset: str) -> Reader:
        chosen, wanted = self._chosen, partial(self.class_of, dataset)
        if dataset == "Fusar":
            return FusarReader(wanted)
        return OpenSARShipReader(chosen.pixels, chosen.polarization, chosen.product, wanted)

    def geometry(self, first: Source) -> Geometry:
        return Geometry(self._chosen.geometry, self._chosen.extent, self._chosen.spacing, self._chosen.seed)

    def classes(self, chips: pd.DataFrame) -> list[str]:
        return self._classes

    def split(self, chips: pd.DataFrame) -> np.ndarray:
        return assign_splits(chips, self._method, self._chosen.seed)

    def settings(self) -> dict:
        left_out = (*_WITHOUT_EFFECT, *SCENE_OPTIONS)
        settings = {name: value for name, value in vars(self._chosen).items() if name not in left_out}
        return settings | {"split": self._method, "classes": self._classes}

    def remarks(self, chips: pd.DataFrame) -> list[str]:
        lines = []
        for dataset, rows in chips.groupby("dataset"):
            unknown = (rows["vessel"] == "").sum()
            line = f"{dataset}: {unknown} chips of unknown vessel (a vessel each)"
            if self._chosen.geometry == "metric":
                share, extent_m = 100 * rows["continued"].mean(), self._chosen.extent
                line += f"; {share:.1f} % of the chips are smaller than {extent_m:g} m, their sea is continued"
            lines.append(line)
        return lines


class Scenes:
    """Sets of land-use scenes, a class a folder, or CIFAR-10."""

    def __init__(self, chosen: argparse.Namespace):
        self._chosen = chosen
        self._method = chosen.split or "random"
        self.paths = _named_paths(chosen.scenes)
        self._known = {name: scene_set(name) for name in self.paths}
        self.joins, self.names_dataset = chosen.join, len(self.paths) > 1
        self.class_of = scene_class
        if chosen.size is not None and not SMALLEST <= chosen.size <= LARGEST:
            raise UserError(f"--size {chosen.size}: must be {SMALLEST} to {LARGEST} pixels")
        if not 0 < chosen.train_percent < 100 or not 0 <= chosen.val_percent < 100:
            raise UserError("--train-percent must lie between 0 and 100, and --val-percent be 0 or more and below 100")
        if chosen.white is not None and not 1 <= chosen.white <= 65_535:
            raise UserError(f"--white {chosen.white}: must be 1 to 65535")
        if chosen.join and len(self.paths) < 2:
            raise UserError("--join: joins two or more sets; name them all with --scenes")
        self._size = chosen.size

    def reader(self, dataset: str) -> Reader:
        known = self._known[dataset]
        if known is not None and known.layout == "cifar":
            return CifarReader(dataset, self._chosen.bands, known)
        return ClassFolderReader(dataset, self._chosen.bands, known, self._chosen.white)

    def geometry(self, first: Source) -> Geometry:
        if self._size is None:
            self._size = _own_size(list(self._known.values()), first)
        return Geometry("chip", np.nan, np.nan, self._chosen.seed, self._size)

    def classes(self, chips: pd.DataFrame) -> list[str]:
        check_classes(", ".join(self.paths), sorted(set(chips["class"])))
        by_set = {dataset: sorted(set(rows["class"])) for dataset, rows in chips.groupby("dataset")}
        for dataset, names in by_set.items():
            first, own = next(iter(by_set.items()))
            if names != own:
                odd = sorted(set(names) ^ set(own))[0]
                raise UserError(
                    f"{first} and {dataset}: only one of them has the class {odd}; sets in one prepared/ share their "
                    "classes, so prepare each below an --out of its own, or rename the folder"
                )
        return sorted(set(chips["class"]))

    def split(self, chips: pd.DataFrame) -> np.ndarray:
        chosen = self._chosen
        return assign_scene_splits(chips, self._method, chosen.train_percent, chosen.val_percent, chosen.seed)

    def settings(self) -> dict:
        names = ("train_percent", "val_percent", "bands", "white", "join", "allow_missing", "seed")
        own = {name: getattr(self._chosen, name) for name in names}
        return {**own, "size": self._size, "split": self._method}

    def remarks(self, chips: pd.DataFrame) -> list[str]:
        return [_sizes(dataset, rows, self._size) for dataset, rows in chips.groupby("dataset")]


def scene_class(dataset: str, category: str, subcategory: str) -> str:
    """The folder's name, safe as a folder's name here."""
    return safe_name(category)


def _check_folder_name(option: str, name: str) -> None:
    """Raises UserError for a name that would lead out of prepared/, or into a folder that no command finds again."""
    if not name or name.startswith((".", *"=+-@")) or not name.isprintable() or set(name) & set("/\\"):
        raise UserError(
            f"{option} {name!r}: can be the name of no folder; a name has no slash, and begins with a letter"
        )


def _named_paths(named: Sequence[str]) -> dict[str, list[Path]]:
    """--scenes NAME=PATH ..., by name; a name may come several times. Raises UserError for a word that is none."""
    paths: dict[str, list[Path]] = {}
    for word in named:
        name, separator, path = word.partition("=")
        if not (name and separator and path):
            raise UserError(f"--scenes {word}: write it as NAME=PATH, for instance UCMerced=UCMerced_LandUse.zip")
        _check_folder_name("--scenes", name)
        paths.setdefault(name, []).append(Path(path))
    return paths


def _own_size(known: Sequence[SceneSet | None], source: Source) -> int:
    """Pixels per side of the sets' own images; of a set that is not known, the longer side of the first in `source`."""
    sizes = sorted({scene.image_size for scene in known if scene is not None and scene.image_size is not None})
    if len(sizes) > 1:
        raise UserError(f"--scenes: the sets have images of {sizes[0]} and {sizes[-1]} pixels a side; name one --size")
    if sizes:
        return max(sizes[0], SMALLEST)
    for entry in source.entries():
        if is_image(entry.name):
            with suppress(ImageError):
                return int(np.clip(max(decode_image(source.read(entry), "grey").shape), SMALLEST, LARGEST))
    raise UserError(f"{source.name}: the size of its images is not known; name one with --size")


def _sizes(dataset: str, rows: pd.DataFrame, size: int) -> str:
    """What is to be said of the images' own sizes."""
    counts = rows[["rows", "cols"]].value_counts()
    usual = counts.idxmax()
    resized = len(rows) - counts.get((size, size), 0)
    line = f"{dataset}: {len(rows)} images, {counts.max()} of them {usual[0]} x {usual[1]} pixels"
    return line + (f"; {resized} resized to {size} x {size}" if resized else "")
