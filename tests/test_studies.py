"""The study files: every key is an option, and the runs are those of the published tables."""

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import compare_scores
import dataset_prep
import grad_cams
import test_models
from models import MODELS
from sarship.losses import LOSSES
from sarship.planning import plan
from sarship.prepared import write_manifest
from sarship.protocols import STRICT
from sarship.sampling import SAMPLERS
from tests.small import bar_chip, make_prepared, write_chip

FOLDER = Path(__file__).resolve().parent.parent / "studies"
STUDIES = sorted(FOLDER.glob("*.toml"))
COMMANDS = {
    "dataset_prep": dataset_prep,
    "test_models": test_models,
    "grad_cams": grad_cams,
    "compare_scores": compare_scores,
}
DATA = {"Fusar": "a", "OpenSARShip": "b", "Mixed": "c"}


def runs_of(study: str) -> list:
    chosen = test_models.options(["--study", str(FOLDER / study)])
    return plan(chosen, MODELS, DATA, ["Cargo", "Fishing", "Tanker"])


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_key_of_every_study_is_an_option(study):
    for command in tomllib.loads(study.read_text()):
        COMMANDS[command].options(["--study", str(study)])


def test_there_is_a_demo_of_every_study():
    names = {path.stem for path in STUDIES} - {"demo"}
    full = {name for name in names if not name.startswith("demo_")}
    assert names == full | {f"demo_{name}" for name in full}
    assert full == {"unbalanced", "transfer", "losses", "flaws"}


@pytest.mark.parametrize(("study", "published"), [("unbalanced", 15), ("transfer", 135)])
@pytest.mark.parametrize("prefix", ["", "demo_"])
def test_the_tables_have_the_rows_of_the_published_ones(study, published, prefix):
    table = pd.read_csv(FOLDER / "published" / f"{study}_scores.csv")
    wanted = set(zip(table["Trained"], table["Model"], strict=True))
    assert len(table) == published
    for protocol in ("strict", "published"):
        runs = [run for run in runs_of(f"{prefix}{study}.toml") if run.settings["protocol"] == protocol]
        assert {(run.trained, run.model) for run in runs if run.model in MODELS} == wanted


@pytest.mark.parametrize("prefix", ["", "demo_"])
def test_the_loss_study_has_every_loss_with_every_sampler(prefix):
    runs = [run for run in runs_of(f"{prefix}losses.toml") if run.model in MODELS and run.seed == 1]
    combinations = {(run.settings["loss"], run.settings["sampler"]) for run in runs}
    assert combinations == {(loss, sampler) for loss in LOSSES for sampler in SAMPLERS}


@pytest.mark.parametrize("prefix", ["", "demo_"])
def test_the_flaw_study_turns_each_flaw_from_both_sides(prefix):
    runs = runs_of(f"{prefix}flaws.toml")
    for protocol in ("strict", "published"):
        turned = [run.changed for run in runs if run.settings["protocol"] == protocol and run.trained == "Fusar+Mixed"]
        assert set(turned) == {(), *((name,) for name in STRICT)}


def test_list_prints_the_runs_and_what_is_done(tmp_path, capsys):
    out = make_prepared(tmp_path, ("Fusar",))
    words = ["--out", str(out), "--models", "CNN", "--epochs", "1", "--no-baselines", "--no-figures"]
    test_models.main([*words, "--list"])
    assert capsys.readouterr().out == "to do  CNN_Fusar\n0 of 1 runs are done\n"
    assert not (out / "trained_models").exists(), "a list writes nothing"
    test_models.main(words)
    capsys.readouterr()
    test_models.main([*words, "--seeds", "1", "2", "--list"])
    assert capsys.readouterr().out == "done   CNN_Fusar\nto do  CNN_Fusar_seed2\n1 of 2 runs are done\n"


def test_a_random_split_scores_above_a_vessel_split_where_vessels_recur(tmp_path):
    """A ship's look says nothing of its class here, so whoever scores above chance knows the vessel again.

    40 vessels, each a bar of its own length and place, 6 chips each, of a class drawn for the vessel.
    """
    generator = np.random.default_rng(1)
    split_of = np.array(["train"] * 28 + ["val"] * 4 + ["test"] * 8)
    rows = []
    for vessel in range(40):
        kind = ("Cargo", "Tanker")[vessel % 2]
        half_length, shift = generator.integers(2, 14), generator.integers(-8, 9, 2)
        for index in range(6):
            chip = np.roll(bar_chip(half_length, 32, generator), shift, axis=(0, 1))
            name = {"chip": f"{vessel}_{index}", "class": kind, "vessel": str(vessel), "split": split_of[vessel]}
            rows.append(write_chip(tmp_path / "prepared" / "Fusar", "Fusar", name, chip))
    write_manifest(tmp_path / "prepared" / "Fusar" / "manifest.csv", pd.DataFrame(rows))
    words = ["--out", str(tmp_path), "--models", "CNN", "--epochs", "15", "--augment", "none"]
    words += ["--no-figures", "--no-baselines"]
    test_models.main(words)
    test_models.main([*words, "--random-split"])
    table = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    of_flaw = table.set_index("Flaws")
    assert of_flaw.loc["random-split", "MacroF1_low"] > of_flaw.loc["", "MacroF1_high"]
