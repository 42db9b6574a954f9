"""The study files: every key is an option, and the runs are those of the published tables."""

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import compare_scores
import dataset_prep
import detect_changes
import grad_cams
import interpret
import predict
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
    "predict": predict,
    "interpret": interpret,
    "detect_changes": detect_changes,
}
# First words of a command with parts that need nothing else; the table of a study is for all of them.
PARTS = {"detect_changes": ("simulate", "import", "train", "inject", "evaluate", "conditions")}
DATA = {"Fusar": "a", "OpenSARShip": "b", "Mixed": "c"}
TABLES = {path: tomllib.loads(path.read_text()) for path in STUDIES}
SCENES = [path for path, tables in TABLES.items() if "scenes" in tables.get("dataset_prep", {})]
REFERENCES = {
    path: tables["compare_scores"]["reference"]
    for path, tables in TABLES.items()
    if "reference" in tables.get("compare_scores", {})
}
# Train percent, data set: the rows of the published table.
LAND_USE = {
    "land_use": ("UC Merced", 80),
    "land_use_aid_50": ("AID", 50),
    "land_use_aid_70": ("AID", 70),
    "land_use_nwpu_20": ("NWPU-RESISC45", 20),
    "land_use_nwpu_30": ("NWPU-RESISC45", 30),
}


def runs_of(study: str, *words: str, data: dict[str, str] = DATA) -> list:
    chosen = test_models.options(["--study", str(FOLDER / study), *words])
    return plan(chosen, MODELS, data, ["Cargo", "Fishing", "Tanker"])


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_key_of_every_study_is_an_option(study):
    for command in TABLES[study]:
        for part in PARTS.get(command, (None,)):
            COMMANDS[command].options([*([part] if part else []), "--study", str(study)])


def commands_in_comments(study: Path) -> list[list[str]]:
    """The words of each command line that the study's head shows."""
    shown = re.findall(r"^# {5}(python .*)", study.read_text(), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in shown]


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_command_line_in_a_study_can_be_typed(study, monkeypatch):
    monkeypatch.chdir(FOLDER.parent)
    for _, script, *words in commands_in_comments(study):
        COMMANDS[script.removesuffix(".py")].options(words)


def test_there_is_a_demo_of_every_study_of_ships():
    names = {path.stem for path in set(STUDIES) - set(SCENES)} - {"demo"}
    full = {name for name in names if not name.startswith("demo_")}
    assert names == full | {f"demo_{name}" for name in full}
    assert full == {"unbalanced", "transfer", "losses", "flaws", "change_detection"}


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


@pytest.mark.parametrize("study", LAND_USE)
def test_the_land_use_studies_are_the_published_recipe(study):
    table = pd.read_csv(FOLDER / "published" / "improved_cross_entropy.csv")
    assert LAND_USE[study] in set(zip(table["dataset"], table["train_percent"], strict=True))
    prepared = dataset_prep.options(["--study", str(FOLDER / f"{study}.toml")])
    assert (prepared.train_percent, prepared.size, prepared.bands) == (LAND_USE[study][1], 256, "rgb")
    runs = runs_of(f"{study}.toml", data={"Set": "a"})
    assert [(run.settings["loss"], run.settings["redeal"]) for run in runs] == [
        (loss, seed) for seed in range(1, 6) for loss in ("cross_entropy", "improved_cross_entropy")
    ]
    recipe = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 1e-3, "final_learning_rate": 1e-4}
    recipe |= {"batch_size": 32, "augment": "land_use", "freeze_to": "input", "backbone": "imagenet"}
    for run in runs:
        assert run.model == "NASNetMobile"
        assert {name: run.settings[name] for name in recipe} == recipe


def test_every_published_ratio_has_a_study():
    table = pd.read_csv(FOLDER / "published" / "improved_cross_entropy.csv")
    assert set(zip(table["dataset"], table["train_percent"], strict=True)) == set(LAND_USE.values())


@pytest.mark.parametrize("study", REFERENCES, ids=lambda path: path.stem)
def test_studies_compare_with_a_run_that_they_make(study, monkeypatch):
    """And no two of their commands make a run of one name with different settings."""
    monkeypatch.chdir(FOLDER.parent)
    runs: dict[str, dict] = {}
    for _, script, *words in commands_in_comments(study):
        if script == "test_models.py":
            for run in runs_of(study.name, *words, data={"Set": "a"}):
                assert runs.setdefault(run.stem, run.settings) == run.settings
    (model,) = {stem.split("_")[0] for stem in runs}
    assert f"{model}_Set_{REFERENCES[study]}" in runs
    assert len(runs) > 3


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
