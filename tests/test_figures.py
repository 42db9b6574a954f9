"""The pictures are written whole, show what they were given, and leave no state behind."""

import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image

from sarship import figures
from sarship.command import UserError
from sarship.figures import SheetItem, confusion_matrix, contact_sheet, dataset_summary, learning_curve, overlay
from tests.drawn import texts_of

HISTORY = [
    {"epoch": 1, "train_loss": 1.2, "val_loss": 1.1, "val_macro_f1": 0.3},
    {"epoch": 2, "train_loss": 0.8, "val_loss": 0.9, "val_macro_f1": 0.6},
    {"epoch": 3, "train_loss": 0.6, "val_loss": 0.7, "val_macro_f1": 0.6},
    {"epoch": 4, "train_loss": 0.4, "val_loss": 1.0, "val_macro_f1": 0.5},
]
WITHOUT_VAL = [row | {"val_loss": None, "val_macro_f1": None} for row in HISTORY]


@pytest.fixture
def texts(monkeypatch) -> list[str]:
    """All that is written on the figures: every text artist as it is drawn."""
    return texts_of(monkeypatch, figures)


def size_of(path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.verify()
        return image.size


@pytest.mark.parametrize(("history", "kept"), [(HISTORY, 3), (WITHOUT_VAL, 4), (HISTORY[:1], 1)])
def test_learning_curve_marks_the_epoch_that_training_keeps(tmp_path, texts, history, kept):
    learning_curve(history, kept, tmp_path / "curve.png", "CNN trained on Fusar")
    assert f"kept: epoch {kept}" in texts
    assert {"CNN trained on Fusar", "Epoch", "Loss (nats)", "Macro F1 (%)"} <= set(texts)
    width, height = size_of(tmp_path / "curve.png")
    assert width > 1000 and height > 400


def test_confusion_matrix_has_counts_and_row_percentages(tmp_path, texts):
    labels, predictions = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 2])
    confusion_matrix(labels, predictions, ["Cargo", "Fishing", "Tanker"], tmp_path / "matrix.png", "Title")
    assert {"3\n75.0 %", "1\n25.0 %", "1\n50.0 %", "Cargo\n(n = 4)", "Tanker\n(n = 0)"} <= set(texts)
    assert texts.count("0") >= 3  # the row of the absent class: counts without percentages
    assert {"Predicted class", "True class", "Title"} <= set(texts)
    assert min(size_of(tmp_path / "matrix.png")) > 300


def test_confusion_matrix_takes_many_classes(tmp_path, texts):
    classes = [f"Land use {index}" for index in range(21)]
    labels = np.arange(210) % 21
    confusion_matrix(labels, labels[::-1], classes, tmp_path / "matrix.png", "Title")
    assert set(classes) <= set(texts)


