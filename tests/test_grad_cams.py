"""Command 3 from a prepared folder and model files to Exp_images/, with tiny networks."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from PIL import Image

import grad_cams
from models import build
from sarship.command import UserError
from sarship.prepared import MANIFEST_COLUMNS, write_manifest
from sarship.resplit import SPLIT_SWITCHES
from sarship.runs import write_run
from sarship.sheets import draw_sheet

ROOT = Path(__file__).resolve().parent.parent
SIDE = 64
CLASSES = ["Cargo", "Fishing", "Tanker"]


def write_prepared(out: Path, name: str, test_chips: dict[str, int]) -> None:
    """A prepared data set of sea with a bar in the middle; one training chip of each class."""
    rows = []
    for split, counts in (("train", dict.fromkeys(test_chips, 1)), ("test", test_chips)):
        for class_name, count in counts.items():
            folder = out / "prepared" / name / split / class_name
            folder.mkdir(parents=True)
            for index in range(count):
                chip = np.random.default_rng(index).rayleigh(12, (SIDE, SIDE))
                half = 6 + 4 * CLASSES.index(class_name)
                chip[32 - half : 32 + half, 29:35] = 220
                path = folder / f"{split}_{class_name}_{index}.png"
                Image.fromarray(chip.clip(0, 255).astype(np.uint8)).save(path)
                known = {"chip": path.stem, "dataset": name, "split": split, "class": class_name}
                known["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
                rows.append(dict.fromkeys(MANIFEST_COLUMNS, "") | known)
    write_manifest(out / "prepared" / name / "manifest.csv", pd.DataFrame(rows))


def write_model(out: Path, model: str, trained: str, classes: list[str] = CLASSES, seed: int = 1) -> None:
    torch.manual_seed(seed)
    folder = out / "trained_models"
    folder.mkdir(exist_ok=True)
    state = build(model, len(classes), SIDE).state_dict() if model != "HOG_SVM" else {}
    settings = {**dict.fromkeys(SPLIT_SWITCHES, False), "split_seed": 1}
    meta = {"model": model, "trained": trained, "seed": seed, "variant": "", "classes": classes, "image_size": SIDE}
    meta |= {"heads": "fitted", "loss": "cross_entropy", "pooled_cam": False, "settings": settings}
    write_run(folder / f"{model}_{trained}.pt", state, meta, [], {})


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Two test sets, one of them with two Tankers only; CNN and a frozen ResNet; the file of a baseline."""
    out = tmp_path_factory.mktemp("study")
    write_prepared(out, "Fusar", {"Cargo": 5, "Fishing": 4, "Tanker": 2})
    write_prepared(out, "OpenSARShip", {"Cargo": 4, "Tanker": 4})
    for model in ("CNN", "Fine_ResNet", "HOG_SVM"):
        write_model(out, model, "Fusar")
    return out


