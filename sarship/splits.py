"""Who goes into train, val and test.

    vessel      no MMSI in two splits, over all data sets together (default)
    scene       no satellite product in two splits
    random      chips at random, one vessel in several splits
    published   as the published code did: random, 20 % train, 80 % test, no val

The first three give 70 / 10 / 20 %, stratified by class within each data set.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from sarship.command import UserError

SPLIT_METHODS = ("vessel", "scene", "random", "published")
FOLDS, VAL_FOLDS, TEST_FOLDS = 10, 1, 2  # 70 / 10 / 20 %
PUBLISHED_TRAIN_SHARE = 0.2


def assign_splits(chips: pd.DataFrame, method: str, seed: int) -> np.ndarray:
    """The split of each chip, (chips,) of "train", "val", "test".

    chips: columns dataset, class, vessel, scene; a vessel of "" is a vessel of its own, and so is a scene of "".
    The same chips in the same order and the same seed give the same splits.
    Raises UserError where there are too few chips, vessels or scenes to split.
    """
    if method == "published":
        train, _ = train_test_split(np.arange(len(chips)), train_size=PUBLISHED_TRAIN_SHARE, random_state=seed)
        return np.where(np.isin(np.arange(len(chips)), train), "train", "test")
    groups = np.arange(len(chips)) if method == "random" else group_numbers(chips[method])
    strata = (chips["dataset"] + " " + chips["class"]).to_numpy()
    return _deal(_folds(strata, groups, seed, method), strata)


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


def _deal(fold_of: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Folds to splits, such that the strata's shares in val and test come closest to the wanted ones.

    Matters for rare classes: with a dozen vessels of a class, some folds hold none of it.
    """
    counts = pd.crosstab(strata, fold_of).reindex(columns=range(FOLDS), fill_value=0).to_numpy(float)  # (strata, folds)
    share = counts / counts.sum(axis=1, keepdims=True)

    def cost(val: tuple[int, ...], test: tuple[int, ...]) -> float:
        val_share, test_share = share[:, list(val)].sum(axis=1), share[:, list(test)].sum(axis=1)
        train_share = 1 - val_share - test_share
        absent = sum((part == 0).sum() for part in (val_share, test_share, train_share))
        uneven = np.abs(val_share - VAL_FOLDS / FOLDS).sum() + np.abs(test_share - TEST_FOLDS / FOLDS).sum()
        return len(share) * absent + uneven

    candidates = [
        (val, test)
        for val in combinations(range(FOLDS), VAL_FOLDS)
        for test in combinations(sorted(set(range(FOLDS)) - set(val)), TEST_FOLDS)
    ]
    val, test = min(candidates, key=lambda choice: cost(*choice))
    return np.select([np.isin(fold_of, val), np.isin(fold_of, test)], ["val", "test"], "train")
