"""Each flaw of the published code leaves its own signature, and `strict` leaves none. Through the command."""

import numpy as np
import pandas as pd
import pytest
import torch

import grad_cams
import test_models
from sarship.prepared import read_dataset
from sarship.protocols import SWITCHES
from sarship.runs import read_run
from sarship.scores import read_predictions, score
from tests.small import CLASSES, COUNTS, make_prepared

SETS = ("Fusar", "OpenSARShip", "Mixed")
CHAIN = "Fusar+OpenSARShip"
QUICK = ["--epochs", "2", "--batch-size", "30", "--precision", "float32", "--no-baselines", "--no-figures"]
SPLIT_FLAWS = ("inverted_split", "random_split", "overlapping_mix", "last_epoch")


def run(out, *words: str) -> pd.DataFrame:
    test_models.main([*QUICK, *words, "--out", str(out)])
    return pd.read_csv(out / "scores.csv", keep_default_na=False)


def weights(out, stem: str) -> dict[str, torch.Tensor]:
    return dict(read_run(out / "trained_models" / f"{stem}.pt")["state"])


def moved(before: dict, after: dict) -> set[str]:
    return {key for key, value in before.items() if not torch.equal(value, after[key])}


def buffers(state: dict) -> set[str]:
    return {key for key in state if key.endswith(("running_mean", "running_var", "num_batches_tracked"))}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """CNN, strict, with every flaw alone, and published; on three sets and a chain."""
    out = make_prepared(tmp_path_factory.mktemp("flaws"), SETS)
    words = ["--models", "CNN", "--trained", *SETS, CHAIN, "--one-at-a-time"]
    run(out, *words)
    return out, run(out, "--models", "CNN", "--trained", *SETS, CHAIN, "--protocol", "published")


def rows(table: pd.DataFrame, variant: str) -> pd.DataFrame:
    return table[table["Variant"] == variant].set_index(["Trained", "Tested"])


def test_every_flaw_is_recorded_and_strict_has_none(done):
    _, table = done
    names = [name.replace("_", "-") for name in SWITCHES]
    for name in names:
        assert set(rows(table, name)["Flaws"]) == {name}
        assert set(rows(table, name)["Protocol"]) == {"strict"}
    assert set(rows(table, "")["Flaws"]) == {""}
    assert set(rows(table, "published")["Flaws"]) == {" ".join([*names, "published-heads"])}
    assert set(rows(table, "published")["Loss"]) == {"cross_entropy"}


def test_inverted_split_tests_on_what_should_train(done):
    _, table = done
    per_class = {"": COUNTS["test"], "inverted-split": COUNTS["train"], "published": COUNTS["train"] + COUNTS["val"]}
    for variant in ("", "inverted-split"):
        assert (rows(table, variant).loc[("Fusar", "Fusar"), "TestChips"]) == per_class[variant] * len(CLASSES)
    whole = sum(COUNTS.values()) * len(CLASSES)
    assert rows(table, "published").loc[("Fusar", "Fusar"), "TestChips"] == pytest.approx(0.8 * whole, abs=2)


def test_random_split_tests_on_vessels_that_it_trained_on(done):
    out, _ = done
    vessels_tested = {}
    for result in read_predictions(out / "predictions.csv"):
        if (result.trained, result.tested) == ("Fusar", "Fusar"):
            vessels_tested[result.variant] = set(result.vessels)
    manifest = read_dataset(out, "Fusar").manifest
    train_vessels = set(manifest.loc[manifest["split"] == "train", "vessel"])
    assert not vessels_tested[""] & train_vessels
    chips_of = manifest.groupby("vessel")["chip"].count()
    tested = next(set(r.chips) for r in read_predictions(out / "predictions.csv") if r.variant == "random-split")
    in_both = [
        vessel
        for vessel in vessels_tested["random-split"]
        if len(tested & set(manifest.loc[manifest["vessel"] == vessel, "chip"])) < chips_of[vessel]
    ]
    assert len(in_both) > len(vessels_tested["random-split"]) / 2, "one chip of the vessel tested, the other not"


def test_overlapping_mix_tests_on_chips_that_another_set_trained_on(done):
    out, _ = done
    trained_on = {(row["dataset"], row["chip"]) for row in read_dataset(out, "Fusar").rows("train").to_dict("records")}
    overlap = {}
    for result in read_predictions(out / "predictions.csv"):
        if result.trained == "Fusar" and result.tested == "Mixed" and result.variant in ("", "overlapping-mix"):
            overlap[result.variant] = {("Fusar", chip) for chip in result.chips} & trained_on
    assert not overlap[""]
    assert len(overlap["overlapping-mix"]) > 5


def test_test_time_flip_changes_the_answers_and_not_the_weights(done):
    out, _ = done
    for trained in SETS:
        assert not moved(weights(out, f"CNN_{trained}"), weights(out, f"CNN_{trained}_test-time-flip"))
    results = {
        r.variant: r for r in read_predictions(out / "predictions.csv") if (r.trained, r.tested) == ("Fusar", "Fusar")
    }
    assert not np.allclose(results[""].probabilities, results["test-time-flip"].probabilities)
    assert np.array_equal(results[""].probabilities, results["own-rows-scores"].probabilities)


