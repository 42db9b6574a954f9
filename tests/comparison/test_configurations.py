"""Runs are gathered into configurations, and refused where files or figures do not fit together."""

from pathlib import Path

import pandas as pd
import pytest

from sarship.command import UserError
from sarship.comparison.configurations import read_configurations, read_histories
from sarship.scores import NEWER_COLUMNS
from tests.small_scores import CLASSES, SmallRun, make_scores, variant

RUNS = (
    SmallRun("CNN", "Fusar", variant(), 1),
    SmallRun("CNN", "Fusar", variant(), 2),
    SmallRun("CNN", "Fusar+Mixed", variant("published", random_split=False), 3),
    SmallRun("Majority", "Fusar", variant()),
)


@pytest.fixture
def scores(tmp_path) -> Path:
    return make_scores(tmp_path, RUNS)


def edit(path: Path, change) -> None:
    """Rewrite a CSV file with `change` applied to its table of text."""
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def set_cell(row: int, column: str, value: str):
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return change


def test_runs_that_differ_in_the_seed_are_one_configuration(scores):
    plain, chain, baseline = read_configurations([scores])
    assert (plain.name, plain.is_plain, plain.target) == ("CNN trained on Fusar", True, "Fusar")
    assert (plain.own.seeds, plain.own.classes) == (2, CLASSES)
    assert list(plain.answers) == ["Fusar", "OpenSARShip", "Mixed"]
    assert (chain.target, chain.changed, chain.protocol) == ("Mixed", ("random_split",), "published")
    assert baseline.is_baseline and baseline.loss == ""


def test_files_of_a_run_are_named_as_test_models_names_them(scores):
    plain, chain, _ = read_configurations([scores])
    assert [plain.stem(seed) for seed in plain.folders] == ["CNN_Fusar", "CNN_Fusar_seed2"]
    assert chain.stem(3) == "CNN_Fusar+Mixed_published_no-random-split_seed3"


def test_seeds_of_several_files_come_together(tmp_path):
    first = make_scores(tmp_path / "first", RUNS[1:2])
    second = make_scores(tmp_path / "second", RUNS[:1])
    (plain,) = read_configurations([first, second])
    assert [result.seed for result in plain.own.results] == [1, 2]
    assert plain.folders == {1: tmp_path / "second", 2: tmp_path / "first"}


def test_a_run_in_two_files_is_named(tmp_path, scores):
    again = make_scores(tmp_path / "again", RUNS[1:2])
    with pytest.raises(UserError, match=r"CNN trained on Fusar, seed 2, tested on Fusar: is in .*again") as caught:
        read_configurations([scores, again])
    assert str(scores) in str(caught.value)
    with pytest.raises(UserError, match="twice"):
        read_configurations([scores, scores])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda table: table.drop(columns=list(NEWER_COLUMNS)), "older form, without Augment to Stopped; run test_mod"),
        (lambda table: table.drop(columns=["ECE", "Variant"]), "has no column ECE, Variant"),
        (lambda table: table.iloc[:0], "has no rows"),
        (set_cell(1, "Seed", "one"), "Seed is 'one'"),
        (set_cell(1, "MacroF1", ""), "MacroF1 is ''"),
        (set_cell(0, "Protocol", "loose"), "there is no protocol 'loose'; there are strict, published"),
        (set_cell(3, "Loss", "focal"), "CNN trained on Fusar: has runs with Loss 'weighted_cross_entropy' and 'focal'"),
        (set_cell(2, "Seed", "7"), "predictions.csv: lacks CNN trained on Fusar, seed 7, tested on Mixed"),
        (set_cell(2, "MacroF1", "12.34"), "predictions.csv: gives CNN trained on Fusar, seed 1, tested on Mixed a Mac"),
        (set_cell(2, "MacroF1", "nan"), "scores.csv says nan"),
        (set_cell(2, "TestChips", "1000"), "on 108 chips, but scores.csv says .* on 1000"),
    ],
)
def test_scores_that_cannot_be_used_are_refused_in_one_line(scores, change, named):
    edit(scores, change)
    with pytest.raises(UserError, match=named) as caught:
        read_configurations([scores])
    assert "\n" not in str(caught.value)


