"""Command 2 (test_models.py), run as a user runs it, on small prepared sets."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

import one_run
import test_models
from sarship import epochs, training
from sarship.command import UserError
from sarship.runs import read_run
from sarship.scores import read_predictions, score
from tests.small import CLASSES, COUNTS, make_prepared

DATASETS = ("Fusar", "OpenSARShip")
QUICK = ["--models", "CNN", "--epochs", "3", "--precision", "float32"]


def run(out, *words: object) -> pd.DataFrame:
    test_models.main([*map(str, words), "--out", str(out)])
    return pd.read_csv(out / "scores.csv", keep_default_na=False, na_values={"AUROC": [""]})


def figures(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="Seconds")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = make_prepared(tmp_path_factory.mktemp("done"))
    return out, run(out, *QUICK)


def test_every_training_set_is_tested_on_every_test_set(done):
    _, table = done
    expected = {(a, b, m) for m in ("CNN", "Majority", "HOG_SVM") for a in DATASETS for b in DATASETS}
    assert set(map(tuple, table[["Trained", "Tested", "Model"]].to_numpy())) == expected
    assert (table["TestChips"] == len(CLASSES) * COUNTS["test"]).all()


PUBLISHED = [
    "Trained", "Tested", "Model", "Accuracy", "Precision", "Recall", "F1",
    "C-Accuracy", "C-Precision", "C-Recall", "C-F1", "F-Accuracy", "F-Precision", "F-Recall", "F-F1",
    "T-Accuracy", "T-Precision", "T-Recall", "T-F1",
]  # fmt: skip
OURS = [
    "MacroF1", "BalancedAccuracy", "MCC", "AUROC", "ECE", "MacroF1_low", "MacroF1_high", "Collapsed", "Protocol",
    "Loss", "Sampler", "Backbone", "Seed", "Epochs", "Seconds", "TestChips",
    "Augment", "Heads", "Unfreeze", "LearningRate", "Flaws", "Changed", "Variant", "Stopped",
]  # fmt: skip


def test_columns_are_the_published_ones_and_then_ours(done):
    _, table = done
    assert list(table.columns) == PUBLISHED + OURS
    cnn = table[table["Model"] == "CNN"]
    assert set(cnn["Protocol"]) == {"strict"}
    assert set(cnn["Loss"]) == {"weighted_cross_entropy"}
    assert set(cnn["Epochs"]) == {3}


def test_the_network_learns_what_a_majority_cannot(done):
    _, table = done
    own = table[table["Trained"] == table["Tested"]].groupby("Model")["MacroF1"].min()
    assert own["CNN"] > own["Majority"] + 20
    assert table.loc[table["Model"] == "Majority", "Collapsed"].all()


def test_every_figure_can_be_computed_again_from_predictions(done):
    out, table = done
    results = read_predictions(out / "predictions.csv")
    again = pd.DataFrame([score(result) for result in results])
    columns = [column for column in again.columns if column in table.columns]
    pd.testing.assert_frame_equal(again[columns], table[columns], check_dtype=False)


def test_results_and_figures_are_there(done):
    out, _ = done
    text = (out / "results.txt").read_text()
    for word in ("PyTorch", "learning_rate = 0.001", "CNN trained on Fusar", "<- picked", "tested on OpenSARShip"):
        assert word in text
    folder = out / "trained_models"
    for stem in ("CNN_Fusar", "CNN_OpenSARShip"):
        assert (folder / f"{stem}.learning.png").stat().st_size > 1000
        assert (folder / f"{stem}.confusion_Fusar.png").stat().st_size > 1000
    assert not list(folder.glob(".*")), "no state of finished runs is left"


def test_a_second_call_trains_nothing_and_says_the_same(done, capsys, monkeypatch):
    out, _ = done
    monkeypatch.setattr(one_run, "fit", None)  # would be an error if it were called
    files = {path: path.read_bytes() for path in out.glob("*.csv")}
    run(out, *QUICK)
    assert files == {path: path.read_bytes() for path in out.glob("*.csv")}
    assert "| CNN " in capsys.readouterr().out


def test_trained_again_elsewhere_the_figures_are_the_same(done, tmp_path):
    _, table = done
    pd.testing.assert_frame_equal(figures(run(make_prepared(tmp_path), *QUICK)), figures(table))


def test_other_options_or_data_need_overwrite(done):
    out, _ = done
    with pytest.raises(UserError, match=r"epochs = 3, not 4.*--overwrite"):
        run(out, "--models", "CNN", "--epochs", "4")
    with pytest.raises(UserError, match=r"weight_decay"):
        run(out, *QUICK, "--weight-decay", "0.1")
    with pytest.raises(UserError, match=r"precision"):
        run(out, "--models", "CNN", "--epochs", "3", "--precision", "bfloat16")


def test_a_moved_folder_is_still_done_and_a_changed_backbone_file_is_not(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    make_prepared(first, ("Fusar",))
    train = ["--epochs", "1", "--batch-size", "60", "--no-baselines"]
    run(first, *train, "--models", "ResNet")
    backbone = shutil.copy(first / "trained_models" / "ResNet_Fusar.pt", tmp_path / "base.pt")
    words = [*train, "--models", "Fine_ResNet", "--backbone", backbone]
    assert list(run(first, *words)["Backbone"]) == ["random", "base.pt"], "the table holds both commands' runs"
    first.rename(second)
    with monkeypatch.context() as patch:
        patch.setattr(one_run, "fit", None)  # would be an error if it were called
        run(second, *words)
    with Path(backbone).open("ab") as file:
        file.write(b"changed")
    with pytest.raises(UserError, match=r"backbone_sha256"):
        run(second, *words)


def test_other_data_need_overwrite(tmp_path):
    make_prepared(tmp_path, ("Fusar",))
    words = ["--models", "CNN", "--epochs", "1", "--no-baselines"]
    run(tmp_path, *words)
    make_prepared(tmp_path, ("Fusar",), seed=1)
    with pytest.raises(UserError, match=r"CNN_Fusar was trained on other data"):
        run(tmp_path, *words)
    assert len(run(tmp_path, *words, "--overwrite")) == 1


def test_a_killed_command_goes_on_and_ends_with_the_same_figures(done, tmp_path, monkeypatch):
    _, table = done
    make_prepared(tmp_path)
    monkeypatch.setattr(epochs, "LARGEST_SAVING_SHARE", 1e9)
    run_epoch, calls = training._Epochs.run, []

    def killed(self, epoch):
        calls.append(epoch)
        if len(calls) == 5:  # the second run's second epoch
            raise KeyboardInterrupt
        return run_epoch(self, epoch)

    monkeypatch.setattr(training._Epochs, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, *QUICK)
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 2, "the first run is in the tables already"
    pd.testing.assert_frame_equal(figures(run(tmp_path, *QUICK)), figures(table))
    assert calls == [1, 2, 3, 1, 2, 2, 3], "no epoch was trained twice but the one that was killed"


def test_model_files_are_tensors_and_plain_values(done):
    out, _ = done
    content = torch.load(out / "trained_models" / "CNN_Fusar.pt", weights_only=True)
    assert content["meta"]["model"] == "CNN"
    assert content["meta"]["classes"] == list(CLASSES)
    assert content["meta"]["image_size"] == 32
    assert content["tests"]["OpenSARShip"].shape == (len(CLASSES) * COUNTS["test"], len(CLASSES))


def test_a_frozen_backbone_starts_from_another_data_set(tmp_path):
    make_prepared(tmp_path)
    words = ["--epochs", "1", "--batch-size", "60", "--no-baselines", "--backbone", "trained"]
    with pytest.raises(UserError, match=r"Fine_ResNet_Fusar needs .*ResNet_OpenSARShip\.pt"):
        run(tmp_path, *words, "--models", "Fine_ResNet")
    table = run(tmp_path, *words, "--models", "ResNet", "Fine_ResNet")
    assert set(table.loc[table["Model"] == "Fine_ResNet", "Backbone"]) == {"ResNet_Fusar", "ResNet_OpenSARShip"}
    base = read_run(tmp_path / "trained_models" / "ResNet_OpenSARShip.pt")["state"]
    tuned = read_run(tmp_path / "trained_models" / "Fine_ResNet_Fusar.pt")["state"]
    assert all(torch.equal(value, tuned[key]) for key, value in base.items() if key.startswith("features."))


def test_further_seeds_have_files_and_rows_of_their_own(tmp_path):
    make_prepared(tmp_path, ("Fusar",))
    table = run(tmp_path, "--models", "CNN", "--epochs", "1", "--no-baselines", "--seeds", "1", "2")
    assert sorted(path.name for path in (tmp_path / "trained_models").glob("*.pt")) == [
        "CNN_Fusar.pt",
        "CNN_Fusar_seed2.pt",
    ]
    assert list(table["Seed"]) == [1, 2]


def test_refusals(done, tmp_path):
    out, _ = done
    with pytest.raises(UserError, match="run dataset_prep"):
        run(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="--models"):
        run(out, "--models", "AlexNet")
    with pytest.raises(UserError, match="--trained Mixed"):
        run(out, *QUICK, "--trained", "Mixed")
    with pytest.raises(UserError, match="--epochs"):
        run(out, "--epochs", "0")
    with pytest.raises(UserError, match=r"absent\.pt"):
        run(out, "--models", "Fine_VGG", "--backbone", "absent.pt")


def test_runs_on_other_data_are_all_named(tmp_path):
    make_prepared(tmp_path, ("Fusar",))
    words = ["--epochs", "1", "--no-baselines", "--no-figures"]
    run(tmp_path, *words, "--models", "CNN", "--seeds", "1", "2")
    make_prepared(tmp_path, ("Fusar",), seed=1)
    with pytest.raises(UserError, match=r"CNN_Fusar, CNN_Fusar_seed2 were trained on other data"):
        run(tmp_path, *words, "--models", "CNN", "--seeds", "3")
    with pytest.raises(UserError, match=r"CNN_Fusar, CNN_Fusar_seed2 were trained on other data"):
        run(tmp_path, *words, "--models", "CNN", "--list")


def test_without_weights_the_answers_are_the_same_and_the_files_small(tmp_path, monkeypatch):
    """Also when the command is killed between a base and its chain, which needs the base's weights."""
    words = [*QUICK, "--no-baselines", "--no-figures", "--no-weights", "--trained", "Fusar", "Fusar+OpenSARShip"]
    expected = run(make_prepared(tmp_path / "kept"), *[word for word in words if word != "--no-weights"])
    out = make_prepared(tmp_path / "dropped")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(one_run, "fit_network", killed)
        with pytest.raises(KeyboardInterrupt):
            run(out, *words)
    fit_network = one_run.fit_network
    trained = []

    def killed_second(network, planned, *args):
        trained.append(planned.stem)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return fit_network(network, planned, *args)

    with monkeypatch.context() as patch:
        patch.setattr(one_run, "fit_network", killed_second)
        with pytest.raises(KeyboardInterrupt):
            run(out, *words)
    pd.testing.assert_frame_equal(figures(run(out, *words)), figures(expected))
    assert trained == ["CNN_Fusar", "CNN_Fusar+OpenSARShip"]
    for stem in trained:
        assert read_run(out / "trained_models" / f"{stem}.pt")["state"] == {}
    before = (out / "predictions.csv").read_text()
    run(out, *words, "--unfreeze", "none", "all")  # needs the base once more, and gets the same one
    assert before in (out / "predictions.csv").read_text()
    with pytest.raises(UserError, match=r"ResNet_OpenSARShip\.pt"):
        run(out, *words, "--models", "Fine_ResNet", "--trained", "Fusar", "--backbone", "trained")


def test_decibel_chips_are_not_taken_for_amplitude(tmp_path):
    out = make_prepared(tmp_path, ("Fusar",))
    (out / "prepared" / "options.json").write_text('{"options": {"pixels": "calibrated"}, "archives": {}}')
    with pytest.raises(UserError, match=r"--augment sar: .* --pixels calibrated"):
        run(out, *QUICK, "--augment", "strict", "sar")
