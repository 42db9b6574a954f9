"""The demo, as `make demo` runs it: simulated archives in, heatmaps out, and what it claims.

The only slow tests (some minutes on two cores). To save minutes, three of the five networks are trained, as the demo
trains them, and on Mixed only; they and HOG_SVM are tested on all three vessel-disjoint test sets.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sarship.baselines import hog_svm
from sarship.prepared import list_datasets, read_dataset

ROOT = Path(__file__).resolve().parent.parent
DATASETS = ["Fusar", "OpenSARShip", "Mixed"]
NETWORKS = ["CNN", "VGG", "ResNet"]


def run(command: str, out: Path, *words: str) -> str:
    call = [sys.executable, f"{command}.py", "--study", "studies/demo.toml", "--out", str(out), *words]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    run("dataset_prep", out)
    return out


@pytest.fixture(scope="module")
def scores(prepared) -> pd.DataFrame:
    run("test_models", prepared, "--models", *NETWORKS, "--trained", "Mixed")
    return pd.read_csv(prepared / "scores.csv")


def test_all_three_sets_and_no_vessel_in_two_splits(prepared):
    assert list_datasets(prepared) == DATASETS
    mixed = read_dataset(prepared, "Mixed").manifest
    known = mixed[mixed["vessel"] != ""]
    assert known.groupby("vessel")["split"].nunique().max() == 1
    assert known.groupby("vessel")["dataset"].nunique().max() == 2, "some vessels are in both data sets"


def test_preparing_again_gives_the_same_manifest_bytes(prepared, tmp_path):
    run("dataset_prep", tmp_path)
    for name in DATASETS:
        path = Path("prepared") / name / "manifest.csv"
        assert (prepared / path).read_bytes() == (tmp_path / path).read_bytes()


@pytest.mark.parametrize("tested", DATASETS)
@pytest.mark.parametrize("model", [*NETWORKS, "HOG_SVM"])
def test_networks_and_hog_svm_beat_majority_outside_the_interval(scores, model, tested):
    on_set = scores[scores["Tested"] == tested].set_index("Model")
    assert on_set.loc[model, "MacroF1_low"] > on_set.loc["Majority", "MacroF1_high"]


def test_training_again_gives_the_same_figures(scores, prepared, tmp_path):
    """One of the runs, in a folder of its own: the others would take minutes more."""
    (tmp_path / "prepared").symlink_to(prepared / "prepared")
    run("test_models", tmp_path, "--models", "CNN", "--trained", "Mixed", "--no-baselines")
    again = pd.read_csv(tmp_path / "scores.csv").drop(columns="Seconds")
    first = scores[scores["Model"] == "CNN"].drop(columns="Seconds").reset_index(drop=True)
    pd.testing.assert_frame_equal(again, first)


def test_shuffled_labels_give_chance(prepared):
    """Balanced accuracy of a classifier that knows nothing of the class is one third, whatever the imbalance.

    Mean over 8 shuffles of the training labels, tested on true labels; three standard errors of that mean.
    """
    fusar = read_dataset(prepared, "Fusar")
    labels = {split: fusar.labels(split, fusar.classes) for split in ("train", "val", "test")}
    pixels = {split: fusar.pixels(split)[:, ::2, ::2] for split in labels}

    def balanced_accuracy(train: np.ndarray, val: np.ndarray) -> float:
        test_pixels = {"test": pixels["test"]}
        answers = hog_svm(pixels["train"], train, pixels["val"], val, test_pixels, 3, seed=1)["test"].argmax(1)
        return float(np.mean([(answers[labels["test"] == kind] == kind).mean() for kind in range(3)]))

    generator = np.random.default_rng(1)
    shuffles = [
        balanced_accuracy(generator.permutation(labels["train"]), generator.permutation(labels["val"]))
        for _ in range(8)
    ]
    assert abs(np.mean(shuffles) - 1 / 3) < 3 * np.std(shuffles, ddof=1) / np.sqrt(len(shuffles))
    assert balanced_accuracy(labels["train"], labels["val"]) > max(shuffles), "and the true labels give more"


def test_heatmaps_and_attention(scores, prepared):
    text = run("grad_cams", prepared, "--models", "CNN", "ResNet", "--chips-per-class", "2")
    assert "ResNet" in text
    for stem in ("CNN_Mixed", "ResNet_Mixed"):
        for tested in DATASETS:
            folder = prepared / "Exp_images" / tested / stem
            assert len(list(folder.glob("*_o*.png"))) == len(list(folder.glob("*_hm*.png"))) == 6
    attention = pd.read_csv(prepared / "Exp_images" / "attention.csv")
    assert len(attention) == 2 * 3 * 6
    assert attention["energy_on_ship"].dropna().between(0, 1).all()
