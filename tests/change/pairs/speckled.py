"""Small simulated pairs with planted change, as arrays and as files; and the command on them."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

import detect_changes
from sarship.change.pairs.reading import Pair

SIDE = 64
LOOKS = 6  # of the speckle, a gamma distribution of mean 1
CHANGE = 6.0  # ratio of the intensities


def pair(*argv) -> None:
    """detect_changes.py pair, in this process."""
    detect_changes.main(["pair", *(str(word) for word in argv)])


def planted(seed: int = 1, side: int = SIDE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two speckled images of a land of two levels, (side, side) float64, and what has changed, bool."""
    draws = np.random.default_rng(seed)
    land = np.where(np.arange(side)[:, None] < side // 2, 30.0, 60.0) * np.ones((side, side))
    changed = np.zeros((side, side), bool)
    changed[side // 8 : side // 3, side // 6 : side // 2] = True
    changed[side // 2 : side * 3 // 4, side * 5 // 8 : side * 7 // 8] = True
    before, after = (draws.gamma(LOOKS, 1 / LOOKS, land.shape) for _ in range(2))
    return land * before, land * np.where(changed, CHANGE, 1.0) * after, changed


def as_pair(before: np.ndarray, after: np.ndarray, valid: np.ndarray | None = None) -> Pair:
    return Pair(before, after, np.ones(before.shape, bool) if valid is None else valid)


def grey_levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values / 3), 1, 255).astype(np.uint8)


def write_png(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def write_tiff(path: Path, values: np.ndarray, nodata=None, epsg: int | None = None, east_m: float = 500_000) -> Path:
    """values: (rows, cols) or (bands, rows, cols)."""
    bands = values if values.ndim == 3 else values[None]
    place = {"crs": f"EPSG:{epsg}", "transform": Affine(10, 0, east_m, 0, -10, 5_000_000)} if epsg else {}
    size = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", dtype=bands.dtype, nodata=nodata, **size, **place) as file:
            file.write(bands)
    return path


def kappa_by_hand(found: np.ndarray, true: np.ndarray) -> float:
    """Cohen's kappa by its definition; bool arrays of one shape."""
    agree = (found == true).mean()
    chance = found.mean() * true.mean() + (1 - found.mean()) * (1 - true.mean())
    return float((agree - chance) / (1 - chance))
