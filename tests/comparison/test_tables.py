"""The tables hold what was put into the made-up study: which model is better, and what transfer is worth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sarship.command import UserError
from sarship.comparison import tables
from sarship.comparison.configurations import read_configurations
from sarship.comparison.statistics import Answers, holm, seed_interval
from tests.conftest import ROOT
from tests.small_scores import CLASSES, TEST_SETS, SmallRun, make_scores, variant

PUBLISHED = ROOT / "studies" / "published"


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> pd.DataFrame:
    return pd.read_csv(make_scores(tmp_path_factory.mktemp("scores")), keep_default_na=False)


def test_ranking_has_the_means_of_scores_csv(configurations, bootstrap, scores):
    ranked = tables.ranking(configurations, "Fusar", bootstrap)
    plain = scores[(scores["Changed"] == "") & (scores["Tested"] == "Fusar")]
    means = plain.groupby(["Model", "Trained", "Protocol"])[["MacroF1", "Accuracy", "F-Recall"]].mean()
    assert len(ranked) == len(means)
    for _, row in ranked.iterrows():
        expected = means.loc[row["Model"], row["Trained"], row["Protocol"]]
        assert row[["MacroF1", "Accuracy", "Recall Fishing"]].to_numpy(float) == pytest.approx(expected, abs=0.006)
        assert row["MacroF1_low"] < row["MacroF1"] < row["MacroF1_high"]
    assert ranked["MacroF1"].is_monotonic_decreasing


def test_ranking_of_one_seed_has_the_interval_of_scores_csv(configurations, bootstrap, scores):
    ranked = tables.ranking(configurations, "Mixed", bootstrap).set_index(["Model", "Trained"])
    row = scores[(scores["Model"] == "HOG_SVM") & (scores["Trained"] == "Mixed") & (scores["Tested"] == "Mixed")].iloc[
        0
    ]
    here = ranked.loc["HOG_SVM", "Mixed"]
    assert here[["MacroF1_low", "MacroF1_high"]].to_numpy(float) == pytest.approx(
        row[["MacroF1_low", "MacroF1_high"]].astype(float), abs=0.006
    )
    assert np.isnan(here["± seeds"])


def test_ranking_counts_seeds_and_collapsed_runs(configurations, bootstrap):
    ranked = tables.ranking(configurations, "Mixed", bootstrap).set_index(["Model", "Trained", "Protocol"])
    assert ranked.loc["CNN", "Mixed", "strict"][["Seeds", "Collapsed"]].tolist() == [3, 1]
    assert ranked.loc["VGG", "Mixed", "strict"][["Seeds", "Collapsed"]].tolist() == [3, 0]
    assert ranked.loc["Majority", "Fusar", "strict"][["Seeds", "Collapsed"]].tolist() == [1, 1]
    low, high = seed_interval(tables.find(configurations, "VGG", "Mixed", "strict").own.of_seeds("MacroF1"))
    assert ranked.loc["VGG", "Mixed", "strict"]["± seeds"] == pytest.approx((high - low) / 2)


def test_matrix_has_every_training_and_test_set(configurations, bootstrap):
    matrix = tables.matrix(configurations, bootstrap)
    networks = matrix[(matrix["Model"] == "VGG") & (matrix["Protocol"] == "strict")]
    square = networks.pivot(index="Trained", columns="Tested", values="MacroF1")
    assert set(square.index) == {*TEST_SETS, "Fusar+Mixed"} and set(square.columns) == set(TEST_SETS)
    # A network that knows one source only does better on it than on the other.
    assert square.loc["Fusar", "Fusar"] > square.loc["Fusar", "OpenSARShip"]
    assert square.loc["OpenSARShip", "OpenSARShip"] > square.loc["OpenSARShip", "Fusar"]


def test_transfer_is_held_against_base_and_target(configurations, bootstrap):
    transfer = tables.transfer(configurations, bootstrap)
    assert set(transfer["Trained"]) == {"Fusar+Mixed"}
    plain = transfer[transfer["Variant"] == ""]
    assert len(plain) == 3 * len(TEST_SETS)
    row = plain[(plain["Model"] == "VGG") & (plain["Tested"] == "OpenSARShip")].iloc[0]
    figures = {
        trained: tables.find(configurations, "VGG", trained, "strict").answers["OpenSARShip"].mean("MacroF1")
        for trained in ("Fusar", "Mixed", "Fusar+Mixed")
    }
    assert row["Over base"] == pytest.approx(figures["Fusar+Mixed"] - figures["Fusar"])
    assert row["Over target alone"] == pytest.approx(figures["Fusar+Mixed"] - figures["Mixed"])
    assert row["Over base_low"] > 0  # the base has never seen OpenSARShip
    unfrozen = transfer[transfer["Variant"] == "unfreeze-all"]
    assert unfrozen["Seeds"].tolist() == [1] and unfrozen["Over base"].notna().all()


def test_transfer_without_its_base_has_no_gain(configurations, bootstrap):
    chains = [each for each in configurations if "+" in each.trained]
    transfer = tables.transfer(chains, bootstrap)
    assert transfer[["Over base", "Over base p", "Over base Holm p", "Over target alone"]].isna().all(axis=None)


def test_pairs_find_the_better_model(configurations, bootstrap):
    pairs = tables.pairwise(configurations, bootstrap)
    assert len(pairs) == len(TEST_SETS) * 10  # five models
    assert (pairs["Difference"] >= 0).all()
    on_mixed = pairs[pairs["Trained"] == "Mixed"].set_index(["Better", "Other"])
    clear = on_mixed.loc["VGG", "HOG_SVM"]
    assert clear["Difference_low"] > 0 and clear["Difference Holm p"] < 0.05 and clear["McNemar p"] < 0.001
    assert clear["Seeds"] == "3 / 1"
    assert pairs["Difference Holm p"].to_numpy() == pytest.approx(holm(pairs["Difference p"]))
    assert (pairs["Difference Holm p"] >= pairs["Difference p"]).all()


def test_pairs_on_other_chips_are_refused(configurations, bootstrap):
    one = tables.find(configurations, "CNN", "Fusar", "strict")
    other = tables.find(configurations, "VGG", "Fusar", "strict")
    moved = [replace(result, vessels=["7"] * len(result.chips)) for result in other.own.results]
    elsewhere = replace(other, answers={"Fusar": Answers(other.name, moved)})
    with pytest.raises(UserError, match="were tested on different chips of Fusar; compare runs of one prepared folder"):
        tables.pairwise([one, elsewhere], bootstrap)


def test_published_tables_are_read_and_collapsed_rows_found():
    published = tables.read_published(PUBLISHED, CLASSES)
    assert published["Table"].value_counts().to_dict() == {"transfer_scores": 135, "unbalanced_scores": 15}
    # 6 and 64 rows always answer Cargo; Fine models trained on two sets, tested on OpenSARShip, always Tanker: 2 more.
    assert published.groupby("Table")["Collapsed"].sum().to_dict() == {"transfer_scores": 66, "unbalanced_scores": 6}
    row = published[(published["Table"] == "unbalanced_scores") & (published["Trained"] == "Fusar")].iloc[0]
    assert row["BalancedAccuracy"] == pytest.approx((89.36 + 16.93 + 63.32) / 3)


def test_published_rows_stand_beside_ours(configurations, bootstrap):
    beside = tables.published(tables.read_published(PUBLISHED, CLASSES), configurations, bootstrap)
    keys = ["Table", "Model", "Trained", "Tested"]
    row = beside.set_index(keys).loc["unbalanced_scores", "CNN", "Fusar", "Fusar"]
    assert row["Accuracy, printed"] == 69.16
    for protocol in ("published", "strict"):
        own = tables.find(configurations, "CNN", "Fusar", protocol).own
        assert row[f"Accuracy, {protocol}"] == own.mean("Accuracy")
        assert row[f"F1, {protocol}_low"] < row[f"F1, {protocol}"] < row[f"F1, {protocol}_high"]
    # Fine_ResNet is not in the study: its rows are left out. VGG was run strict only.
    assert "Fine_ResNet" not in set(beside["Model"])
    assert beside.loc[beside["Model"] == "VGG", "Accuracy, published"].isna().all()


def test_published_tables_of_other_classes_are_not_ours(tmp_path):
    with pytest.raises(UserError, match="holds no table of scores on Cargo, Tug"):
        tables.read_published(PUBLISHED, ("Cargo", "Tug"))
    (tmp_path / "bad.csv").write_text((PUBLISHED / "unbalanced_scores.csv").read_text().replace("89.36", "much"))
    with pytest.raises(UserError, match=r"bad\.csv: cannot be read as a published table"):
        tables.read_published(tmp_path, CLASSES)


def test_tables_without_rows_are_empty(tmp_path, bootstrap):
    (only,) = read_configurations([make_scores(tmp_path, [SmallRun("CNN", "Fusar", variant(loss="focal"))])])
    assert tables.ranking([only], "Fusar", bootstrap).empty
    for table in (tables.matrix, tables.transfer, tables.pairwise):
        assert table([only], bootstrap).empty
    assert tables.published(tables.read_published(PUBLISHED, CLASSES), [only], bootstrap).empty
