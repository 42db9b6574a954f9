"""predict.py: the answers of predictions.csv for the same chips, whatever they are packed in, and what goes wrong."""

import csv
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import predict
import test_models
from sarship import command
from sarship.command import UserError
from sarship.device import Device
from sarship.familiarity import fit_familiarity
from sarship.files import whole_file
from sarship.geometry import metric_chip, resized_chip
from sarship.prepared import write_manifest
from sarship.runs import drop_state, model_path, read_run
from tests.conftest import ROOT
from tests.official import chip_pixels, write_files, zip_bytes
from tests.small import CLASSES, bar_chip, make_prepared, write_chip

SIDE = 32
METRIC = {"geometry": "metric", "extent": 256.0, "spacing": 8.0, "pixels": "uint8"}  # 32 x 32 pixels
QUICK = ["--epochs", "2", "--precision", "float32", "--no-baselines", "--no-figures"]


def write_options(out: Path, options: dict) -> None:
    (out / "prepared" / "options.json").write_text(json.dumps({"options": options, "archives": {}}))


def add_familiarity(path: Path, train: np.ndarray, val: np.ndarray) -> None:
    """Put a sample of the training data into a model file, as training does."""
    network, _ = predict.load_trained(path)
    familiarity = fit_familiarity(network, train, val, Device("cpu", torch.float32), 1)
    with whole_file(path) as written:  # the weights are still on the disk, in the file that is replaced
        torch.save({**read_run(path), "familiarity": familiarity.to_state()}, written)


def prepared_pixels(out: Path, split: str) -> np.ndarray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted((out / "prepared").glob(f"*/{split}/*/*.png"))])


