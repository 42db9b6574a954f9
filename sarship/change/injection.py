"""Simulated change in newest images of test samples: random polygons in the forest, their pixels altered.

Alatalo, Sipola and Rantonen, IEEE TGRS 61, 2023, section IV: a shift in decibels, or a statistical change, in which
forest gets the distribution of the open land around.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from skimage.draw import polygon
from tqdm import tqdm

from sarship.change.cover import BOG, FIELD, FOREST
from sarship.change.sample_set import Sample, SampleSet
from sarship.change.samples import named_generator
from sarship.command import UserError
from sarship.files import whole_folder

KINDS = ("shift", "statistical")
OPEN_LAND = (FIELD, BOG)
CORNERS = (5, 12)  # of a polygon, fewest and most
SMALLEST_POLYGON = 8  # pixels across
OPEN_PIXELS = 200  # of open land that a distribution is told from, at least
QUANTILES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Injection:
    """What is injected. kind: of KINDS. shift_db: of a shift. polygons: most of a sample, at least one. polygon_share:
    largest width of a polygon in sides of the sample."""

    kind: str
    shift_db: float
    polygons: int
    polygon_share: float
    seed: int


@dataclass(frozen=True, eq=False)
class Changed:
    """Changed samples. images: (n, 2, p, p) float16 dB, the newest images with the change; masks: (n, p, p) bool,
    where it is; both lie on disk. options: fields of the Injection, and data."""

    samples: Sequence[Sample] = field(repr=False)
    images: np.ndarray = field(repr=False)
    masks: np.ndarray = field(repr=False)
    options: Mapping

    @property
    def title(self) -> str:
        """The change in words, as the published tables have it."""
        is_shift = self.options["kind"] == "shift"
        return f"shift {self.options['shift_db']:g} dB" if is_shift else self.options["kind"]


def random_polygon(size: int, across: float, generator: np.random.Generator) -> np.ndarray:
    """(size, size) bool: a polygon of about `across` pixels, its middle anywhere in the image."""
    corners = int(generator.integers(*CORNERS, endpoint=True))
    angles = np.sort(generator.uniform(0, 2 * np.pi, corners))
    radii = across / 2 * generator.uniform(0.5, 1, corners)
    row, col = generator.uniform(0, size, 2)
    mask = np.zeros((size, size), bool)
    mask[polygon(row + radii * np.sin(angles), col + radii * np.cos(angles), mask.shape)] = True
    return mask


def change_mask(forest: np.ndarray, injection: Injection, generator: np.random.Generator) -> np.ndarray:
    """(p, p) bool: up to `polygons` polygons, of which forest pixels only."""
    size = len(forest)
    most = max(SMALLEST_POLYGON, injection.polygon_share * size)
    mask = np.zeros_like(forest)
    for _ in range(int(generator.integers(1, injection.polygons, endpoint=True))):
        mask |= random_polygon(size, generator.uniform(SMALLEST_POLYGON, most), generator)
    return mask & forest


def shifted(image: np.ndarray, mask: np.ndarray, shift_db: float) -> np.ndarray:
    """The image (2, p, p) in dB with `shift_db` added where `mask` (p, p) is."""
    return image + shift_db * mask


def mapped_to_open_land(image: np.ndarray, mask: np.ndarray, forest: np.ndarray, open_values: np.ndarray) -> np.ndarray:
    """The image with the distribution of its forest mapped to that of open land where the mask is, band by band.

    image: (2, p, p) dB; mask, forest: (p, p) bool; open_values: (2, n) dB. A pixel at some quantile of the image's
    forest gets the value at this quantile of the open land (inverse distribution functions, smoothed over quantiles).
    """
    changed = image.copy()
    for band, values, open_land in zip(changed, image, open_values, strict=True):
        source = gaussian_filter1d(np.quantile(values[forest], QUANTILES), 1)
        target = gaussian_filter1d(np.quantile(open_land, QUANTILES), 1)
        band[mask] = np.interp(values[mask], np.maximum.accumulate(source), target)
    return changed


def open_values(samples: SampleSet, sample: Sample) -> np.ndarray:
    """(2, n) dB of the open land around a sample's place on the day of its newest image: of its own place, and where
    that has less than OPEN_PIXELS, of the area's other places, the nearest in their order first."""
    pixels, covers = samples.area_arrays(sample.area)
    by_distance = np.argsort(np.abs(np.arange(len(covers)) - sample.place_index), kind="stable")
    found, count = [], 0
    for index in by_distance:
        is_open = np.isin(covers[index], OPEN_LAND)
        image = pixels[index, sample.newest].astype(np.float32)
        values = image[:, is_open & np.isfinite(image).all(axis=0)]
        found.append(values)
        count += values.shape[1]
        if count >= OPEN_PIXELS:
            break
    return np.concatenate(found, axis=1)


def inject(samples: SampleSet, injection: Injection, folder: Path, options: dict) -> dict[str, int]:
    """Write changed test samples to `folder`: images.npy, masks.npy, samples.csv with the pixels of each change.

    options: what made them and the fingerprint of the samples ("data"), kept in options.json.

    Returns how many samples were changed and how many had no forest where a polygon fell, or no open land for its
    distribution. Raises UserError if none was changed.
    """
    kept, images, masks = [], [], []
    left_out = {"without forest": 0, "without open land": 0}
    for sample in tqdm(samples.of_split("test"), unit=" samples", disable=None):
        generator = named_generator(injection.seed, sample.name)
        forest = samples.cover(sample) == FOREST
        mask = change_mask(forest, injection, generator)
        if not mask.any() or mask.all():
            left_out["without forest"] += 1
            continue
        image = samples.image(sample, sample.newest)
        if injection.kind == "statistical":
            values = open_values(samples, sample)
            if values.shape[1] < OPEN_PIXELS:
                left_out["without open land"] += 1
                continue
            image = mapped_to_open_land(image, mask, forest, values)
        else:
            image = shifted(image, mask, injection.shift_db)
        kept.append(sample)
        images.append(image.astype(np.float16))
        masks.append(mask)
    if not kept:
        raise UserError(f"{samples.folder}: no test sample has forest to change; import with a land cover (--cover)")
    with whole_folder(folder) as written:
        np.save(written / "images.npy", np.stack(images))
        np.save(written / "masks.npy", np.stack(masks))
        lines = [f"{sample.name},{int(mask.sum())}\n" for sample, mask in zip(kept, masks, strict=True)]
        (written / "samples.csv").write_text("".join(["sample,changed_pixels\n", *lines]))
        (written / "options.json").write_text(json.dumps(options, indent=1, sort_keys=True) + "\n")
    return {"changed": len(kept)} | left_out


def read_changed(samples: SampleSet, folder: Path) -> Changed:
    """Samples that `inject` changed. Raises UserError if they are missing, damaged, or of other samples."""
    try:
        options = json.loads((folder / "options.json").read_text())
        if options["data"] != samples.fingerprint():
            raise UserError(f"{folder}: was injected into other samples; run detect_changes.py inject --overwrite")
        names = [line.split(",")[0] for line in (folder / "samples.csv").read_text().splitlines()[1:]]
        images, masks = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "masks"))
        by_name: Mapping[str, Sample] = {sample.name: sample for sample in samples.of_split("test")}
        chosen = [by_name[name] for name in names]
    except FileNotFoundError as error:
        raise UserError(f"{folder}: holds no changed samples; run detect_changes.py inject") from error
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: is damaged ({error}); run detect_changes.py inject --overwrite") from error
    return Changed(chosen, images, masks, options)
