"""No group in two splits, classes spread, the same chips the same splits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.command import UserError
from sarship.splits import assign_scene_splits, assign_splits, group_numbers


def chips(seed: int, vessels: int = 120, unknown: float = 0.1) -> pd.DataFrame:
    """Chips of two data sets that share vessels, with the imbalance of the real sets, each vessel in several scenes."""
    generator = np.random.default_rng(seed)
    rows = []
    for vessel in range(vessels):
        name = generator.choice(["Cargo", "Fishing", "Tanker"], p=[0.7, 0.15, 0.15])
        for _ in range(generator.integers(1, 7)):
            known = str(200_000_000 + vessel) if generator.random() > unknown else ""
            dataset = generator.choice(["Fusar", "OpenSARShip"])
            rows.append((dataset, name, known, f"scene{generator.integers(0, 40)}"))
    return pd.DataFrame(rows, columns=["dataset", "class", "vessel", "scene"])


@given(seed=st.integers(0, 10_000), method=st.sampled_from(["vessel", "scene"]))
@settings(max_examples=20, deadline=None)
def test_no_group_in_two_splits_over_both_data_sets(seed, method):
    table = chips(seed)
    table["split"] = assign_splits(table, method, seed)
    known = table[table[method] != ""]
    assert known.groupby(method)["split"].nunique().max() == 1
    assert set(table["split"]) == {"train", "val", "test"}


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_shares_and_strata(seed):
    table = chips(seed, vessels=400)
    table["split"] = assign_splits(table, "vessel", seed)
    shares = table["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.05)
    assert shares["val"] == pytest.approx(0.1, abs=0.04)
    by_class = pd.crosstab([table["dataset"], table["class"]], table["split"], normalize="index")
    assert by_class["test"].between(0.1, 0.32).all()
    assert (by_class > 0).all().all(), "every class of every data set is in every split"


def test_the_same_chips_and_seed_give_the_same_splits():
    table = chips(3)
    first = assign_splits(table, "vessel", 5)
    assert (first == assign_splits(table, "vessel", 5)).all()
    assert (first != assign_splits(table, "vessel", 6)).any()


def test_unknown_vessels_are_a_vessel_each():
    numbers = group_numbers(pd.Series(["a", "", "a", "", "b"]))
    assert numbers[0] == numbers[2]
    assert len(set(numbers)) == 4


def test_random_puts_a_vessel_in_several_splits_and_published_turns_the_shares_round():
    table = chips(1, unknown=0)
    assert table.assign(split=assign_splits(table, "random", 1)).groupby("vessel")["split"].nunique().max() > 1
    published = pd.Series(assign_splits(table, "published", 1)).value_counts(normalize=True)
    assert published["train"] == pytest.approx(0.2, abs=0.01)
    assert published["test"] == pytest.approx(0.8, abs=0.01)
    assert "val" not in published


def test_too_few_to_split_is_said():
    with pytest.raises(UserError, match="too few"):
        assign_splits(chips(1, vessels=4), "vessel", 1)


def images(counts: list[int]) -> pd.DataFrame:
    rows = [(f"{name}_{index}", f"class{name}") for name, count in enumerate(counts) for index in range(count)]
    table = pd.DataFrame(rows, columns=["chip", "class"])
    return table.assign(dataset="Land", scene="", product="")


@given(
    counts=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    train_percent=st.floats(1, 99),
    val_percent=st.floats(0, 60),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_shares_of_scenes_hold_per_class_to_one_image(counts, train_percent, val_percent, seed):
    table = images(counts)
    table["split"] = assign_scene_splits(table, "random", train_percent, val_percent, seed)
    for _, rows in table.groupby("class"):
        learnt, val = (rows["split"] != "test").sum(), (rows["split"] == "val").sum()
        assert abs(learnt - len(rows) * train_percent / 100) <= 0.5 + 1e-9
        assert abs(val - learnt * val_percent / 100) <= 0.5 + 1e-9


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_a_class_of_scenes_is_dealt_the_same_whatever_the_others_are(seed):
    alone, together = images([30]), images([30, 50, 7])
    dealt = assign_scene_splits(together, "random", 70, 10, seed)
    assert (assign_scene_splits(alone, "random", 70, 10, seed) == dealt[:30]).all()
    assert (assign_scene_splits(alone, "random", 70, 10, seed + 1) != dealt[:30]).any()


@given(seed=st.integers(0, 10_000), train_percent=st.sampled_from([50, 80]), val_percent=st.sampled_from([0, 10]))
@settings(max_examples=10, deadline=None)
def test_places_stay_whole_and_shares_come_close(seed, train_percent, val_percent):
    generator = np.random.default_rng(seed)
    table = images([150, 150, 150])
    table["scene"] = [f"place{number}" for number in generator.integers(0, 90, len(table))]
    table["split"] = assign_scene_splits(table, "place", train_percent, val_percent, seed)
    assert table.groupby("scene")["split"].nunique().max() == 1
    assert (table["split"] == "test").mean() == pytest.approx(1 - train_percent / 100, abs=0.06)
    assert ("val" in set(table["split"])) == (val_percent > 0)


def test_official_test_images_are_the_source_s():
    table = images([40, 40])
    table["product"] = np.where(np.arange(80) % 4 == 0, "test", "train")
    splits = assign_scene_splits(table, "official", 80, 10, 1)
    assert ((splits == "test") == (table["product"] == "test")).all()
    assert (splits == "val").sum() == 6