def make_colour(out: Path) -> None:
    """prepared/Tiles/ below `out`: green, red and blue noise."""
    generator, rows = np.random.default_rng(5), []
    for split, count in {"train": 16, "val": 4, "test": 6}.items():
        for band, name in enumerate(("Forest", "Roof", "Sea")):
            for index in range(count):
                pixels = generator.integers(0, 120, (SIDE, SIDE, 3)).astype(np.uint8)
                pixels[..., band] += 60
                named = {"chip": f"{split}_{name}_{index}", "split": split, "class": name}
                rows.append(write_chip(out / "prepared" / "Tiles", "Tiles", named, pixels))
    write_manifest(out / "prepared" / "Tiles" / "manifest.csv", pd.DataFrame(rows))
    write_options(out, {"size": SIDE, "bands": "rgb", "white": None})


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A prepared set, a CNN and a network with a frozen backbone trained on it, and what they answered."""
    out = make_prepared(tmp_path_factory.mktemp("study"), ("Fusar",), SIDE)
    write_options(out, METRIC)
    test_models.main([*QUICK, "--models", "CNN", "Fine_ResNet", "--backbone", "random", "--out", str(out)])
    for stem in ("CNN_Fusar", "Fine_ResNet_Fusar"):
        add_familiarity(model_path(out, stem), prepared_pixels(out, "train"), prepared_pixels(out, "val"))
    return out


@pytest.fixture(scope="module")
def colour_study(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("colour")
    make_colour(out)
    test_models.main([*QUICK, "--models", "CNN", "--out", str(out)])
    add_familiarity(model_path(out, "CNN_Tiles"), prepared_pixels(out, "train"), prepared_pixels(out, "val"))
    return out


def run(model: Path, *words: object, status: int = 0) -> pd.DataFrame:
    """The table that --csv writes."""
    target = Path(words[0]).parent / "answers.csv"
    argv = [str(model), *map(str, words), "--csv", str(target)]
    if status:
        with pytest.raises(SystemExit) as ended:
            predict.main(argv)
        assert ended.value.code == status
    else:
        predict.main(argv)
    table = pd.read_csv(target, keep_default_na=False)
    target.unlink()
    return table


def chosen_columns(table: pd.DataFrame) -> np.ndarray:
    return table[[column for column in table if column.startswith("p_")]].to_numpy()


def some_chip(seed: int = 0, half_length: int = 7) -> np.ndarray:
    return bar_chip(half_length, SIDE, np.random.default_rng(seed))


def saved(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def cnn(study) -> Path:
    return model_path(study, "CNN_Fusar")


# -- the same answers


@pytest.mark.parametrize("stem", ["CNN_Fusar", "Fine_ResNet_Fusar"])
def test_prepared_chips_get_the_probabilities_of_predictions_csv(study, stem):
    compare_with_predictions(study, stem)


def test_colour_chips_get_them_too(colour_study):
    assert read_run(model_path(colour_study, "CNN_Tiles"))["meta"]["bands"] == "rgb"
    compare_with_predictions(colour_study, "CNN_Tiles")


def compare_with_predictions(out: Path, stem: str) -> None:
    model, dataset = stem.rsplit("_", 1)
    every = pd.read_csv(out / "predictions.csv")
    known = every[every["Model"] == model].set_index("chip")
    found = run(model_path(out, stem), out / "prepared" / dataset / "test")
    known = known.loc[[Path(name).stem for name in found["file"]]]
    assert len(found) == len(known) == len(set(known.index)) > 10
    names = [column for column in found if column.startswith("p_")]
    assert found[names].to_numpy() == pytest.approx(known[names].to_numpy(), abs=1e-5)
    assert found["probability"].to_numpy() == pytest.approx(known[names].max(axis=1).to_numpy(), abs=1e-5)
    assert [f"p_{name}" for name in found["class"]] == list(known[names].idxmax(axis=1))
    assert found[names].nunique().min() > 1, "not the same for all"


def test_folders_and_archives_of_every_kind_give_the_same_answers(cnn, tmp_path):
    chips = {f"b/chip{index}.png": some_chip(index) for index in range(3)} | {"a.bmp": some_chip(9)}
    folder = tmp_path / "folder"
    for name, pixels in chips.items():
        saved(folder / name, pixels)
    files = {name: (folder / name).read_bytes() for name in chips}
    (tmp_path / "whole.zip").write_bytes(zip_bytes(files))
    (tmp_path / "no_suffix").write_bytes(zip_bytes(files))
    (tmp_path / "nested.zip").write_bytes(zip_bytes({"in.zip": zip_bytes(files)}))
    with tarfile.open(tmp_path / "packed.tar", "w") as archive:
        archive.add(folder, "folder")
    first = run(cnn, folder)
    assert list(first["file"]) == [f"{folder}/{name}" for name in sorted(chips)]
    for name in ("whole.zip", "no_suffix", "nested.zip", "packed.tar"):
        table = run(cnn, tmp_path / name)
        assert chosen_columns(table) == pytest.approx(chosen_columns(first), abs=1e-6), name
        assert all(file.startswith(f"{tmp_path / name}/") for file in table["file"])
    together = run(cnn, tmp_path / "whole.zip", *(folder / name for name in sorted(chips)))
    assert list(together["file"][4:]) == list(first["file"]), "in the order of the command line"
    assert chosen_columns(together)[4:] == pytest.approx(chosen_columns(first), abs=1e-6)


# -- size and scale


def large_chip(seed: int = 3) -> np.ndarray:
    """512 m x 480 m of 4 m x 5 m pixels: more than the 256 m of the prepared chips."""
    return np.random.default_rng(seed).integers(0, 200, (128, 96)).astype(np.uint8)


def test_with_spacing_a_raw_chip_is_what_preparation_makes_of_it(cnn, tmp_path):
    raw = large_chip()
    prepared = metric_chip(raw, (4.0, 5.0), 256.0, 8.0, seed=0)
    expected = run(cnn, saved(tmp_path / "prepared.png", prepared))
    found = run(cnn, saved(tmp_path / "raw.png", raw), "--spacing", 4, 5)
    assert chosen_columns(found) == pytest.approx(chosen_columns(expected), abs=1e-6)
    square = run(cnn, tmp_path / "raw.png", "--spacing", 4)
    assert chosen_columns(square) != pytest.approx(chosen_columns(expected), abs=1e-6)


def test_without_spacing_another_size_is_resized_with_one_warning(cnn, tmp_path, capsys):
    expected = run(cnn, saved(tmp_path / "resized.png", resized_chip(large_chip(), SIDE)))
    assert "warning" not in capsys.readouterr().err
    paths = [saved(tmp_path / f"raw{index}.png", large_chip(index)) for index in (3, 4)]
    found = run(cnn, *paths, tmp_path / "resized.png")
    assert chosen_columns(found)[0] == pytest.approx(chosen_columns(expected)[0], abs=1e-6)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warnings == [
        "warning: 2 of 3 images were not 32 x 32 pixels and were resized: their scale is not that of training, "
        "8 m per pixel; give theirs with --spacing"
    ]


def elsewhere(cnn: Path, out: Path, options: dict | None) -> Path:
    """The model file below another --out, whose prepared/ was made with `options`, if there is one."""
    path = model_path(out, cnn.stem)
    path.parent.mkdir(parents=True)
    path.write_bytes(cnn.read_bytes())
    if options is not None:
        (out / "prepared").mkdir()
        write_options(out, options)
    return path


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        (None, "whether training chips were is not known"),
        ({"geometry": "chip", "pixels": "uint8"}, None),
        ({"size": SIDE, "bands": "grey", "white": None}, None),
        ({"geometry": "chip", "pixels": "calibrated"}, "was trained on decibels"),
    ],
)
def test_scale_is_warned_of_where_it_matters(cnn, tmp_path, capsys, options, warned):
    model = elsewhere(cnn, tmp_path, options)
    run(model, saved(tmp_path / "fits.png", some_chip()))
    assert "warning" not in capsys.readouterr().err
    run(model, saved(tmp_path / "raw.png", large_chip()))
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert [warned in line for line in warnings] == ([True] if warned else [])


def test_a_prepared_folder_of_other_chips_is_not_believed(cnn, tmp_path, capsys):
    model = elsewhere(cnn, tmp_path, METRIC)
    (tmp_path / "prepared" / "Fusar").mkdir()
    (tmp_path / "prepared" / "Fusar" / "manifest.csv").write_text("chip\nanother\n")
    chip = saved(tmp_path / "raw.png", large_chip())
    with pytest.raises(UserError, match=r"--spacing: needs prepared/options\.json"):
        predict.main([str(model), str(chip), "--spacing", "4"])
    assert "is not what" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words", "named"),
    [
        (None, ["--spacing", "4"], "--spacing: needs prepared/options.json"),
        ({"geometry": "chip"}, ["--spacing", "4"], "--spacing: the chips of training were resized"),
        (METRIC | {"extent": 512.0}, [], "512 m of 8 m are not 32 x 32 pixels"),
        (METRIC, ["--spacing", "0.001"], "--spacing 0.001: is in metres"),
        (METRIC, ["--spacing", "4", "4", "4"], "--spacing: give one number"),
        (METRIC, ["--spacing", "0"], "--spacing: give one number"),
        (METRIC, ["--top", "0"], "--top 0: must be 1 or more"),
    ],
)
def test_options_that_cannot_be_are_named(cnn, tmp_path, options, words, named):
    chip = saved(tmp_path / "raw.png", large_chip())
    model = elsewhere(cnn, tmp_path, options)
    with pytest.raises(UserError, match=named):
        predict.main([str(model), str(chip), *words, "--csv", str(tmp_path / "answers.csv")])
    assert not (tmp_path / "answers.csv").exists()


# -- what is said


def test_the_table_has_the_likeliest_classes_and_marks_what_is_unlike(study, cnn, tmp_path, capsys):
    like = sorted((study / "prepared/Fusar/train").rglob("*.png"))[0]
    noise = saved(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8))
    table = run(cnn, noise, like, "--top", 2)
    header, *rows, empty, summary = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "1.", "2."] and empty == ""
    for line, (_, row) in zip(rows, table.iterrows(), strict=True):
        name, first, percent, _, second, lower, _, *mark = line.split()
        order = sorted(CLASSES, key=lambda key: -row[f"p_{key}"])
        assert (name, [first, second]) == (row["file"], order[:2])
        assert float(percent) == pytest.approx(100 * row[f"p_{first}"], abs=0.0051) and row["class"] == first
        assert float(lower) == pytest.approx(100 * row[f"p_{second}"], abs=0.0051)
        assert mark == (["unlike"] if row["unfamiliar"] else [])
    assert list(table["unfamiliar"]) == [1, 0] and table["distance"][0] > table["distance"][1]
    assert summary.startswith("2 images, 1 of them unlike the training data (farther from it than ")
    assert summary.endswith("By construction, 6.25 % of chips that are like the training data are marked as well.")
    run(cnn, like, "--top", 9)
    assert set(CLASSES) <= set(capsys.readouterr().out.split())


def test_columns_of_the_table(cnn, tmp_path):
    table = run(cnn, saved(tmp_path / "chip, with a comma.png", some_chip()))
    assert list(table.columns) == [
        *["file", "class", "probability", "p_Cargo", "p_Fishing", "p_Tanker", "distance", "unfamiliar"]
    ]
    assert chosen_columns(table).sum() == pytest.approx(1, abs=1e-9)
    assert table["file"][0].endswith("chip, with a comma.png")


def test_an_older_model_file_cannot_tell_and_says_so(cnn, tmp_path, capsys):
    model = elsewhere(cnn, tmp_path, METRIC)
    content = read_run(cnn)
    torch.save({key: value for key, value in content.items() if key != "familiarity"}, model)
    table = run(model, saved(tmp_path / "noise.png", chip_pixels(0, SIDE)))
    assert table["distance"].tolist() == [""] and table["unfamiliar"].tolist() == [""]
    printed = capsys.readouterr()
    assert printed.err.count("has no sample of its training data") == 1
    assert "unlike" not in printed.out and printed.out.endswith("\n1 image\n")


# -- what goes wrong


def test_a_file_that_is_no_image_is_named_and_the_others_go_on(cnn, tmp_path, capsys):
    good = [saved(tmp_path / f"good{index}.png", some_chip(index)) for index in range(2)]
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    cut = tmp_path / "cut.png"
    cut.write_bytes(good[0].read_bytes()[:200])
    absent = tmp_path / "absent.png"
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(zip_bytes({"a.png": good[0].read_bytes()})[:-30])
    none = write_files(tmp_path / "none", {"readme.txt": b"no image"})
    table = run(cnn, good[0], bad, cut, absent, damaged, none, good[1], status=1)
    assert list(table["file"]) == list(map(str, good))
    lines = capsys.readouterr().err.splitlines()
    warned = [line for line in lines if line.startswith("warning: ")]
    for path, line in zip((bad, cut, absent, damaged, none), warned, strict=True):
        assert line.startswith(f"warning: {path}: ")
    assert f"{none}: 1 files are left out, hidden or without the suffix of an image" in lines
    assert lines[-1] == "5 of 7 files could not be read"


def test_with_no_image_at_all_it_ends_with_status_2_and_no_table(cnn, tmp_path, capsys):
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(UserError, match="none of 2 files could be read"):
        predict.main([str(cnn), str(tmp_path / "bad.png"), str(tmp_path / "x"), "--csv", str(tmp_path / "out.csv")])
    assert not list(tmp_path.glob("*out*")) and capsys.readouterr().out == ""


def test_a_model_that_is_none_is_named(study, cnn, tmp_path):
    chip = saved(tmp_path / "chip.png", some_chip())
    without = elsewhere(cnn, tmp_path, None)
    drop_state(without)
    baseline = tmp_path / "HOG_SVM_Fusar.pt"
    content = read_run(cnn)
    torch.save({**content, "state": {}, "meta": {**content["meta"], "model": "HOG_SVM"}}, baseline)
    (tmp_path / "text.pt").write_text("no model")
    for path, named in {
        without: "was made with --no-weights",
        baseline: "is of HOG_SVM, which is not kept",
        tmp_path / "text.pt": "is no trained model",
        tmp_path / "absent.pt": "there is no such model file",
        tmp_path: "is no trained model",
    }.items():
        with pytest.raises(UserError, match=named):
            predict.main([str(path), str(chip)])
    for words in ([], [str(cnn)]):
        with pytest.raises(UserError, match="name a model file"):
            predict.main(words)


def test_options_may_stand_anywhere_and_in_a_study(cnn, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "COMMANDS", (*command.COMMANDS, "predict"))
    chips = [str(saved(tmp_path / f"{index}.png", some_chip(index))) for index in range(2)]
    study_file = tmp_path / "study.toml"
    study_file.write_text("[predict]\ntop = 1\nspacing = [8.0, 8.0]\n")
    for argv in ([str(cnn), "--top", "1", *chips], ["--top", "1", str(cnn), *chips]):
        chosen = predict.options(argv)
        assert (chosen.model, chosen.files, chosen.top) == (cnn, list(map(Path, chips)), 1)
    chosen = predict.options(["--study", str(study_file), str(cnn), *chips])
    assert (chosen.model, chosen.files, chosen.top, chosen.spacing) == (cnn, list(map(Path, chips)), 1, [8.0, 8.0])


def test_command_line_ends_with_one_line(tmp_path):
    ended = subprocess.run(
        [sys.executable, str(ROOT / "predict.py"), str(tmp_path / "m.pt"), "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith("predict.py: error: ") and ended.stderr.count("\n") == 1


# -- real chips


def test_real_chips_of_both_sensors_are_read(cnn, real_data, tmp_path):
    fusar = sorted((real_data / "fusar").rglob("*.tif*"))
    assert len(run(cnn, tmp_path / "x", real_data / "fusar", "--spacing", 1.73, 1.12, status=1)) == len(fusar) == 4
    scene = next((real_data / "opensarship").glob("*GRDH_1SDV_20150823*.zip"))
    table = run(cnn, tmp_path / "x", scene, "--spacing", 10, status=1)
    assert len(table) == 24 and table["file"].str.contains("Patch_Uint8").all()
    assert table["unfamiliar"].all(), "the network has seen drawn bars only"


def test_csv_writes_every_digit():
    file = io.StringIO()
    answers = predict.Answers(["a"], np.array([[1 / 3, 2 / 3]]), None, None)
    predict.CsvFile(file, ["A", "B"]).write(answers)
    row = list(csv.reader(io.StringIO(file.getvalue())))[1]
    assert row == ["a", "B", repr(2 / 3), repr(1 / 3), repr(2 / 3), "", ""]
