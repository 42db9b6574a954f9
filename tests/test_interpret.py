"""The command from model files, predictions and chips to figures and tables, with an untrained CNN."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import interpret
from models import build
from sarship.command import UserError, run_command
from sarship.prepared import list_datasets, read_dataset, write_manifest
from sarship.resplit import SPLIT_SWITCHES
from sarship.runs import write_run
from sarship.scores import SetResult, write_predictions
from tests.small import CLASSES, make_prepared, write_chip

SIDE = 32


def write_model(out: Path, model: str, trained: str, seed: int = 1, bands: str = "grey", **settings) -> None:
    torch.manual_seed(seed)
    state = build(model, len(CLASSES), SIDE).state_dict() if model != "HOG_SVM" else {}
    settings = {**dict.fromkeys(SPLIT_SWITCHES, False), "split_seed": 1, "classes": list(CLASSES), **settings}
    meta = {"model": model, "trained": trained, "seed": seed, "variant": "", "classes": list(CLASSES)}
    meta |= {"bands": bands} if bands == "rgb" else {}
    meta |= {"image_size": SIDE, "heads": "fitted", "loss": "cross_entropy", "pooled_cam": False, "unfreeze": ""}
    (out / "trained_models").mkdir(exist_ok=True)
    write_run(out / "trained_models" / f"{model}_{trained}.pt", state, meta | {"settings": settings}, [], {})


def made_up_results(out: Path) -> list[SetResult]:
    generator = np.random.default_rng(0)
    results = []
    for model in ("CNN", "HOG_SVM"):
        for tested in list_datasets(out):
            prepared = read_dataset(out, tested)
            rows, labels = prepared.rows("test"), prepared.labels("test", list(CLASSES))
            probabilities = generator.dirichlet(np.ones(3), len(labels))
            chips, vessels = rows["chip"].tolist(), rows["vessel"].tolist()
            results.append(SetResult("Fusar", tested, model, 1, CLASSES, chips, vessels, labels, probabilities))
    return results


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    out = make_prepared(tmp_path_factory.mktemp("study"), ("Fusar", "OpenSARShip", "Mixed"), SIDE)
    for model in ("CNN", "HOG_SVM"):
        write_model(out, model, "Fusar")
    write_predictions(out / "predictions.csv", made_up_results(out))
    return out


def run(*words: str) -> tuple[str, str]:
    """What the command writes to stdout and to stderr."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        interpret.main(list(words))
    return out.getvalue(), err.getvalue()


def linked(study: Path, folder: Path) -> Path:
    """Another --out with the same prepared sets, networks and predictions."""
    for part in ("prepared", "trained_models", "predictions.csv"):
        (folder / part).symlink_to(study / part)
    return folder


def folder_of(out: Path, stem: str = "CNN_Fusar") -> Path:
    return out / "Exp_images" / "interpret" / stem


PARTS = {
    "layers": (["layers"], {"layers.csv", "layers.png"}),
    "filters": (["filters"], {"filters.csv", "filters.png"}),
    "activations": (
        ["activations", "--tested", "Fusar", "--chips-per-class", "1"],
        {f"activations_Fusar/{name}" for name in ("units.csv", "features.2.png", "features.6.png", "features.10.png")},
    ),
    "top": (["top", "--tested", "Mixed"], {"top_features.10_Mixed.csv", "top_features.10_Mixed.png"}),
    "tsne": (
        ["tsne", "--perplexity", "10"],
        {"tsne.csv", "neighbours.csv"}
        | {f"tsne_{name}.png" for name in ("into_classifier.2", "classifier.2", "classifier.5")},
    ),
    "errors": (
        ["errors", "--tested", "Mixed", "--models", "CNN"],
        {f"errors_Mixed/{name}.png" for name in ("errors", "mistakes")}
        | {f"errors_Mixed/{name}.csv" for name in interpret.errors.TABLES},
    ),
}  # fmt: skip