@pytest.fixture(scope="module")
def printed(study) -> dict[str, str]:
    """What the command writes to stdout and stderr while it explains both networks on both test sets."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        grad_cams.main(["--out", str(study), "--chips-per-class", "3", "--device", "cpu"])
    return {"out": out.getvalue(), "err": err.getvalue()}


@pytest.fixture(scope="module")
def explained(study, printed) -> Path:
    return study


def linked(study: Path, folder: Path) -> Path:
    """Another --out with the same prepared sets and networks."""
    for part in ("prepared", "trained_models"):
        (folder / part).symlink_to(study / part)
    return folder


def test_every_network_and_test_set_has_its_folder(explained):
    for stem in ("CNN_Fusar", "Fine_ResNet_Fusar"):
        expected = {"contact_sheet.png"}
        for name, count in {"Cargo": 3, "Fishing": 3, "Tanker": 2}.items():
            expected |= {f"{name}_{kind}{index}.png" for kind in ("o", "hm") for index in range(1, count + 1)}
        folder = explained / "Exp_images" / "Fusar" / stem
        assert {path.name for path in folder.iterdir()} == expected
    assert {path.name for path in (explained / "Exp_images").iterdir()} == {"Fusar", "OpenSARShip", "attention.csv"}
    assert not (explained / "Exp_images" / "Fusar" / "HOG_SVM_Fusar").exists()


def test_images_are_the_chip_and_its_heatmap(explained):
    folder = explained / "Exp_images" / "OpenSARShip" / "CNN_Fusar"
    attention = pd.read_csv(explained / "Exp_images" / "attention.csv")
    of_folder = attention.query("tested == 'OpenSARShip' and model == 'CNN' and `class` == 'Tanker'")
    source = explained / "prepared" / "OpenSARShip" / "test" / "Tanker" / f"{of_folder.chip.iloc[0]}.png"
    chip, heatmap = Image.open(folder / "Tanker_o1.png"), Image.open(folder / "Tanker_hm1.png")
    assert (np.asarray(chip) == np.asarray(Image.open(source))).all()
    assert heatmap.mode == "RGB" and heatmap.size == (SIDE, SIDE)


def test_attention_has_a_row_for_each_chip_shown(explained):
    attention = pd.read_csv(explained / "Exp_images" / "attention.csv")
    assert len(attention) == 2 * (3 + 3 + 2) + 2 * (3 + 3)
    assert list(attention.columns) == [
        *["trained", "tested", "model", "seed", "variant", "chip", "class", "predicted", "probability", "ship_pixels"],
        *["energy_on_ship", "peak_on_ship", "uniform_energy", "uniform_peak", "constant"],
    ]
    assert (attention.ship_pixels > 0).all()  # every bar is found
    assert attention.uniform_energy.to_numpy() == pytest.approx(attention.ship_pixels / SIDE**2, rel=1e-4)
    assert attention.probability.between(1 / 3, 1).all()


def test_second_run_gives_the_same_bytes(explained, tmp_path):
    grad_cams.main(["--out", str(linked(explained, tmp_path)), "--models", "CNN", "--tested", "Fusar",
                    "--chips-per-class", "3", "--device", "cpu"])  # fmt: skip
    again = sorted((tmp_path / "Exp_images" / "Fusar" / "CNN_Fusar").iterdir())
    assert len(again) == 2 * 8 + 1
    for path in again:
        assert path.read_bytes() == (explained / path.relative_to(tmp_path)).read_bytes(), path.name


def test_it_says_where_there_are_fewer_chips_and_prints_the_summary(printed):
    assert printed["err"].startswith("Fusar: 2 test chips of Tanker, not 3\n")
    table = [line for line in printed["out"].splitlines() if " Fusar " in line]
    assert len(table) == 4 and "attention.csv" in printed["out"]


def test_it_warns_of_maps_too_coarse_to_have_a_middle(study, printed, tmp_path):
    """ResNet50's last layer divides 64 px by 32; the layers that models.py names have a middle."""
    assert "cells" not in printed["err"]
    words = ["--out", str(linked(study, tmp_path)), "--models", "Fine_ResNet", "--layer", "features.layer4"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
        grad_cams.main([*words, "--chips-per-class", "1", "--device", "cpu"])
    warnings = [line for line in err.getvalue().splitlines() if "cells" in line]
    assert warnings == 2 * [  # one a test set
        "warning: Fine_ResNet_Fusar: a map of features.layer4 has 2 x 2 cells, none in the middle; "
        "name an earlier --layer"
    ]


def test_constant_maps_are_counted_and_left_out():
    rows = pd.DataFrame(
        {
            **{"trained": "Fusar", "tested": "Mixed", "model": "CNN", "seed": 1, "uniform_energy": 0.1},
            "uniform_peak": [0.1, 0.1, 0.0],
            "ship_pixels": [10, 10, 0],
            "energy_on_ship": [0.5, np.nan, np.nan],
            "peak_on_ship": [1.0, np.nan, np.nan],
            "constant": [False, True, False],
        }
    )
    header, row = grad_cams.summarise(rows).splitlines()
    assert header.split()[-3:] == ["Chips", "NoShip", "Constant"]
    assert row.split() == ["CNN", "Fusar", "1", "Mixed", "50.0", "10.0", "100.0", "10.0", "3", "1", "1"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (
            ["--layer", "classifier.0"],
            "layer classifier.0: its output has 1 x 1",
        ),
        (["--layer", "features.nothing"], "features.nothing: the network has no such layer"),
        (["--tested", "Mixed"], "--tested Mixed: is not prepared"),
        (["--models", "VGG"], "holds no such trained network"),
        (["--trained", "Mixed"], "holds no such trained network"),
        (["--chips-per-class", "0"], "must be 1 or more"),
        (["--method", "lime"], "invalid choice"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(study, words, named, tmp_path):
    with pytest.raises(UserError, match=named):
        grad_cams.main(["--out", str(linked(study, tmp_path)), "--models", "Fine_ResNet", *words])
    assert not list((tmp_path / "Exp_images").rglob("*.*"))


def test_network_made_for_other_classes_is_named(study, tmp_path):
    (tmp_path / "prepared").symlink_to(study / "prepared")
    write_model(tmp_path, "CNN", "Fusar", ["Cargo", "Tanker"])
    with pytest.raises(UserError, match=r"CNN_Fusar.pt: was not trained for class Fishing of Fusar"):
        grad_cams.main(["--out", str(tmp_path)])


def test_drawing_processes_change_nothing(explained, tmp_path, monkeypatch):
    """Every image and attention.csv are the same bytes when this process draws."""

    class Here:
        __init__ = __exit__ = lambda *given: None
        __enter__ = lambda self: self  # noqa: E731
        draw = staticmethod(draw_sheet)

    monkeypatch.setattr(grad_cams, "Drawers", Here)
    grad_cams.main(["--out", str(linked(explained, tmp_path)), "--chips-per-class", "3", "--device", "cpu"])
    here, there = (
        {path.relative_to(out): path.read_bytes() for path in (out / "Exp_images").rglob("*.*")}
        for out in (tmp_path, explained)
    )
    assert here == there and len(here) == 2 * (2 * 8 + 1) + 2 * (2 * 6 + 1) + 1


def test_a_folder_that_cannot_be_written_is_said_in_one_line(study, tmp_path):
    out = linked(study, tmp_path)
    (out / "Exp_images").mkdir()
    (out / "Exp_images" / "Fusar").write_text("")
    with pytest.raises(UserError, match=r"Exp_images/Fusar: cannot write there"):
        grad_cams.main(["--out", str(out), "--models", "CNN", "--device", "cpu"])
    assert not (out / "Exp_images" / "attention.csv").exists()


def test_interrupted_it_leaves_whole_folders_and_no_processes(study, tmp_path):
    """Ctrl-C as a terminal sends it, to the whole foreground group, once the first folder is there."""
    out = linked(study, tmp_path)
    command = [sys.executable, str(ROOT / "grad_cams.py"), "--out", str(out), "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0) as run:
        while not list(out.glob("Exp_images/Fusar/*/contact_sheet.png")):
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.01)
        drawing = psutil.Process(run.pid).children(recursive=True)
        os.killpg(run.pid, signal.SIGINT)
        printed, errors = run.communicate()
    assert run.returncode == 130 and printed == "" and errors.splitlines()[-1] == "grad_cams.py: interrupted"
    assert "Traceback" not in errors
    assert not psutil.wait_procs(drawing, timeout=0)[1]
    for folder in out.glob("Exp_images/*/*"):
        assert not folder.name.startswith(".") and (folder / "contact_sheet.png").exists()
    assert not (out / "Exp_images" / "attention.csv").exists()


def test_command_line_ends_with_status_2_and_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "grad_cams.py"), "--out", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith("grad_cams.py: error:") and ended.stderr.count("\n") == 1