def test_absent_and_damaged_files_are_named(tmp_path, scores):
    with pytest.raises(UserError, match=r"none.csv: is not there; write it with test_models.py"):
        read_configurations([tmp_path / "none.csv"])
    with pytest.raises(UserError, match=r"cannot be read as a table of scores"):
        read_configurations([tmp_path])
    (tmp_path / "predictions.csv").unlink()
    with pytest.raises(UserError, match=r"predictions.csv: is not there"):
        read_configurations([scores])
    scores.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"scores.csv: (cannot be read|has no column)"):
        read_configurations([scores])


def test_a_probability_that_turns_an_answer_is_noticed(tmp_path, scores):
    """The figures come from predictions.csv: one answer changed there is enough to be told."""
    path = tmp_path / "predictions.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    columns = [f"p_{name}" for name in CLASSES]
    right = table["p_Cargo"].astype(float) > 0.5
    row = table.index[right & (table["label"] == "Cargo") & (table["Model"] == "CNN")][0]
    table.loc[row, columns] = ["0.1", "0.1", "0.8"]
    table.to_csv(path, index=False)
    with pytest.raises(UserError, match="gives CNN trained on Fusar"):
        read_configurations([scores])


def test_rows_taken_out_of_scores_are_left_out(scores):
    edit(scores, lambda table: table[table["Tested"] == "Fusar"])
    assert [list(each.answers) for each in read_configurations([scores])] == [["Fusar"], ["Fusar"]]


def test_seeds_on_other_chips_are_refused(tmp_path, scores):
    predictions = tmp_path / "predictions.csv"
    edit(predictions, lambda table: table.assign(vessel=table["vessel"].where(table["Seed"] != "2", "")))
    with pytest.raises(UserError, match="its seeds were tested on different chips of Fusar; compare runs of one prep"):
        read_configurations([scores])


def test_runs_on_other_classes_are_refused(tmp_path):
    scores = make_scores(tmp_path / "ships", RUNS[:1])
    other = make_scores(tmp_path / "others", RUNS[3:])
    predictions = other.with_name("predictions.csv")
    predictions.write_text(predictions.read_text().replace("Fishing", "Tug"))
    with pytest.raises(
        UserError, match="tells Cargo, Fishing, Tanker apart, Majority trained on Fusar Cargo, Tug, Tan"
    ):
        read_configurations([scores, other])


def test_different_numbers_of_epochs_are_told(scores, capsys):
    edit(scores, set_cell(3, "Epochs", "50"))
    read_configurations([scores])
    assert "warning: CNN trained on Fusar: has runs of 3 and 50 epochs" in capsys.readouterr().err


def test_histories(tmp_path, scores, capsys):
    history = read_histories([scores])
    assert len(history) == 3 * 3 and history["Epoch"].is_monotonic_increasing
    assert history.loc[history["Picked"], "Epoch"].tolist() == [2, 2, 3]
    assert history.loc[history["Variant"] != "", "ValMacroF1"].isna().all()  # published: no validation chips
    other = make_scores(tmp_path / "other", RUNS[1:2])
    other.with_name("history.csv").unlink()
    assert len(read_histories([scores, other])) == 9
    assert "other/history.csv: is not there" in capsys.readouterr().err
    assert read_histories([other]).empty


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda table: table.drop(columns="Picked"), "has no column Picked"),
        (set_cell(0, "TrainLoss", "low"), "cannot be read as a table of epochs"),
        (set_cell(0, "Epoch", ""), "cannot be read as a table of epochs"),
    ],
)
def test_a_bad_history_is_named(scores, change, named):
    path = scores.with_name("history.csv")
    edit(path, change)
    with pytest.raises(UserError, match=named) as caught:
        read_histories([scores])
    assert str(path) in str(caught.value)
