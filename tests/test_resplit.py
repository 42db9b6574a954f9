"""The splits of each switch, counted by hand."""

from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.command import UserError
from sarship.prepared import PreparedSet, chip_path
from sarship.resplit import SPLIT_SWITCHES, redeal, resplit, views
from sarship.splits import assign_scene_splits, assign_splits

CHIPS, PER_VESSEL = 200, 4  # of each data set
OFF = dict.fromkeys(SPLIT_SWITCHES, False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> dict[str, PreparedSet]:
    """Two data sets of 200 chips of 50 vessels, split by vessel, and Mixed, which joins them. No pixels."""
    folder = tmp_path_factory.mktemp("prepared")
    index = np.tile(np.arange(CHIPS), 2)
    whole = pd.DataFrame(
        {
            "chip": [f"chip{number}" for number in index],  # the same names in both data sets
            "dataset": np.repeat(["Fusar", "OpenSARShip"], CHIPS),
            "class": np.where(index // PER_VESSEL % 3 == 0, "Tanker", "Cargo"),
            "vessel": [f"{number // PER_VESSEL}" for number in index],
            "scene": "",
        }
    )
    whole["split"] = assign_splits(whole, "vessel", seed=1)
    manifests = {name: rows.reset_index(drop=True) for name, rows in whole.groupby("dataset")} | {"Mixed": whole}
    return {
        name: PreparedSet(folder / name, rows, tuple(chip_path(folder / name, row) for row in rows.to_dict("records")))
        for name, rows in manifests.items()
    }


def chips(prepared_set: PreparedSet, split: str) -> set[tuple[str, str]]:
    rows = prepared_set.rows(split)
    return set(zip(rows["dataset"], rows["chip"], strict=True))


def vessels(prepared_set: PreparedSet, split: str) -> set[str]:
    return set(prepared_set.rows(split)["vessel"])


def test_without_switches_the_splits_are_those_prepared(prepared):
    dealt = resplit(prepared, OFF, seed=1)
    for name, prepared_set in prepared.items():
        assert (dealt[name].manifest["split"] == prepared_set.manifest["split"]).all()
        assert not vessels(dealt[name], "train") & vessels(dealt[name], "test")


def test_random_split_puts_vessels_in_both_parts_and_mixed_follows(prepared):
    dealt = resplit(prepared, OFF | {"random_split": True}, seed=1)
    for name in ("Fusar", "OpenSARShip"):
        shared = vessels(dealt[name], "train") & vessels(dealt[name], "test")
        assert len(shared) > len(vessels(dealt[name], "test")) / 2
        for split in ("train", "val", "test"):
            assert chips(dealt[name], split) == {key for key in chips(dealt["Mixed"], split) if key[0] == name}


@pytest.mark.parametrize("random_split", [False, True])
def test_overlapping_mix_has_test_chips_of_mixed_in_the_training_set_of_another(prepared, random_split):
    off = OFF | {"random_split": random_split}
    strict, flawed = (resplit(prepared, off | {"overlapping_mix": switch}, seed=1) for switch in (False, True))
    for name in ("Fusar", "OpenSARShip"):
        assert not chips(strict["Mixed"], "test") & chips(strict[name], "train")
        assert not chips(strict["Mixed"], "train") & chips(strict[name], "test")
        assert len(chips(flawed["Mixed"], "test") & chips(flawed[name], "train")) > 10
        assert len(chips(flawed["Mixed"], "train") & chips(flawed[name], "test")) > 10
        assert chips(flawed[name], "train") == chips(strict[name], "train"), "the others are as they were"


def test_last_epoch_lets_val_join_train_and_inverted_split_exchanges_train_and_test(prepared):
    plain = resplit(prepared, OFF, seed=1)["Fusar"]
    joined = resplit(prepared, OFF | {"last_epoch": True}, seed=1)["Fusar"]
    assert chips(joined, "train") == chips(plain, "train") | chips(plain, "val")
    assert chips(joined, "test") == chips(plain, "test") and not chips(joined, "val")
    inverted = resplit(prepared, OFF | {"inverted_split": True}, seed=1)["Fusar"]
    assert chips(inverted, "train") == chips(plain, "test") and chips(inverted, "test") == chips(plain, "train")
    assert chips(inverted, "val") == chips(plain, "val")


def test_all_together_train_on_a_fifth_and_test_on_the_rest(prepared):
    dealt = resplit(prepared, dict.fromkeys(SPLIT_SWITCHES, True), seed=1)
    for name, prepared_set in dealt.items():
        whole = len(prepared_set.manifest)
        assert len(prepared_set.rows("train")) == pytest.approx(0.2 * whole, abs=0.02 * whole)
        assert len(prepared_set.rows("train")) + len(prepared_set.rows("test")) == whole, name


@pytest.mark.parametrize("values", list(product([False, True], repeat=len(SPLIT_SWITCHES))))
def test_every_chip_is_in_one_split_and_the_deal_repeats(prepared, values):
    switches = dict(zip(SPLIT_SWITCHES, values, strict=True))
    first, second = (resplit(prepared, switches, seed=5) for _ in range(2))
    for name, prepared_set in first.items():
        assert set(prepared_set.manifest["split"]) <= {"train", "val", "test"}
        assert list(prepared_set.manifest["split"]) == list(second[name].manifest["split"])
        assert list(prepared_set.manifest["chip"]) == list(prepared[name].manifest["chip"])


# -- repeated splits


def scenes(folder: Path, counts: dict[tuple[str, str, str], int], **columns: str) -> dict[str, PreparedSet]:
    """Prepared sets of scenes and Mixed, which joins them. counts: chips of each (data set, class, split)."""
    rows = [
        {"dataset": dataset, "class": kind, "split": split, "chip": f"{kind}{split}{number:03}"}
        for (dataset, kind, split), count in counts.items()
        for number in range(count)
    ]
    whole = pd.DataFrame(rows).assign(**{"vessel": "", "scene": ""} | columns)
    manifests = {name: rows.reset_index(drop=True) for name, rows in whole.groupby("dataset")} | {"Mixed": whole}
    return {
        name: PreparedSet(folder / name, rows, tuple(chip_path(folder / name, row) for row in rows.to_dict("records")))
        for name, rows in manifests.items()
    }


COUNTS = {
    (dataset, kind, split): count + 3 * (kind == "harbour")
    for dataset in ("AID", "WHU")
    for kind in ("beach", "harbour")
    for split, count in (("train", 14), ("val", 2), ("test", 4))
}


def counted(prepared_set: PreparedSet) -> dict:
    return prepared_set.manifest.groupby(["dataset", "class", "split"]).size().to_dict()


@settings(max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_each_class_keeps_its_counts_and_every_chip_is_dealt(seed):
    prepared = scenes(Path("nowhere"), COUNTS)
    dealt = redeal(prepared, seed)
    for name, prepared_set in prepared.items():
        assert counted(dealt[name]) == counted(prepared_set)
        assert list(dealt[name].manifest["chip"]) == list(prepared_set.manifest["chip"])
        assert list(dealt[name].manifest["split"]) == list(redeal(prepared, seed)[name].manifest["split"])


def test_a_chip_of_mixed_is_in_the_split_of_its_own_set():
    dealt = redeal(scenes(Path("nowhere"), COUNTS), 1)
    for name in ("AID", "WHU"):
        for split in ("train", "val", "test"):
            assert chips(dealt[name], split) == {key for key in chips(dealt["Mixed"], split) if key[0] == name}


def test_a_deal_does_not_depend_on_the_other_sets():
    both = scenes(Path("nowhere"), COUNTS)
    alone = redeal({"AID": both["AID"]}, 1)["AID"]
    assert list(alone.manifest["split"]) == list(redeal(both, 1)["AID"].manifest["split"])


def test_deals_of_several_seeds_share_no_more_test_chips_than_chance_has_it():
    counts = {("AID", "beach", split): count for split, count in (("train", 700), ("val", 100), ("test", 200))}
    prepared = scenes(Path("nowhere"), counts)
    tests = [chips(prepared["AID"], "test"), *(chips(redeal(prepared, seed)["AID"], "test") for seed in (1, 2, 3))]
    for one, other in combinations(tests, 2):
        assert len(one & other) == pytest.approx(40, abs=5 * 5.1)  # hypergeometric: five standard deviations


def test_a_deal_of_the_seed_of_preparation_is_another_one():
    """Both draw a permutation of each class; from the same random numbers, theirs would come out as sorted names."""
    counts = {("AID", "beach", "train"): 1000}
    prepared = scenes(Path("nowhere"), counts)["AID"]
    splits = assign_scene_splits(prepared.manifest.assign(product=""), "random", 80, 10, seed=1)
    dealt = redeal({"AID": prepared.with_splits(splits)}, 1)["AID"].manifest
    first, second = (dealt["split"].iloc[half] for half in (slice(500), slice(500, None)))
    assert (first == "test").sum() == pytest.approx((second == "test").sum(), abs=60)


def test_views_deal_for_a_seed_once():
    prepared = scenes(Path("nowhere"), COUNTS)
    view, options = views(prepared), OFF | {"split_seed": 1}
    assert view(options | {"redeal": 0}) is view(options | {"redeal": 0})
    assert list(view(options | {"redeal": 0})["AID"].manifest["split"]) == list(
        redeal(prepared, 0)["AID"].manifest["split"]
    )
    assert (view(options)["AID"].manifest["split"] == prepared["AID"].manifest["split"]).all()


@pytest.mark.parametrize("kind", ["vessel", "scene"])
def test_known_vessels_and_scenes_are_not_torn_apart(kind):
    prepared = scenes(Path("nowhere"), COUNTS, **{kind: "211334450"})
    with pytest.raises(UserError, match=f"--redeal: chips of one {kind} of AID .* --random-split"):
        redeal(prepared, 1)