def test_carried_weights_are_those_of_the_set_before(tmp_path):
    """At a learning rate of next to nothing, where a run starts is where it ends."""
    out = make_prepared(tmp_path, ("Fusar", "OpenSARShip"))
    words = ["--models", "CNN", "--learning-rate", "1e-12"]
    run(out, *words)
    run(out, *words, "--carry-weights-over")
    for variant, carried in (("", False), ("_carry-weights-over", True)):
        suffix = f"{variant}_rate-1e-12"
        first, second = (weights(out, f"CNN_{name}{suffix}") for name in ("Fusar", "OpenSARShip"))
        kernels = [key for key in first if key.endswith("weight") and first[key].dim() > 1]
        close = [torch.allclose(first[key], second[key], atol=1e-6) for key in kernels]
        scaled_alike = torch.equal(first["input_mean"], second["input_mean"])
        assert (all(close) and scaled_alike) == carried


def test_fine_tuning_moves_the_head_of_the_copy_that_is_tested_and_the_flaw_moves_nothing(done):
    out, table = done
    base, tuned = weights(out, "CNN_Fusar"), weights(out, f"CNN_{CHAIN}")
    parameters = set(base) - buffers(base)
    head = {key for key in parameters if key.startswith("classifier.")}
    assert moved(base, tuned) == head, "all of the head and nothing else"
    before, after = weights(out, "CNN_Fusar_detached-finetune"), weights(out, f"CNN_{CHAIN}_detached-finetune")
    assert not moved(before, after)
    flawed = rows(table, "detached-finetune")
    for tested in SETS:
        assert flawed.loc[("Fusar", tested), "MCC"] == flawed.loc[(CHAIN, tested), "MCC"]


def test_drifting_batchnorm_moves_the_buffers_of_frozen_layers(done):
    out, _ = done
    before, after = weights(out, "CNN_Fusar_drifting-batchnorm"), weights(out, f"CNN_{CHAIN}_drifting-batchnorm")
    assert {key for key in moved(before, after) if key.startswith("features.")} == buffers(before)
    strict = moved(weights(out, "CNN_Fusar"), weights(out, f"CNN_{CHAIN}"))
    assert not {key for key in strict if key.startswith("features.")}


@pytest.mark.parametrize("unfreeze", ["last1", "all"])
def test_unfrozen_stages_move_too(done, unfreeze):
    out, _ = done
    run(out, "--models", "CNN", "--trained", CHAIN, "--unfreeze", unfreeze)
    changed = moved(weights(out, "CNN_Fusar"), weights(out, f"CNN_{CHAIN}_unfreeze-{unfreeze}"))
    layers = {int(key.split(".")[1]) for key in changed if key.startswith("features.")}
    assert layers == ({8, 9} if unfreeze == "last1" else {0, 1, 4, 5, 8, 9})


def test_own_rows_make_every_precision_100_or_0(done):
    _, table = done
    flawed, strict = rows(table, "own-rows-scores"), rows(table, "")
    for prefix in "CFT":
        assert set(flawed[f"{prefix}-Precision"].astype(float)) <= {0.0, 100.0}
        assert (flawed[f"{prefix}-Accuracy"] == flawed[f"{prefix}-Recall"]).all()
        assert (flawed[f"{prefix}-Recall"] == strict[f"{prefix}-Recall"]).all()
    assert (flawed["MacroF1"] == strict["MacroF1"]).all()


def test_last_epoch_trains_on_val_and_keeps_the_last(done):
    out, _ = done
    flawed = read_run(out / "trained_models" / "CNN_Fusar_last-epoch.pt")
    assert flawed["meta"]["picked_epoch"] == flawed["meta"]["epochs"] == 2
    assert [row["val_macro_f1"] for row in flawed["history"]] == [None, None]
    assert all(row["val_macro_f1"] is not None for row in read_run(out / "trained_models" / "CNN_Fusar.pt")["history"])


def test_published_heads(done):
    out, _ = done
    assert weights(out, "CNN_Fusar_published-heads")["classifier.1.weight"].shape == (4096, 256 * 4 * 4)
    assert weights(out, "CNN_Fusar")["classifier.2.weight"].shape == (256, 256 * 4 * 4)


def test_every_figure_comes_again_from_predictions_with_the_flaws_of_its_row(done):
    out, _ = done
    table = pd.read_csv(out / "scores.csv", keep_default_na=False)
    key = ["Trained", "Tested", "Model", "Seed", "Variant"]
    by_run = table.set_index(key).sort_index()
    for result in read_predictions(out / "predictions.csv"):
        run_key = (result.trained, result.tested, result.model, result.seed, result.variant)
        row = by_run.loc[run_key]
        for column, value in score(result, own_rows="own-rows-scores" in row["Flaws"].split()).items():
            if column not in key:
                shown = row[column]
                assert (str(value) if isinstance(value, bool) else value) == (
                    str(shown) if isinstance(value, bool) else float(shown)
                ), (run_key, column)


def test_pooled_cam_gives_uniform_heatmaps_of_resnet(tmp_path):
    out = make_prepared(tmp_path, ("Fusar",), size=64)
    run(out, "--models", "ResNet", "--epochs", "1", "--pooled-cam")
    grad_cams.main(["--out", str(out), "--chips-per-class", "1", "--device", "cpu"])
    attention = pd.read_csv(out / "Exp_images" / "attention.csv")
    assert attention["constant"].all()
    assert set(attention["variant"]) == {"pooled-cam"}
