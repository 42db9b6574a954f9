"""Who goes into train, val and test.

    vessel      no MMSI in two splits, over all data sets together (default)
    scene       no satellite product in two splits
    random      chips at random, one vessel in several splits
    published   as the published code did: random, 20 % train, 80 % test, no val

The first three give 70 / 10 / 20 %, stratified by class within each data set. Sets of land-use scenes have shares of
their own, of which training has train_percent, and validation val_percent of that part:

    random      images at random, each class to one image
    place       no place (ten kilometres) in two splits; shares to a tenth
    official    test images are those that the source calls so
"""

import hashlib
import math
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from sarship.command import UserError

SPLIT_METHODS = ("vessel", "scene", "random", "published")
FOLDS, VAL_FOLDS, TEST_FOLDS = 10, 1, 2  # 70 / 10 / 20 %
PUBLISHED_TRAIN_SHARE = 0.2
SCENE_SPLIT_METHODS = ("random", "place", "official")


def assign_splits(chips: pd.DataFrame, method: str, seed: int) -> np.ndarray:
    """The split of each chip, (chips,) of "train", "val", "test".

    chips: columns dataset, class, vessel, scene; a vessel of "" is a vessel of its own, and so is a scene of "".
    The same chips in the same order and the same seed give the same splits.
    Raises UserError where there are too few chips, vessels or scenes to split.
    """
    if method == "published":
        if len(chips) * PUBLISHED_TRAIN_SHARE < 1:
            raise UserError(f"--split published: {len(chips)} chips are too few for one to train with and four to test")
        train, _ = train_test_split(np.arange(len(chips)), train_size=PUBLISHED_TRAIN_SHARE, random_state=seed)
        return np.where(np.isin(np.arange(len(chips)), train), "train", "test")
    groups = np.arange(len(chips)) if method == "random" else group_numbers(chips[method])
    strata = (chips["dataset"] + " " + chips["class"]).to_numpy()
    return _deal(_folds(strata, groups, seed, method), strata, VAL_FOLDS, TEST_FOLDS)


def assign_scene_splits(
    chips: pd.DataFrame, method: str, train_percent: float, val_percent: float, seed: int
) -> np.ndarray:
    """The split of each image of land-use sets, (chips,) of "train", "val", "test".

    chips: columns dataset, class, chip, scene (its place, "" unknown) and product ("test" for official test images).
    train_percent: of the images, val included; val_percent: of those. The split of a class depends on its own images
    and the seed only. Raises UserError where a method does not go with the images or the percentages.
    """
    strata = chips["dataset"] + " " + chips["class"]
    if method == "place":
        return _by_place(chips, strata.to_numpy(), train_percent, val_percent, seed)
    if method == "official":
        is_test = (chips["product"] == "test").to_numpy()
        if not is_test.any():
            raise UserError("--split official: the source does not say which images are for testing; use random")
        return np.where(is_test, "test", _shares(strata.where(~is_test, ""), 100.0, val_percent, seed))
    return _shares(strata, train_percent, val_percent, seed)


def _shares(strata: pd.Series, train_percent: float, val_percent: float, seed: int) -> np.ndarray:
    """Splits in which each stratum has its shares, rounded half up to whole images."""
    splits = np.full(len(strata), "train", object)
    for name, places in strata.groupby(strata).indices.items():
        own_seed = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8])
        order = np.random.default_rng(own_seed).permutation(places)
        train = _rounded(len(places) * train_percent / 100)
        val = _rounded(train * val_percent / 100)
        splits[order[:val]] = "val"
        splits[order[train:]] = "test"
    return splits.astype(str)


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)


def _by_place(
    chips: pd.DataFrame, strata: np.ndarray, train_percent: float, val_percent: float, seed: int
) -> np.ndarray:
    if (chips["scene"] == "").all():
        raise UserError("--split place: the images bear no coordinates; EuroSAT's 13-band GeoTIFFs do. Use random")
    test_folds = FOLDS * (100 - train_percent) / 100
    if test_folds != int(test_folds):
        raise UserError(f"--train-percent {train_percent:g}: --split place deals whole tenths; use 10, 20, ... 90")
    fold_of = _folds(strata, group_numbers(chips["scene"]), seed, "place")
    return _deal(fold_of, strata, 1 if val_percent else 0, int(test_folds))


def group_numbers(names: pd.Series) -> np.ndarray:
    """(chips,) one number for each name, and one of its own for each chip whose name is unknown ("")."""
    codes, known = pd.factorize(names)
    unknown = (names == "").to_numpy()
    codes[unknown] = len(known) + np.arange(unknown.sum())
    return codes


def _folds(strata: np.ndarray, groups: np.ndarray, seed: int, method: str) -> np.ndarray:
    """(chips,) fold number 0..FOLDS-1: groups whole, strata spread evenly."""
    enough = len(np.unique(groups)) >= FOLDS and np.unique(strata, return_counts=True)[1].max() >= FOLDS
    if not enough:
        raise UserError(
            f"--split {method}: {len(strata)} chips in {len(np.unique(groups))} groups are too few to split 70/10/20; "
            f"there must be {FOLDS} groups and a class with {FOLDS} chips"
        )
    fold_of = np.empty(len(strata), np.int64)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for fold, (_, members) in enumerate(splitter.split(strata, strata, groups)):
        fold_of[members] = fold
    return fold_of


def _deal(fold_of: np.ndarray, strata: np.ndarray, val_folds: int, test_folds: int) -> np.ndarray:
    """Folds to splits, such that the strata's shares in val and test come closest to the wanted ones.

    Matters for rare classes: with a dozen vessels of a class, some folds hold none of it.
    """
    counts = pd.crosstab(strata, fold_of).reindex(columns=range(FOLDS), fill_value=0).to_numpy(float)  # (strata, folds)
    share = counts / counts.sum(axis=1, keepdims=True)

    def cost(val: tuple[int, ...], test: tuple[int, ...]) -> float:
        val_share, test_share = share[:, list(val)].sum(axis=1), share[:, list(test)].sum(axis=1)
        train_share = 1 - val_share - test_share
        absent = sum((part == 0).sum() for part in (val_share, test_share, train_share))
        uneven = np.abs(val_share - val_folds / FOLDS).sum() + np.abs(test_share - test_folds / FOLDS).sum()
        return len(share) * absent + uneven

    candidates = [
        (val, test)
        for val in combinations(range(FOLDS), val_folds)
        for test in combinations(sorted(set(range(FOLDS)) - set(val)), test_folds)
    ]
    val, test = min(candidates, key=lambda choice: cost(*choice))
    return np.select([np.isin(fold_of, val), np.isin(fold_of, test)], ["val", "test"], "train")