@pytest.fixture
def prepared(tmp_path):
    """prepared/Fusar/ with few chips; Tanker has none to train on."""
    folder, rows = tmp_path / "Fusar", []
    for split, class_name, count in [
        ("train", "Cargo", 9),
        ("train", "Fishing", 2),
        ("test", "Cargo", 3),
        ("test", "Tanker", 1),
    ]:
        (folder / split / class_name).mkdir(parents=True)
        for index in range(count):
            name = f"{split}{index}"
            Image.fromarray(np.full((32, 32), 20 * index, np.uint8)).save(folder / split / class_name / f"{name}.png")
            rows.append(
                {"chip": name, "dataset": "Fusar", "split": split, "class": class_name}
                | {"vessel": "" if index == 0 else str(index // 2)}
                | {"length_m": np.nan if index == 1 else 80.0 + index}
            )
    return folder, pd.DataFrame(rows)


def test_dataset_summary_shows_balance_and_chips(prepared, texts):
    folder, manifest = prepared
    dataset_summary(manifest, folder, folder / "summary.png")
    # Chips without a vessel id are a vessel each: 4 of them, beside vessels 0 to 4.
    assert "Fusar: 15 chips of 9 vessels" in texts
    assert {"9\n82 %", "2\n18 %", "0\n0 %", "3\n75 %", "1\n25 %", "length unknown", "88 m", "Chips"} <= set(texts)
    assert min(size_of(folder / "summary.png")) > 500


@pytest.mark.parametrize("count", [7, 45])
def test_summary_of_many_scenes_names_every_class_and_stays_small(tmp_path, texts, count):
    folder, rows = tmp_path / "NWPU", []
    for number in range(count):
        place = folder / "train" / f"scene_{number:02d}"
        place.mkdir(parents=True)
        for index in range(2):
            Image.fromarray(np.full((32, 32, 3), (200, 5 * number, 20), np.uint8)).save(place / f"{index}.png")
            rows.append({"chip": index, "dataset": "NWPU", "split": "train", "class": place.name, "vessel": ""})
    dataset_summary(pd.DataFrame(rows).assign(length_m=np.nan), folder, folder / "summary.png")
    assert f"NWPU: {2 * count} images" in texts
    assert {f"scene_{number:02d}" for number in range(count)} <= set(texts)
    assert "length unknown" not in texts
    assert max(size_of(folder / "summary.png")) < 4500


def test_dataset_summary_without_a_chip_names_its_file(prepared):
    folder, manifest = prepared
    (folder / "test" / "Tanker" / "test0.png").unlink()
    with pytest.raises(UserError, match=r"Tanker/test0.png"):
        dataset_summary(manifest, folder, folder / "summary.png")
    assert not (folder / "summary.png").exists()


def test_overlay_leaves_the_chip_grey_where_it_is_cold_and_warms_it_where_not():
    chip = np.full((8, 8), 90, dtype=np.uint8)
    heat = np.zeros((8, 8))
    heat[:4] = np.linspace(0.2, 1, 8)
    mixed = overlay(chip, heat).astype(int)
    assert (mixed[4:] == 90).all()
    assert all(cool < warm for cool, warm in pairwise(mixed[0, :, 0]))  # redder
    assert mixed[0, -1, 0] > mixed[0, -1, 2] + 50


def test_overlay_leaves_colours_where_it_is_cold():
    chip = np.zeros((8, 8, 3), np.uint8)
    chip[:, :, 1] = 120
    heat = np.zeros((8, 8))
    heat[:4] = 1.0
    mixed = overlay(chip, heat)
    assert (mixed[4:] == chip[4:]).all()
    assert (mixed[:4, :, 0] > 100).all()


def sheet_items(count: int, side: int = 48) -> list[SheetItem]:
    chip = np.random.default_rng(0).integers(0, 99, (side, side)).astype(np.uint8)
    mask = np.zeros((side, side), dtype=bool)
    mask[20:28, 10:38] = True
    heat = np.linspace(0, 1, side * side).reshape(side, side)
    names = ["Cargo", "Fishing", "Tanker"]
    return [
        SheetItem(chip, overlay(chip, heat), mask, names[index % 3], names[index % 2], 0.4 + index / 100)
        for index in range(count)
    ]


@pytest.mark.parametrize("count", [1, 5, 13])
def test_contact_sheet_captions_every_chip(tmp_path, texts, count):
    contact_sheet(sheet_items(count), tmp_path / "sheet.png", "CNN_Fusar tested on Mixed")
    captions = [text for text in texts if "✓" in text or "✗" in text]
    assert len(captions) == count and captions[0] == "Cargo\n✓ Cargo 40 %"
    assert count < 3 or captions[2] == "Tanker\n✗ Cargo 42 %"
    assert "CNN_Fusar tested on Mixed" in texts
    assert size_of(tmp_path / "sheet.png")[0] > 1000


def test_contact_sheet_holds_chips_and_outlines(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(Axes, "imshow", lambda axes, image, **options: shown.append(image))
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: None)
    item = sheet_items(1)[0]
    contact_sheet([item], tmp_path / "sheet.png", "Title")
    canvas, side = shown[0], item.chip.shape[0]
    assert (canvas[:side, :side] == item.chip[:, :, None]).all()
    right = canvas[:side, side + 1 : 2 * side + 1]
    assert (right[19, 10:38] == 255).all()  # the line runs along the outside of the mask
    assert (right[22:26, 12:36] == item.overlay[22:26, 12:36]).all()


def test_same_input_gives_the_same_bytes_and_no_global_state(tmp_path):
    for name in ("first.png", "second.png"):
        learning_curve(HISTORY, 3, tmp_path / name, "Title")
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_figures_are_those_of_two_draws(tmp_path, monkeypatch, prepared):
    """They are laid out and cut to what is on them without the first draw that bbox_inches="tight" makes for it."""
    folder, manifest = prepared
    labels = np.arange(40) % 4
    drawings = {
        "curve": lambda path: learning_curve(HISTORY, 3, path, "Title"),
        "matrix": lambda path: confusion_matrix(labels, labels[::-1], list("abcd"), path, "Title"),
        "summary": lambda path: dataset_summary(manifest, folder, path),
        "sheet": lambda path: contact_sheet(sheet_items(7), path, "Title"),
    }
    for name, draw in drawings.items():
        draw(tmp_path / f"{name}_once.png")
        with monkeypatch.context() as patch:
            patch.setattr(figures, "save_figure", _save_in_two_draws)
            draw(tmp_path / f"{name}_twice.png")
        assert (tmp_path / f"{name}_once.png").read_bytes() == (tmp_path / f"{name}_twice.png").read_bytes(), name


def _save_in_two_draws(figure, path):
    figure.savefig(path, bbox_inches="tight", pad_inches=figures.MARGIN_INCHES, metadata={"Software": None})


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write there"):
        learning_curve(HISTORY, 3, tmp_path / "file" / "curve.png", "Title")