@pytest.mark.parametrize("part", list(PARTS))
def test_each_part_writes_figures_and_tables_and_the_same_again(study, tmp_path, part):
    words, expected = PARTS[part]
    out = linked(study, tmp_path)
    printed, _ = run(*words, "--out", str(out))
    written = {str(path.relative_to(folder_of(out))): path for path in folder_of(out).rglob("*") if path.is_file()}
    assert written.keys() == expected and "CNN_Fusar" in printed
    assert [path.name for path in folder_of(out).parent.iterdir()] == ["CNN_Fusar"]
    for name, path in written.items():
        if name.endswith(".png"):
            with Image.open(path) as image:
                assert min(image.size) > 200, name
        else:
            assert len(path.read_text().splitlines()) > 1 or name.endswith("lengths.csv"), name
    before = {name: path.read_bytes() for name, path in written.items()}
    assert run(*words, "--out", str(out))[0] == printed
    assert {name: path.read_bytes() for name, path in written.items()} == before


def test_layers_of_a_network_that_nobody_trained(tmp_path):
    printed, _ = run("layers", "--models", "VGG", "--size", "224", "--classes", "10", "--out", str(tmp_path))
    assert printed.startswith("VGG_untrained_224px_10classes: 14,719,818 parameters, 15.35 G multiply-adds; ")
    table = pd.read_csv(folder_of(tmp_path, "VGG_untrained_224px_10classes") / "layers.csv")
    assert table["parameters"].sum() == 14_714_688 + 5_130


def test_frozen_as_it_was_trained(study, tmp_path):
    (tmp_path / "prepared").symlink_to(study / "prepared")
    write_model(tmp_path, "CNN", "Fusar", freeze_to="7")
    run("layers", "--out", str(tmp_path))
    table = pd.read_csv(folder_of(tmp_path) / "layers.csv").set_index("layer")
    kept = table[["kept_bytes", "recomputed_bytes"]].sum(axis=1)
    frozen = [name for name in table.index if name.startswith("features.") and int(name.split(".")[1]) < 8]
    assert len(frozen) == 8 and kept[frozen].sum() == 0 and kept["features.8"] > 0


def test_a_network_without_the_layer_is_said_in_a_line_and_the_others_go_on(study, tmp_path):
    (tmp_path / "prepared").symlink_to(study / "prepared")
    write_model(tmp_path, "CNN", "Fusar")
    write_model(tmp_path, "MobileNetV3", "Fusar")
    _, said = run("top", "--layer", "features.14", "--tested", "Fusar", "--out", str(tmp_path))
    assert said.splitlines()[0] == (
        "CNN_Fusar: --layer features.14: the network has no such layer; interpret.py layers lists them"
    )
    assert [path.name for path in folder_of(tmp_path).parent.iterdir()] == ["MobileNetV3_Fusar"]


def test_units_of_a_unit_that_was_named_are_shown(study, tmp_path):
    run("top", "--tested", "Fusar", "--split", "train", "--layer", "classifier.2", "--units", "7", "200",
        "--out", str(linked(study, tmp_path)))  # fmt: skip
    table = pd.read_csv(folder_of(tmp_path) / "top_classifier.2_Fusar_train.csv")
    assert table["unit"].nunique() == 256 and table["chip"].str.contains("train").all()


def test_errors_are_of_baselines_too_and_say_their_figures(study, tmp_path):
    printed, _ = run("errors", "--tested", "Fusar", "--out", str(linked(study, tmp_path)))
    for stem in ("CNN_Fusar", "HOG_SVM_Fusar"):
        assert f"{stem} on Fusar:\n  hardest class " in printed
        classes = pd.read_csv(folder_of(tmp_path, stem) / "errors_Fusar" / "classes.csv")
        assert classes["train_chips"].tolist() == [20] * 3 and classes["chips"].tolist() == [8] * 3


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "required: PART"),
        (["filter"], "invalid choice"),
        (["layers", "--size", "64"], "--size and --classes go together"),
        (["layers", "--models", "ViTT"], "invalid choice"),
        (["filters", "--trained", "Mixed"], "holds no such trained network"),
        (["filters", "--variants", "focal"], "holds no such trained network"),
        (["top", "--layer", "features.99"], "nothing was written; CNN_Fusar: --layer features.99"),
        (["top", "--units", "256"], "--units 256: features.10 has units 0 to 255"),
        (["top", "--chips-per-unit", "0"], "--chips-per-unit 0: must be 1 or more"),
        (["activations", "--tested", "UCMerced"], "--tested UCMerced: is not prepared; there are Fusar"),
        (
            ["activations", "--layers", "classifier"],
            "CNN_Fusar: layer classifier: gives no output",
        ),
        (["tsne", "--perplexity", "48"], "--perplexity 48: needs more chips"),
        (["errors", "--models", "Majority"], "has no such run"),
        (["errors", "--layer", "features.2"], "unrecognized arguments: --layer"),
    ],
)
def test_mistakes_are_named(study, tmp_path, words, named):
    given = [words[0], "--out", str(linked(study, tmp_path)), *words[1:]] if words else []
    with pytest.raises(UserError, match=named.replace("(", r"\(")):
        run(*given)


