"""The splits of each switch, counted by hand."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from sarship.prepared import PreparedSet, chip_path
from sarship.resplit import SPLIT_SWITCHES, resplit
from sarship.splits import assign_splits

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
