"""No group in two splits, classes spread, the same chips the same splits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.command import UserError
from sarship.splits import assign_splits, group_numbers


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