def test_a_network_for_chips_of_another_size_is_named(study, tmp_path):
    make_prepared(tmp_path, ("Fusar",), 64)
    (tmp_path / "trained_models").symlink_to(study / "trained_models")
    with pytest.raises(UserError, match=r"CNN_Fusar.pt: was not trained for chips of 64 x 64 pixels of Fusar"):
        run("top", "--out", str(tmp_path))


def test_colour_chips_go_with_networks_for_colour_only(tmp_path):
    generator, rows = np.random.default_rng(0), []
    for split, name, number in product(("train", "test"), CLASSES, range(3)):
        named = {"chip": f"{split}{name}{number}", "split": split, "class": name}
        rows.append(write_chip(tmp_path / "prepared" / "AID", "AID", named, colourful(generator)))
    write_manifest(tmp_path / "prepared" / "AID" / "manifest.csv", pd.DataFrame(rows))
    write_model(tmp_path, "CNN", "AID", bands="rgb")
    run("top", "--out", str(tmp_path))
    run("activations", "--chips-per-class", "1", "--layers", "features.2", "--out", str(tmp_path))
    run("tsne", "--perplexity", "3", "--out", str(tmp_path))
    with Image.open(folder_of(tmp_path, "CNN_AID") / "top_features.10_AID.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (np.ptp(pixels, axis=2) > 60).mean() > 0.1  # the chips are in colour on the sheet, too
    write_model(tmp_path, "CNN", "AID")
    with pytest.raises(UserError, match=r"CNN_AID.pt: was not trained for chips in colour of AID"):
        run("top", "--out", str(tmp_path))


def colourful(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)


def test_predictions_of_other_chips_are_refused(study, tmp_path):
    make_prepared(tmp_path, ("Fusar",))
    results = made_up_results(study)[:1]
    shuffled = [SetResult("Fusar", "Fusar", "CNN", 1, CLASSES, each.chips[::-1], each.vessels, each.labels,
                          each.probabilities) for each in results]  # fmt: skip
    write_predictions(tmp_path / "predictions.csv", shuffled)
    with pytest.raises(UserError, match="answered other chips"):
        run("errors", "--out", str(tmp_path))


def test_options_of_a_study_go_to_the_parts_that_have_them(study, tmp_path):
    file = tmp_path / "study.toml"
    file.write_text('[interpret]\ntested = ["Fusar"]\nchips-per-unit = 2\nperplexity = 5\n')
    chosen = interpret.options(["top", "--study", str(file), "--out", str(study)])
    assert (chosen.tested, chosen.chips_per_unit, chosen.out) == (["Fusar"], 2, study)
    assert interpret.options(["top", "--study", str(file), "--chips-per-unit", "4"]).chips_per_unit == 4
    assert interpret.options(["tsne", "--study", str(file)]).perplexity == 5
    assert interpret.options(["layers", "--study", str(file)]).part == "layers"
    file.write_text("[interpret]\nperplexiti = 5\n")
    with pytest.raises(UserError, match=r"\[interpret\] has no option 'perplexiti'; the nearest is 'perplexity'"):
        interpret.options(["top", "--study", str(file)])
    with pytest.raises(UserError):
        interpret.options(["--study", str(file)])


def test_command_line_ends_with_status_2_and_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["interpret.py", "filters", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        run_command(interpret.main)
    printed = capsys.readouterr()
    assert ended.value.code == 2 and printed.out == ""
    assert printed.err.startswith("interpret.py: error:") and printed.err.count("\n") == 1


@pytest.mark.parametrize("part", ["", *PARTS])
def test_help_shows_what_there_is(part, capsys):
    with pytest.raises(SystemExit) as ended:
        interpret.options([part, "--help"] if part else ["--help"])
    assert ended.value.code == 0 and ("--study FILE" if part else "python interpret.py tsne") in capsys.readouterr().out
