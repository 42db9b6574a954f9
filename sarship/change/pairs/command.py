"""`detect_changes.py pair`: options, and what is written where. Decisions never look at the mask."""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sarship.change.pairs.agreement import Agreement, agreement
from sarship.change.pairs.clustering import pca_kmeans
from sarship.change.pairs.drawing import draw_pair, write_difference, write_map
from sarship.change.pairs.learned import Learning, learned_map
from sarship.change.pairs.masks import read_mask
from sarship.change.pairs.ratios import DIFFERENCES
from sarship.change.pairs.reading import SCALES, Pair, read_pair
from sarship.change.pairs.thresholds import kittler, kmeans, otsu
from sarship.command import UserError, log
from sarship.files import whole_folder

LEARNED, ALL = "learned", "all"
CLASSICAL = ("otsu", "kittler", "kmeans", "pca-kmeans")
# For every pair, whatever its mask says.
DEFAULT_DIFFERENCE, DEFAULT_METHOD = "gauss-ratio", "pca-kmeans"
_FLATTEST = 1e-6  # span of a difference image below which it is rounding only
_MAP_FILE, _DIFFERENCE_FILE, _PICTURE_FILE, _SCORES_FILE = (
    "change_map.png",
    "difference.png",
    "picture.png",
    "scores.csv",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the part, but for --study and --out, which every part has."""
    images = parser.add_argument_group("images")
    images.add_argument("before", type=Path, metavar="BEFORE", help="JPEG, PNG, BMP or (Geo)TIFF with one band")
    images.add_argument("after", type=Path, metavar="AFTER", help="of the same size, on the same grid")
    images.add_argument("--truth", type=Path, metavar="MASK", help="what has changed: 0 and 1, or 0 and 255; to score")
    images.add_argument("--scale", choices=SCALES, default="auto",
                        help="of both images; auto: dB if most values are below 0 (dB become linear)")  # fmt: skip
    images.add_argument("--nodata", type=float, metavar="VALUE",
                        help="pixels of this value are left out, besides NaN and what a GeoTIFF states")  # fmt: skip
    detection = parser.add_argument_group("detection")
    detection.add_argument("--difference", choices=list(DIFFERENCES),
                           help=f"difference image (without: {DEFAULT_DIFFERENCE}), not with {LEARNED}")  # fmt: skip
    detection.add_argument("--method", choices=[*CLASSICAL, LEARNED, ALL], default=DEFAULT_METHOD,
                           help=f"{LEARNED}: a network taught by the pair alone, half a minute; "
                           f"{ALL}: the table of all, with --truth")  # fmt: skip
    detection.add_argument("--min-pixels", type=int, default=Learning.min_pixels, metavar="N",
                           help=f"of a connected change that --method {LEARNED} keeps")  # fmt: skip
    detection.add_argument("--seed", type=int, default=1, metavar="N", help="of clusterings and of the network")
    results = parser.add_argument_group("results")
    results.add_argument("--name", help="of the folder below change/pairs (without: both images and the method)")


@dataclass(frozen=True, eq=False)
class Detected:
    """One change map. difference: name of the difference image; levels: (rows, cols); changed: (rows, cols) bool."""

    difference: str
    method: str
    levels: np.ndarray
    changed: np.ndarray


def run(chosen: argparse.Namespace) -> None:
    """Detect changes, write the results below `chosen.out`/change/pairs and print the table. Raises UserError."""
    _check(chosen)
    pair = read_pair(chosen.before, chosen.after, chosen.scale, chosen.nodata)
    truth = None if chosen.truth is None else read_mask(chosen.truth, pair.grid)
    found, rows = [], []
    for one in _detect(pair, chosen):
        counts = None if truth is None else agreement(one.changed, truth, pair.valid)
        found.append((one, counts))
        rows.append(_row(one, counts, pair, chosen))
    table = pd.DataFrame(rows)
    folder = chosen.out / "change" / "pairs" / _name(chosen)
    with whole_folder(folder) as filled:
        table.to_csv(filled / _SCORES_FILE, index=False, lineterminator="\n")
        if chosen.method != ALL:
            _write_images(pair, truth, *found[0], filled, chosen)
    print(_printed(table))
    print(f"\nResults: {folder}")


def _check(chosen: argparse.Namespace) -> None:
    if chosen.method == ALL and chosen.truth is None:
        raise UserError(f"--method {ALL}: compares all methods with a mask; give it with --truth")
    if chosen.method in (LEARNED, ALL) and chosen.difference is not None:
        own = "has difference images of its own" if chosen.method == LEARNED else "takes every difference image"
        raise UserError(f"--difference {chosen.difference}: --method {chosen.method} {own}; leave the option out")
    if chosen.min_pixels < 1:
        raise UserError(f"--min-pixels {chosen.min_pixels}: must be 1 or more")
    if not 0 <= chosen.seed < 2**32:
        raise UserError(f"--seed {chosen.seed}: must be from 0 to {2**32 - 1}")
    if chosen.name is not None and (
        not chosen.name or chosen.name.startswith(".") or Path(chosen.name).name != chosen.name
    ):
        raise UserError(f"--name {chosen.name}: must be the plain name of a folder, not hidden")


def _detect(pair: Pair, chosen: argparse.Namespace) -> Iterator[Detected]:
    is_all = chosen.method == ALL
    differences = list(DIFFERENCES) if is_all else [chosen.difference or DEFAULT_DIFFERENCE]
    methods = [*CLASSICAL, LEARNED] if is_all else [chosen.method]
    for name in differences:
        levels = DIFFERENCES[name](pair)
        if np.ptp(levels[pair.valid]) < _FLATTEST:
            raise UserError(
                f"{chosen.after}: differs from {chosen.before} by one factor only; there is nothing to divide"
            )
        for method in (method for method in methods if method != LEARNED):
            yield Detected(name, method, levels, _classical_map(levels, pair.valid, method, chosen.seed))
    if LEARNED in methods:
        started = time.monotonic()
        changed = learned_map(pair, Learning(chosen.seed, chosen.min_pixels))
        log(f"{LEARNED}: {time.monotonic() - started:.0f} s")
        yield Detected("own", LEARNED, DIFFERENCES[DEFAULT_DIFFERENCE](pair), changed)


def _classical_map(levels: np.ndarray, valid: np.ndarray, method: str, seed: int) -> np.ndarray:
    """(rows, cols) bool of a difference image, by a method of CLASSICAL."""
    if method == "pca-kmeans":
        return pca_kmeans(levels, valid, seed)
    values = levels[valid]
    threshold = kmeans(values, seed) if method == "kmeans" else {"otsu": otsu, "kittler": kittler}[method](values)
    return (levels > threshold) & valid


def _row(one: Detected, counts: Agreement | None, pair: Pair, chosen: argparse.Namespace) -> dict:
    pixels, changed = np.count_nonzero(pair.valid), np.count_nonzero(one.changed)
    row = {
        "before": chosen.before.name,
        "after": chosen.after.name,
        "difference": one.difference,
        "method": one.method,
        "seed": chosen.seed,
        "pixels": pixels,
        "changed": changed,
        "changed_percent": round(100 * changed / pixels, 2),
    }
    return row if counts is None else row | counts.row()


def _write_images(
    pair: Pair,
    truth: np.ndarray | None,
    one: Detected,
    counts: Agreement | None,
    folder: Path,
    chosen: argparse.Namespace,
) -> None:
    write_map(one.changed, folder / _MAP_FILE)
    write_difference(one.levels, pair.valid, folder / _DIFFERENCE_FILE)
    shown = DEFAULT_DIFFERENCE if one.method == LEARNED else one.difference
    method = one.method if one.method == LEARNED else f"{one.difference}, {one.method}"
    title = f"{chosen.before.stem} and {chosen.after.stem}: {method}"
    if counts is not None and not math.isnan(counts.kappa):
        title += f", kappa {counts.kappa:.3f}"
    draw_pair(pair, one.levels, one.changed, folder / _PICTURE_FILE, title, shown, truth, counts)


def _name(chosen: argparse.Namespace) -> str:
    if chosen.name is not None:
        return chosen.name
    difference = [] if chosen.method in (LEARNED, ALL) else [chosen.difference or DEFAULT_DIFFERENCE]
    return "_".join([chosen.before.stem, chosen.after.stem, *difference, chosen.method])


_PRINTED = {
    "difference": "difference",
    "method": "method",
    "changed": "changed",
    "kappa": "kappa",
    "f1": "F1",
    "pcc_percent": "PCC %",
    "overall_error_percent": "errors %",
    "false_alarms": "false",
    "false_alarm_percent": "false %",
    "missed_alarms": "missed",
    "missed_alarm_percent": "missed %",
}


def _printed(table: pd.DataFrame) -> str:
    shown = table[[name for name in _PRINTED if name in table]].rename(columns=_PRINTED)
    formats = dict.fromkeys(("kappa", "F1"), "{:.4f}".format)
    formats |= {name: "{:.2f}".format for name in shown if name.endswith("%")}
    return shown.to_string(index=False, formatters=formats, na_rep="-")
