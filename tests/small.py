"""A prepared folder of small chips, made without archives, for tests of what comes after dataset_prep.py."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sarship.prepared import MANIFEST_COLUMNS, chip_path, write_manifest
from sarship.staging import mix

CLASSES = ("Cargo", "Fishing", "Tanker")
COUNTS = {"train": 20, "val": 5, "test": 8}  # chips of each class


def bar_chip(half_length: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """Dark noise with a bright bar in the middle: what class it is, is how long it is."""
    pixels = generator.integers(0, 40, (size, size)).astype(np.uint8)
    middle = size // 2
    pixels[middle - half_length : middle + half_length, middle - 1 : middle + 2] = 200
    return pixels


def write_chip(folder: Path, dataset: str, named: dict, pixels: np.ndarray) -> dict:
    """Write one chip into prepared/<Dataset>/; returns its manifest row. named: chip, split, class, vessel."""
    row = dict.fromkeys(MANIFEST_COLUMNS, "") | {"dataset": dataset} | named
    path = chip_path(folder, row)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return row | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def make_prepared(
    out: Path, datasets: tuple[str, ...] = ("Fusar", "OpenSARShip"), size: int = 32, seed: int = 0
) -> Path:
    """Write prepared/<Dataset>/ below `out`; two chips a vessel. Mixed joins the others. Returns `out`."""
    generator = np.random.default_rng(seed)
    written = []
    for dataset in datasets:
        if dataset == "Mixed":
            mix(pd.concat(written, ignore_index=True), out / "prepared")
            continue
        folder = out / "prepared" / dataset
        rows = []
        for split, count in COUNTS.items():
            for kind, name in enumerate(CLASSES):
                for index in range(count):
                    named = {
                        "chip": f"{dataset}_{split}_{name}_{index}",
                        "split": split,
                        "class": name,
                        "vessel": f"{dataset}{split}{name}{index // 2}",
                    }
                    rows.append(write_chip(folder, dataset, named, bar_chip(2 + 5 * kind, size, generator)))
        written.append(pd.DataFrame(rows))
        write_manifest(folder / "manifest.csv", written[-1])
    return out
