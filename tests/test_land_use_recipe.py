"""Command 2 (test_models.py) with the options of land-use studies, run as a user runs it, on small colour scenes."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import compare_scores
import one_run
import test_models
from models import load_trained
from sarship import epochs, training
from sarship.command import UserError
from sarship.device import choose_device
from sarship.prepared import read_dataset, write_manifest
from sarship.resplit import views
from sarship.runs import read_run
from sarship.scores import FIRST_COLUMNS, LAST_COLUMNS, read_predictions
from sarship.training import predict
from tests.small import write_chip

SCENE_CLASSES = ("beach", "forest", "river")
SCENE_COUNTS = {"train": 16, "val": 4, "test": 6}  # scenes of each class


def run(out: Path, *words: object) -> None:
    test_models.main([*map(str, words), "--out", str(out)])


def make_scenes(out: Path, name: str = "UCMerced", **columns: str) -> Path:
    """Write prepared/<name>/ below `out`: noise in which one band is brighter, another for each class."""
    generator = np.random.default_rng(0)
    rows = []
    for split, count in SCENE_COUNTS.items():
        for band, kind in enumerate(SCENE_CLASSES):
            for index in range(count):
                pixels = generator.integers(0, 120, (32, 32, 3)).astype(np.uint8)
                pixels[..., band] += 40
                named = {"chip": f"{kind}_{split}_{index}", "split": split, "class": kind, **columns}
                rows.append(write_chip(out / "prepared" / name, name, named, pixels))
    write_manifest(out / "prepared" / name / "manifest.csv", pd.DataFrame(rows))
    return out


SCENE_WORDS = ["--models", "CNN", "--epochs", "2", "--precision", "float32", "--no-figures", "--no-baselines"]


def model_file(out: Path, variant: str) -> dict:
    return read_run(out / "trained_models" / f"CNN_UCMerced_{variant}.pt")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """Trained with the whole recipe at once, over two deals, and once as ever."""
    out = make_scenes(tmp_path_factory.mktemp("scenes"))
    run(out, *SCENE_WORDS)
    words = ["--optimizer", "sgd", "--final-learning-rate", "1e-4", "--augment", "land_use", "--redeal"]
    words += ["--train-chips", "8", "--imbalance", "4", "--dropout", "0.2", "--no-batch-norm", "--baselines"]
    words += ["--freeze-to", "3", "--backbone", "random", "--seeds", "1", "2"]
    run(out, *SCENE_WORDS, *words)
    return out


RECIPE = "augment-land_use_sgd_final-rate-0.0001_freeze-to-3_dropout-0.2_no-batch-norm_redeal_train-chips-8_imbalance-4"


def test_a_run_with_every_newer_option_is_told_apart_and_scored(scenes):
    table = pd.read_csv(scenes / "scores.csv", keep_default_na=False)
    assert set(zip(table["Model"], table["Seed"], table["Variant"], strict=True)) == {
        ("CNN", 1, ""),
        *(("CNN", seed, RECIPE) for seed in (1, 2)),
        *(("Majority", seed, "redeal_train-chips-8_imbalance-4") for seed in (1, 2)),  # HOG_SVM is for ships
    }
    (changed,) = set(table.loc[table["Variant"] == RECIPE, "Changed"])
    wanted = "augment optimizer final_learning_rate freeze_to dropout batch_norm redeal train_chips imbalance"
    assert changed == wanted
    assert set(table["TestChips"]) == {3 * SCENE_COUNTS["test"]}
    columns = [column for column in table if "-" not in column]
    assert columns == [*FIRST_COLUMNS, *LAST_COLUMNS], "the columns stay"


def test_what_the_model_file_says_is_there_when_it_was_used(scenes):
    made = model_file(scenes, RECIPE)["meta"]
    assert made["batch_norm"] is False
    assert made["settings"]["redeal"] == 1
    plain = read_run(scenes / "trained_models" / "CNN_UCMerced.pt")["meta"]
    assert "batch_norm" not in plain
    assert not set(plain["settings"]) & {"redeal", "optimizer", "dropout", "freeze_to", "train_chips", "imbalance"}


def test_it_loads_again_and_answers_the_same(scenes):
    path = scenes / "trained_models" / f"CNN_UCMerced_{RECIPE}.pt"
    network, meta = load_trained(path)
    view = views({"UCMerced": read_dataset(scenes, "UCMerced")})(meta["settings"])
    answers = predict(network, view["UCMerced"].pixels("test"), choose_device("cpu", "float32"))
    assert answers == pytest.approx(read_run(path)["tests"]["UCMerced"].numpy(), abs=1e-5)
    assert not any("BatchNorm" in type(layer).__name__ for layer in network.modules())


def test_each_seed_was_tested_on_its_own_deal_and_the_comparison_takes_both(scenes, capsys):
    tested = {
        result.seed: set(result.chips)
        for result in read_predictions(scenes / "predictions.csv")
        if result.variant == RECIPE
    }
    assert tested[1] != tested[2]
    compare_scores.main(["--out", str(scenes), "--reference", RECIPE])
    assert "## Against" in capsys.readouterr().out


def test_the_training_set_is_thinned_and_nothing_else(scenes, monkeypatch):
    seen = []

    def watched(network, train, val, *rest):
        seen.append((np.bincount(train.labels).tolist(), np.bincount(val.labels).tolist()))
        return training.fit(network, train, val, *rest)

    monkeypatch.setattr(one_run, "fit", watched)
    run(scenes, *SCENE_WORDS, "--train-chips", "8", "--imbalance", "4")
    assert seen == [([8, 4, 2], [4, 4, 4])]


def test_layers_up_to_the_named_one_keep_their_weights(tmp_path):
    """All of them start from the model file; those up to layer 3, and no other, end as they started."""
    out = make_scenes(tmp_path)
    run(out, *SCENE_WORDS)
    base = shutil.copy(out / "trained_models" / "CNN_UCMerced.pt", tmp_path / "base.pt")
    start = read_run(Path(base))["state"]
    for layer, frozen in (("input", 0), ("3", 4), ("all", 12)):
        run(out, *SCENE_WORDS, "--freeze-to", layer, "--backbone", base, "--augment", "none")
        state = model_file(out, f"augment-none_freeze-to-{layer}")["state"]
        learnt = {int(key.split(".")[1]) for key in state if key.startswith("features.") and key.endswith("weight")}
        kept = {
            place for place in learnt if torch.equal(*(each[f"features.{place}.weight"] for each in (state, start)))
        }
        assert kept == {place for place in learnt if place < frozen}
        assert torch.equal(state["input_mean"], start["input_mean"])
    assert start["input_mean"].flatten().unique().numel() == 3, "each band has its own scaling"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--augment sar", "--augment sar: .* UCMerced has chips in colour"),
        ("--freeze-to features.3 --backbone random", "--freeze-to features.3: there is no such layer"),
        ("--freeze-to input", "no ImageNet weights of CNN"),
        ("--models ResNet --freeze-to input --no-batch-norm", "--no-batch-norm: ImageNet weights of ResNet need it"),
        ("--models VGG --dropout 0.5", "--dropout 0.5: the head of VGG has no dropout"),
        ("--models ViT --protocol published", "--heads published: ViT is of no published study"),
    ],
)
def test_what_does_not_go_with_colour_or_the_network_is_refused_first(tmp_path, words, message):
    out = make_scenes(tmp_path)
    with pytest.raises(UserError, match=message):
        run(out, *SCENE_WORDS, *words.split())
    assert not (out / "trained_models").exists()


def test_known_scenes_are_not_torn_apart(tmp_path):
    out = make_scenes(tmp_path, scene="32TPT")
    with pytest.raises(UserError, match="--redeal: chips of one scene of UCMerced"):
        run(out, *SCENE_WORDS, "--redeal")
    assert not (out / "trained_models").exists()


def test_a_killed_run_of_the_recipe_goes_on_to_the_same_figures(tmp_path, monkeypatch):
    out = make_scenes(tmp_path)
    words = [*SCENE_WORDS, "--optimizer", "sgd", "--augment", "land_use", "--redeal", "--epochs", "3"]
    monkeypatch.setattr(epochs, "LARGEST_SAVING_SHARE", 1e9)
    run_epoch, calls = training._Epochs.run, []

    def killed(self, epoch):
        calls.append(epoch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return run_epoch(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(training._Epochs, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            run(out, *words)
        run(out, *words)
    assert calls == [1, 2, 3, 3]
    resumed = (out / "predictions.csv").read_bytes()
    other = make_scenes(tmp_path / "whole")
    run(other, *words)
    assert (other / "predictions.csv").read_bytes() == resumed
