"""The command on small simulated pairs: what it writes, what it prints, what it refuses."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sarship.change.pairs import command, drawing
from sarship.change.pairs.drawing import agreement_colours, difference_levels
from sarship.command import UserError
from tests.change.pairs.speckled import grey_levels, kappa_by_hand, pair, planted, write_png, write_tiff
from tests.conftest import ROOT
from tests.drawn import texts_of

BEFORE, AFTER, CHANGED = planted()
FILES = ["change_map.png", "difference.png", "picture.png", "scores.csv"]


@pytest.fixture
def images(tmp_path):
    before = write_png(tmp_path / "before.png", grey_levels(BEFORE))
    after = write_png(tmp_path / "after.png", grey_levels(AFTER))
    return before, after, write_png(tmp_path / "mask.png", np.where(CHANGED, np.uint8(255), np.uint8(0)))


def folder(out, name="before_after_gauss-ratio_pca-kmeans"):
    return out / "change" / "pairs" / name


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_pair_without_mask(images, tmp_path, capsys):
    pair(*images[:2], "--out", tmp_path / "out")
    results = folder(tmp_path / "out")
    assert sorted(path.name for path in results.iterdir()) == FILES
    found = pixels(results / "change_map.png")
    assert found.dtype == np.uint8 and set(np.unique(found)) == {0, 255}
    assert kappa_by_hand(found > 0, CHANGED) > 0.9
    shown = pixels(results / "difference.png")
    assert shown.shape == CHANGED.shape and shown.max() == 255 and shown[CHANGED].mean() > 2 * shown[~CHANGED].mean()
    out = capsys.readouterr().out
    assert "kappa" not in out and f"Results: {results}" in out
    assert "kappa" not in pd.read_csv(results / "scores.csv")


def test_the_table_is_that_of_the_map(images, tmp_path, capsys):
    before, after, mask = images
    pair(before, after, "--truth", mask, "--difference", "log-ratio", "--method", "otsu", "--out", tmp_path)
    results = folder(tmp_path, "before_after_log-ratio_otsu")
    row = pd.read_csv(results / "scores.csv").iloc[0]
    found = pixels(results / "change_map.png") > 0
    assert row["kappa"] == pytest.approx(kappa_by_hand(found, CHANGED), abs=1e-4)
    assert (row["false_alarms"], row["missed_alarms"]) == ((found & ~CHANGED).sum(), (~found & CHANGED).sum())
    assert (row["difference"], row["method"], row["changed"]) == ("log-ratio", "otsu", found.sum())
    assert f"{row['kappa']:.4f}" in capsys.readouterr().out


def test_the_mask_decides_nothing(images, tmp_path):
    other = write_png(tmp_path / "other.png", np.where(CHANGED.T, np.uint8(1), np.uint8(0)))
    for name, mask in (("a", images[2]), ("b", other)):
        pair(*images[:2], "--truth", mask, "--name", name, "--out", tmp_path)
    assert (folder(tmp_path, "a") / "change_map.png").read_bytes() == (
        folder(tmp_path, "b") / "change_map.png"
    ).read_bytes()


def test_all_methods_in_one_table(images, tmp_path, capsys):
    before, after, mask = images
    pair(before, after, "--truth", mask, "--method", "all", "--out", tmp_path)
    table = pd.read_csv(folder(tmp_path, "before_after_all") / "scores.csv")
    assert len(table) == 3 * 4 + 1 and not table.duplicated(["difference", "method"]).any()
    best = table.set_index(["difference", "method"])["kappa"]
    assert best["gauss-ratio", "pca-kmeans"] > 0.9 and best["own", "learned"] > 0.9
    assert len(capsys.readouterr().out.splitlines()) == 1 + 13 + 2


def test_learned_is_the_same_to_the_byte(images, tmp_path):
    for name in "ab":
        pair(*images[:2], "--method", "learned", "--seed", 3, "--name", name, "--out", tmp_path)
    for name in FILES:
        assert (folder(tmp_path, "a") / name).read_bytes() == (folder(tmp_path, "b") / name).read_bytes(), name
    assert kappa_by_hand(pixels(folder(tmp_path, "a") / "change_map.png") > 0, CHANGED) > 0.9


def test_the_order_of_the_dates_matters_little(images, tmp_path):
    before, after, _ = images
    pair(before, after, "--name", "a", "--out", tmp_path)
    pair(after, before, "--name", "b", "--out", tmp_path)
    maps = [pixels(folder(tmp_path, name) / "change_map.png") for name in "ab"]
    assert (maps[0] == maps[1]).mean() > 0.995


@pytest.mark.parametrize("method", ["otsu", "kittler", "kmeans", "pca-kmeans"])
def test_what_stands_where_there_is_no_data_changes_no_file(tmp_path, method):
    first, second = BEFORE.copy(), AFTER.copy()
    first[20:30, :9] = np.nan
    for index, value in enumerate((3.0, 1e5)):
        second[20:30, :9] = value
        paths = write_tiff(tmp_path / "a.tif", first), write_tiff(tmp_path / f"b{index}.tif", second)
        pair(*paths, "--method", method, "--name", index, "--out", tmp_path)
    for name in ("change_map.png", "difference.png"):
        assert (folder(tmp_path, "0") / name).read_bytes() == (folder(tmp_path, "1") / name).read_bytes()
    assert not pixels(folder(tmp_path, "0") / "change_map.png")[20:30, :9].any()


def test_no_data_is_not_scored(tmp_path, images):
    """Wrong all over the strip without data, and still without an error there."""
    first = BEFORE.copy()
    first[:, :10] = np.nan
    mask = CHANGED.copy()
    mask[:, :10] = True
    paths = [write_tiff(tmp_path / "a.tif", first), write_tiff(tmp_path / "b.tif", AFTER)]
    pair(*paths, "--truth", write_png(tmp_path / "m.png", mask.astype(np.uint8)), "--name", "x", "--out", tmp_path)
    row = pd.read_csv(folder(tmp_path, "x") / "scores.csv").iloc[0]
    assert row["pixels"] == 64 * 54 and row["missed_alarm_percent"] < 10


# -- what is refused


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--method", "all"], "--method all: compares all methods with a mask; give it with --truth"),
        (["--method", "learned", "--difference", "log-ratio"], "--difference log-ratio: --method learned has"),
        (["--method", "all", "--truth", "m", "--difference", "log-ratio"], "takes every difference image"),
        (["--min-pixels", "0"], "--min-pixels 0: must be 1 or more"),
        (["--seed", "-1"], "--seed -1: must be from 0 to"),
        (["--name", "../x"], "--name ../x: must be the plain name"),
        (["--name", ".."], "--name ..: must be the plain name"),
        (["--name", ""], "must be the plain name"),
        (["--method", "best"], "invalid choice: 'best'"),
    ],
)
def test_options_that_do_not_fit_are_refused(images, tmp_path, argv, expected):
    with pytest.raises(UserError) as caught:
        pair(*images[:2], *argv, "--out", tmp_path / "out")
    assert expected in str(caught.value) and not (tmp_path / "out").exists()


def test_one_factor_between_the_images_is_no_change(tmp_path):
    paths = write_tiff(tmp_path / "a.tif", BEFORE), write_tiff(tmp_path / "b.tif", 2 * BEFORE)
    with pytest.raises(UserError, match=r"b.tif: differs from .*a.tif by one factor only"):
        pair(*paths, "--difference", "mean-ratio", "--out", tmp_path / "out")


def test_a_failure_leaves_the_earlier_results(images, tmp_path, monkeypatch):
    pair(*images[:2], "--out", tmp_path)
    earlier = (folder(tmp_path) / "picture.png").read_bytes()

    def fails(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(command, "draw_pair", fails)
    with pytest.raises(RuntimeError):
        pair(*images[:2], "--out", tmp_path)
    assert (folder(tmp_path) / "picture.png").read_bytes() == earlier
    assert [path.name for path in folder(tmp_path).parent.iterdir()] == [folder(tmp_path).name]


def test_a_mistake_is_one_line_and_status_2(images, tmp_path):
    words = [sys.executable, "detect_changes.py", "pair", images[0], tmp_path / "none.png", "--out", tmp_path / "out"]
    done = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "none.png: cannot be read" in done.stderr


# -- pictures


@pytest.fixture
def texts(monkeypatch) -> list[str]:
    return texts_of(monkeypatch, drawing)


def test_the_picture_says_the_counts_of_the_table(images, tmp_path, texts):
    before, after, mask = images
    pair(before, after, "--truth", mask, "--out", tmp_path)
    row = pd.read_csv(folder(tmp_path) / "scores.csv").iloc[0]
    hits = CHANGED.sum() - row["missed_alarms"]
    wanted = {f"hits {hits:,}", f"false alarms {row['false_alarms']:,}", f"missed {row['missed_alarms']:,}"}
    assert wanted | {"Before", "After", "Agreement with the mask"} <= set(texts)
    assert any(f"kappa {row['kappa']:.3f}" in text for text in texts)


def test_without_mask_there_is_no_agreement_to_see(images, tmp_path, texts):
    pair(*images[:2], "--out", tmp_path)
    assert "Before" in texts and not any("Agreement" in text or "hits" in text for text in texts)


def test_no_data_is_explained(tmp_path, texts):
    first = BEFORE.copy()
    first[:5] = np.nan
    pair(write_tiff(tmp_path / "a.tif", first), write_tiff(tmp_path / "b.tif", AFTER), "--out", tmp_path)
    assert "no data" in texts


def test_four_kinds_of_pixels_have_four_colours():
    colours = agreement_colours(np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 1, 0]], bool))
    assert len(np.unique(colours[0], axis=0)) == 4 and (colours[0, 3] == 1).all()


def test_difference_levels_span_the_greys():
    levels = np.arange(2000.0).reshape(40, 50)
    valid = levels != 1999
    shown = difference_levels(levels, valid)
    assert shown[0, 0] == 0 and shown.max() == 255 and shown[~valid] == 0
    assert (np.diff(shown[valid].astype(int)) >= 0).all()
