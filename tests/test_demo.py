"""The demo, as `make demo` runs it but for the two VGGs: simulated archives in, heatmaps out, and what it claims.

The only slow tests (some minutes on two cores): networks are trained as the demo trains them.
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
NETWORKS = ["CNN", "ResNet", "Fine_ResNet"]


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
    run("test_models", prepared, "--models", *NETWORKS)
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
    own = scores[(scores["Trained"] == tested) & (scores["Tested"] == tested)].set_index("Model")
    assert own.loc[model, "MacroF1_low"] > own.loc["Majority", "MacroF1_high"]


def test_training_again_gives_the_same_figures(scores, prepared, tmp_path):
    """One of the runs, in a folder of its own: the others would take minutes more."""
    (tmp_path / "prepared").symlink_to(prepared / "prepared")
    run("test_models", tmp_path, "--models", "CNN", "--trained", "OpenSARShip", "--no-baselines")
    again = pd.read_csv(tmp_path / "scores.csv").drop(columns="Seconds")
    first = scores[(scores["Model"] == "CNN") & (scores["Trained"] == "OpenSARShip")].drop(columns="Seconds")
    pd.testing.assert_frame_equal(again, first.reset_index(drop=True))


def test_shuffled_labels_give_chance(prepared):
    """Balanced accuracy of a classifier that knows nothing of the class is one third, whatever the imbalance.

    Mean over 20 shuffles of the training labels, tested on true labels; three standard errors of that mean.
    """
    mixed = read_dataset(prepared, "Mixed")
    train, val, test = (mixed.labels(split, mixed.classes) for split in ("train", "val", "test"))
    train_pixels, val_pixels, test_pixels = (mixed.pixels(split)[:, ::2, ::2] for split in ("train", "val", "test"))

    def balanced_accuracy(seed: int) -> float:
        generator = np.random.default_rng(seed)
        shuffled, shuffled_val = generator.permutation(train), generator.permutation(val)
        answers = hog_svm(train_pixels, shuffled, val_pixels, shuffled_val, {"test": test_pixels}, 3, seed)["test"]
        return float(np.mean([(answers.argmax(1)[test == kind] == kind).mean() for kind in range(3)]))

    values = np.array([balanced_accuracy(seed) for seed in range(20)])
    assert abs(values.mean() - 1 / 3) < 3 * values.std(ddof=1) / np.sqrt(len(values))


def test_heatmaps_and_attention(scores, prepared):
    text = run("grad_cams", prepared, "--models", "CNN", "Fine_ResNet", "--trained", "Fusar", "--chips-per-class", "2")
    assert "Fine_ResNet" in text
    for stem in ("CNN_Fusar", "Fine_ResNet_Fusar"):
        for tested in DATASETS:
            folder = prepared / "Exp_images" / tested / stem
            assert len(list(folder.glob("*_o*.png"))) == len(list(folder.glob("*_hm*.png"))) == 6
    attention = pd.read_csv(prepared / "Exp_images" / "attention.csv")
    assert len(attention) == 2 * 3 * 6
    assert attention["energy_on_ship"].dropna().between(0, 1).all()
