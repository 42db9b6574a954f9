"""Prepared chips dealt anew, as a protocol's switches or --redeal have it. The chips stay where they are.

In this order, so that each switch means the same with and without the others: chips are dealt at random
(random_split), Mixed on its own (overlapping_mix), val joins train (last_epoch), train and test change places
(inverted_split). With all of them on, 20 % of the chips train and 80 % test, as published.

--redeal is no flaw but repeated splits: each seed has its own, and no class has more or fewer chips in any of them.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache, partial

import numpy as np
import pandas as pd

from sarship.command import UserError
from sarship.prepared import PreparedSet
from sarship.splits import assign_splits

MIXED = "Mixed"
SPLIT_SWITCHES = ("random_split", "overlapping_mix", "last_epoch", "inverted_split")
# Mixed has to be dealt by other random numbers than dataset_prep.py dealt by, whose seed is a small number.
OWN_DEAL = 1_000_000_007


def resplit(prepared: Mapping[str, PreparedSet], switches: Mapping, seed: int) -> dict[str, PreparedSet]:
    """The prepared sets with the splits that `switches` ask for; without any, as they were prepared.

    switches: SPLIT_SWITCHES, true or false. seed: of the deals; the same one gives the same splits.
    Raises UserError where there are too few chips to deal.
    """
    manifests = {name: prepared_set.manifest for name, prepared_set in prepared.items()}
    if switches["random_split"]:
        manifests = _deal(manifests, "random", seed)
    if switches["overlapping_mix"] and MIXED in manifests:
        method = "random" if switches["random_split"] else "vessel"
        own = assign_splits(manifests[MIXED], method, seed + OWN_DEAL)
        manifests[MIXED] = manifests[MIXED].assign(split=own)
    return {
        name: prepared_set.with_splits(_renamed(manifests[name], switches)) for name, prepared_set in prepared.items()
    }


def views(prepared: Mapping[str, PreparedSet]) -> Callable[[Mapping], dict[str, PreparedSet]]:
    """A function of a run's settings: the prepared sets as that run splits them; for equal splits, the same objects."""

    @cache
    def dealt(switched_on: frozenset, seed: int) -> dict[str, PreparedSet]:
        return resplit(prepared, {name: name in switched_on for name in SPLIT_SWITCHES}, seed)

    dealt_for_seed = cache(partial(redeal, prepared))

    def view(settings: Mapping) -> dict[str, PreparedSet]:
        if "redeal" in settings:
            return dealt_for_seed(settings["redeal"])
        return dealt(frozenset(name for name in SPLIT_SWITCHES if settings[name]), settings["split_seed"])

    return view


def redeal(prepared: Mapping[str, PreparedSet], seed: int) -> dict[str, PreparedSet]:
    """The prepared sets with the chips of each class dealt at random, as many to each split as it has of the class.

    A deal depends on the data set's own chips and the seed only. A chip that is in several sets, as those of Mixed are,
    is in the same split of each. Raises UserError for chips that must not be torn apart.
    """
    refuse_to_tear_apart(prepared)
    whole = _whole({name: prepared_set.manifest for name, prepared_set in prepared.items()})
    split_of: dict[tuple[str, str], str] = {}
    for (dataset, kind), chips in whole.groupby(["dataset", "class"]):
        # Other random numbers than dataset_prep.py dealt by: those of the same seed would undo its deal.
        own_seed = int.from_bytes(hashlib.sha256(f"redeal {seed} {dataset} {kind}".encode()).digest()[:8])
        splits = np.random.default_rng(own_seed).permutation(chips["split"].to_numpy(object))
        split_of |= dict(zip(_keys(chips), splits, strict=True))
    return {
        name: prepared_set.with_splits(np.array([split_of[key] for key in _keys(prepared_set.manifest)]))
        for name, prepared_set in prepared.items()
    }


def refuse_to_tear_apart(prepared: Mapping[str, PreparedSet]) -> None:
    """UserError if chips are of known vessels or scenes: dealt one by one, these would be in several splits."""
    for name, prepared_set in prepared.items():
        for kind in ("vessel", "scene"):
            if prepared_set.manifest[kind].ne("").any():
                raise UserError(
                    f"--redeal: chips of one {kind} of {name} would train and test; "
                    "leave it out, or take --random-split to see what that flaw does"
                )


def _deal(manifests: Mapping[str, pd.DataFrame], method: str, seed: int) -> dict[str, pd.DataFrame]:
    """Deal all chips of all sets together; Mixed, which joins the others, follows them."""
    whole = _whole(manifests)
    split_of = dict(zip(_keys(whole), assign_splits(whole, method, seed), strict=True))
    return {
        name: manifest.assign(split=[split_of[key] for key in _keys(manifest)]) for name, manifest in manifests.items()
    }


def _whole(manifests: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of all sets in an order that does not depend on theirs, each chip once."""
    whole = pd.concat(manifests.values()).drop_duplicates(["dataset", "chip"])
    return whole.sort_values(["dataset", "chip"], kind="stable", ignore_index=True)


def _keys(manifest: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(manifest["dataset"], manifest["chip"], strict=True))


def _renamed(manifest: pd.DataFrame, switches: Mapping) -> np.ndarray:
    new_name = {"train": "train", "val": "train" if switches["last_epoch"] else "val", "test": "test"}
    if switches["inverted_split"]:
        exchanged = {"train": "test", "test": "train", "val": "val"}
        new_name = {old: exchanged[new] for old, new in new_name.items()}
    return manifest["split"].map(new_name).to_numpy()
