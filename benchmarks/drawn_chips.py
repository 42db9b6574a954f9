"""A prepared folder of drawn chips: what a benchmark needs where only size and number of the chips matter.

No archives and no radar physics: speckle, and a bright bar whose length is its class. Takes seconds where simulated
archives take minutes; the PNG files are as large and as slow to decode as those of real chips, being mostly speckle.
"""

import hashlib
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sarship.pool import available_cores
from sarship.prepared import MANIFEST_COLUMNS, chip_path, write_manifest
from sarship.staging import mix

FUSAR_CHIPS = {"Cargo": 2114, "Fishing": 789, "Tanker": 248}  # of the three ship classes in FUSAR-Ship 1.0
BAR_LENGTHS = {"Cargo": 0.3, "Fishing": 0.1, "Tanker": 0.45}  # as shares of the side
SEA_LEVEL = 25  # mean grey level of the sea, which is dark in 8-bit chips
SPLIT_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
FEWEST = len(FUSAR_CHIPS)  # chips in a split: one of each class


def split_counts(chips: int) -> dict[str, int]:
    """Chips in each split out of `chips`, 70 / 10 / 20 %, and FEWEST or more in each."""
    held_out = {split: max(FEWEST, round(SPLIT_SHARES[split] * chips)) for split in ("val", "test")}
    return {"train": max(FEWEST, chips - sum(held_out.values())), **held_out}


def draw_prepared(out: Path, counts: Mapping[str, int], size: int, datasets: tuple[str, ...], seed: int = 0) -> None:
    """Write prepared/<Dataset>/ below `out`: counts[split] chips of size x size pixels in each, classes as in FUSAR.

    datasets: names; Mixed, if it is the last, joins the others. Every chip is a vessel of its own.
    """
    manifests = []
    for number, dataset in enumerate(datasets):
        if dataset == "Mixed":
            mix(pd.concat(manifests, ignore_index=True), out / "prepared")
            continue
        folder = out / "prepared" / dataset
        rows = [row for split, count in counts.items() for row in _rows(dataset, split, count)]
        for row in rows:
            chip_path(folder, row).parent.mkdir(parents=True, exist_ok=True)
        seeds = np.random.SeedSequence([seed, number]).spawn(len(rows))
        with ThreadPoolExecutor(available_cores()) as pool:  # threads: most of the time is zlib's, outside the lock
            digests = list(pool.map(_write, [chip_path(folder, row) for row in rows], rows, [size] * len(rows), seeds))
        manifests.append(pd.DataFrame(rows).assign(sha256=digests))
        write_manifest(folder / "manifest.csv", manifests[-1])


def _rows(dataset: str, split: str, count: int) -> list[dict]:
    """Manifest rows of `count` chips, classes in the shares of FUSAR_CHIPS and one or more of each."""
    total = sum(FUSAR_CHIPS.values())
    of_class = {name: max(1, round(count * chips / total)) for name, chips in FUSAR_CHIPS.items()}
    of_class["Cargo"] += count - sum(of_class.values())
    empty = dict.fromkeys(MANIFEST_COLUMNS, "") | {"dataset": dataset, "split": split}
    names = [(name, f"{dataset}_{split}_{name}_{index}") for name, n in of_class.items() for index in range(n)]
    return [empty | {"class": name, "chip": chip, "vessel": chip} for name, chip in names]


def _write(path: Path, row: dict, size: int, seed: np.random.SeedSequence) -> str:
    """Draw one chip; returns the SHA-256 of its file."""
    generator = np.random.default_rng(seed)
    amplitude = SEA_LEVEL * np.sqrt(generator.standard_exponential((size, size), dtype=np.float32))  # one look
    half_length, half_width, middle = round(size * BAR_LENGTHS[row["class"]] / 2), max(1, size // 40), size // 2
    amplitude[middle - half_length : middle + half_length, middle - half_width : middle + half_width] *= 5
    Image.fromarray(amplitude.clip(0, 255).astype(np.uint8)).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
