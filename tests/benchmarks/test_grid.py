"""grid.py runs, and its figures are those of what ran."""

import re

import grid
import pandas as pd
import pytest
from side_by_side import Measured

from tests.benchmarks.tables import rows_of


def outcome(model: str, seconds: float, gib: float = 1.0, macro_f1: tuple = (50, 40, 60)) -> grid.Outcome:
    middle, low, high = macro_f1
    sets = ("Fusar", "Mixed")
    rows = [
        {"Trained": a, "Tested": b, "Model": model, "MacroF1": middle, "MacroF1_low": low, "MacroF1_high": high}
        for a in sets
        for b in sets
    ]
    return grid.Outcome(Measured(seconds, int(gib * 2**30), ""), pd.DataFrame(rows))


def test_groups_are_sums_and_goals_are_judged():
    pairs = {
        "CNN": grid.Pair(outcome("CNN", 18), outcome("CNN", 10)),
        "Fine_VGG": grid.Pair(outcome("Fine_VGG", 149), outcome("Fine_VGG", 10)),
    }
    rows = rows_of(grid.seconds_table(pairs, "reference loop", has_goals=True))
    assert rows["CNN"] == ["18.0", "10.0", "1.80", "", ""]
    assert rows["trained from scratch"][2:] == ["1.80", "1.8", "yes"]
    assert rows["frozen"][2:] == ["14.90", "15", "no"]
    assert rows["grid"] == ["167.0", "20.0", "8.35", "5", "yes"]
    without = rows_of(grid.seconds_table(pairs, "`--compile`", has_goals=False))
    assert without["grid"] == ["167.0", "20.0", "8.35", "", ""]


def test_the_largest_memory_of_all_models_is_judged():
    pairs = {
        "CNN": grid.Pair(outcome("CNN", 1, 4), outcome("CNN", 1, 1)),
        "VGG": grid.Pair(outcome("VGG", 1, 8), outcome("VGG", 1, 5)),
    }
    rows = rows_of(grid.memory_table(pairs, "reference loop", has_goals=True))
    assert rows["CNN"] == ["4.00", "1.00", "0.25", "0.5", "yes"]
    assert rows["largest"] == ["8.00", "5.00", "0.62", "0.5", "no"]


@pytest.mark.parametrize(
    ("ours", "is_inside"),
    [((55, 45, 65), True), ((61, 45, 70), False), ((55, 51, 60), False), ((60, 50, 70), True)],
)
def test_each_score_must_lie_in_the_interval_of_the_other(ours, is_inside):
    pair = grid.Pair(outcome("CNN", 1), outcome("CNN", 1, macro_f1=ours))
    assert grid.cells(pair)["Inside"].tolist() == [is_inside] * 4
    assert grid.inside({"CNN": pair, "VGG": pair}) == f"{8 * is_inside} of 8"
    rows = rows_of(grid.scores_table({"CNN": pair}, "reference loop"))
    assert rows["CNN, Fusar"][0] == "50.0 [40.0, 60.0]" and "CNN, Mixed" in rows
    assert rows["CNN, all training and test sets"][2] == f"{4 * is_inside} of 4"


def test_sides_that_did_not_do_the_same_are_no_pair():
    ours = outcome("CNN", 1)
    fewer = grid.Outcome(ours.took, ours.scores.iloc[:-1])
    with pytest.raises(ValueError, match="same sets"):
        grid.cells(grid.Pair(outcome("CNN", 1), fewer))


def test_both_sides_get_the_same_recipe(tmp_path):
    wanted = grid.Pass(["VGG"], 7, 48, lambda model: f"{model}.pt")
    reference, ours, changed = (
        grid.Side("any", tmp_path, 5, switches).command("VGG", wanted) for switches in (None, (), ("--compile",))
    )
    assert reference[1].endswith("reference.py") and ours[1].endswith("test_models.py")
    for words in ("--models VGG", "--epochs 7", "--batch-size 48", "--backbone VGG.pt", f"--out {tmp_path}"):
        assert words in " ".join(reference) and words in " ".join(ours)
    assert "--seed 5" in " ".join(reference) and "--seeds 5" in " ".join(ours)
    assert changed == [*ours, "--compile"]


@pytest.mark.parametrize("given", [["--write", "--vs=--compile"], ["--write", "--models", "CNN"]])
def test_the_readme_shows_the_whole_grid_only(given, capsys):
    with pytest.raises(SystemExit):
        grid.options(given)
    assert "--write" in capsys.readouterr().err


def test_what_was_done_before_is_not_timed(tmp_path, capsys):
    (tmp_path / "scores.csv").touch()
    with pytest.raises(SystemExit):
        grid.options(["--workdir", str(tmp_path)])
    assert "not empty" in capsys.readouterr().err


def test_it_runs_and_reports_what_ran(tmp_path, capsys, monkeypatch):
    measured, measure = [], grid.measure
    monkeypatch.setattr(grid, "measure", lambda *given: measured.append(measure(*given)) or measured[-1])
    given = ["--size", "32", "--chips", "40", "--epochs", "1", "--batch-size", "8", "--models", "CNN"]
    grid.main([*given, "--memory-size", "0", "--no-next-seed", "--workdir", str(tmp_path / "work")])
    text = capsys.readouterr().out
    _, reference, ours, *_ = measured  # after dataset_prep.py; the reference goes first for the first model
    rows = rows_of(text)
    assert rows["grid"][:2] == [f"{reference.seconds:.1f}", f"{ours.seconds:.1f}"]
    assert rows["largest"][:2] == [grid.gib(reference.peak_bytes), grid.gib(ours.peak_bytes)]
    (table,) = (tmp_path / "work").glob("*/scores.csv")
    scores = pd.read_csv(table).set_index(["Trained", "Tested"])
    own = scores.loc[("Mixed", "Mixed")]
    assert rows["CNN, Mixed"][1] == f"{own['MacroF1']:.1f} [{own['MacroF1_low']:.1f}, {own['MacroF1_high']:.1f}]"
    assert re.search(r"32 x 32 pixels, 1 epochs.*Mixed \d+ \+ \d+ \+ \d+", text)
