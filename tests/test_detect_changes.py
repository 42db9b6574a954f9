"""The command as users run it, on small series: end to end, resumed, refused."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import detect_changes
from sarship.change.scene_report import read_mask
from sarship.change.series import read_area
from sarship.command import UserError
from tests.change.small_series import write_area, write_raster
from tests.conftest import ROOT

CUT = ("--patch", "16", "--gap", "0", "--test-weeks", "4", "--val-weeks", "4", "--test-share", "0.3")
TRAIN = ("--width", "8", "--epochs", "2", "--batch-size", "16", "--precision", "float32")
PICTURES = ("roc_shift.png", "roc_statistical.png", "samples_shift.png", "samples_statistical.png")


def run(*argv, out: Path) -> None:
    detect_changes.main([str(word) for word in (*argv, "--out", out)])


def table(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder in which everything has been run once, on a series written by hand."""
    out = tmp_path_factory.mktemp("detect")
    write_area(out / "change" / "series" / "a")
    run("import", *CUT, out=out)
    run("train", *TRAIN, out=out)
    run("train", *TRAIN, "--no-weather", out=out)
    run("inject", "--polygon-share", "0.6", out=out)
    run("evaluate", "--without", "orbit", "temperature", out=out)
    return out


def test_everything_is_where_the_readme_says(done):
    folder = done / "change"
    for name in ("samples/samples.csv", "models/UNet.pt", "models/UNet_no-weather.pt", "change_scores.csv", *PICTURES):
        assert (folder / name).stat().st_size > 0, name
    assert (folder / "models" / "UNet.learning.png").exists()
    assert not list(folder.rglob(".*"))  # nothing half-written is left


def test_the_table_has_every_input_for_every_change_and_classifier(done):
    rows = table(done / "change" / "change_scores.csv")
    inputs = {row["input"] for row in rows}
    assert len(rows) == 2 * 2 * len(inputs)
    assert {"predicted image", "predicted image without weather", "mean of the four previous images"} < inputs
    assert {f"predicted image, {names} withheld" for names in ("orbit", "temperature", "temperature, orbit")} < inputs
    for row in rows:
        value, low, high = (float(row[name]) for name in ("value", "low", "high"))
        assert 0 <= low <= value <= high <= 1
        assert int(row["samples"]) > 10
    best = [row for row in rows if row["gain"] == ""]
    assert len(best) == 4
    assert all(row["input"].startswith("previous image") for row in best)


def test_what_is_there_is_not_made_again_and_other_settings_are_refused(done, capsys):
    for argv in (("import", *CUT), ("train", *TRAIN), ("inject", "--polygon-share", "0.6")):
        run(*argv, out=done)
        assert "is up to date (--overwrite makes it again)" in capsys.readouterr().out
    with pytest.raises(UserError, match="was made with width = 8, not 16"):
        run("train", *TRAIN, "--width", "16", out=done)
    with pytest.raises(UserError, match=r"was made with polygon_share = 0\.6"):
        run("inject", out=done)
    with pytest.raises(UserError, match="was made with gap = 0, not 8"):
        run("import", *CUT[:2], *CUT[4:], out=done)


def test_models_and_changes_of_other_samples_are_refused(done, tmp_path):
    write_area(tmp_path / "change" / "series" / "a", count=35)
    run("import", *CUT, out=tmp_path)
    for name in ("models", "injected_shift"):
        (tmp_path / "change" / name).symlink_to(done / "change" / name)
    with pytest.raises(UserError, match="was trained on other samples"):
        run("evaluate", "--kinds", "shift", out=tmp_path)
    with pytest.raises(UserError, match="was trained on other samples"):
        run("conditions", out=tmp_path)


def test_conditions_without_a_simulated_series_say_what_the_prediction_does(done, capsys):
    run("conditions", "--samples", "20", out=done)
    said = capsys.readouterr()
    assert "without it nothing says what truly changes" in said.err
    rows = table(done / "change" / "conditions.csv")
    found = [(row["change"], row["band"], row["cover"]) for row in rows]
    covers = ("all", "forest", "field")
    assert found == [(c, b, cover) for c in ("orbit", "rain") for b in ("VV", "VH") for cover in covers]
    assert all(row["correlation"] == "" and float(row["spread_db"]) >= 0 for row in rows)
    assert (done / "change" / "conditions_rain.png").exists()


def test_a_whole_area_and_its_difference(done, capsys):
    area = done / "change" / "series" / "a"
    mask = np.zeros((1, 112, 96), np.uint8)
    mask[0, 40:60, 40:60] = 255
    write_raster(done / "mask.tif", mask)
    run("difference", area, "--truth", done / "mask.tif", out=done)
    assert "AUC by predicted image 0." in capsys.readouterr().out
    [folder] = (done / "change" / "differences").iterdir()
    with rasterio.open(folder / "predicted.tif") as predicted, rasterio.open(folder / "difference.tif") as difference:
        assert predicted.descriptions == difference.descriptions == ("VV", "VH")
        assert predicted.crs.to_epsg() == 3067
        newest = sorted((area / "images").iterdir())[-1]
        with rasterio.open(newest) as image:
            assert np.allclose(image.read() - predicted.read(), difference.read(), atol=1e-5)
            assert image.transform == difference.transform
    assert (folder / "difference.png").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((1, 50, 96), np.uint8), "has 50 x 96 pixels, the area 112 x 96"),
        (np.full((1, 112, 96), 7, np.uint8), "a mask has 0 for unchanged and either 1 or 255"),
        (np.zeros((1, 112, 96), np.uint8), "no changed pixel"),
    ],
)
def test_masks_that_do_not_fit_are_refused_before_anything_is_predicted(done, tmp_path, values, said):
    write_raster(tmp_path / "mask.tif", values)
    area = done / "change" / "series" / "a"
    with pytest.raises(UserError, match=f"mask.tif: .*{said}"):
        run("difference", area, "--truth", tmp_path / "mask.tif", out=done)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["import"], "holds no acquisitions.csv"),
        (["train"], "holds no samples; run detect_changes.py import"),
        (["inject"], "holds no samples"),
        (["evaluate"], "holds no samples"),
        (["import", "--patch", "60"], "--patch 60: must be a power of two"),
        (["import", "--cover", "wood=3"], "--cover wood=3: write it as forest=23,24"),
        (["train", "--batch-size", "1"], "--batch-size 1: batch norm needs 2"),
        (["train", "--dropout", "1"], "--dropout 1.0: must be from 0 to below 1"),
        (["train", "--condition-noise", "-1"], "--condition-noise -1.0: must be 0 or more"),
        (["train", "--without", "moon"], "invalid choice: 'moon'"),
        (["inject", "--polygons", "0"], "--polygons must be 1 or more"),
        (["conditions", "--samples", "0"], "--samples 0: must be 1 or more"),
        (["difference", "nowhere"], "nowhere/acquisitions.csv: cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, argv, said):
    with pytest.raises(UserError) as caught:
        run(*argv, out=tmp_path)
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--date", "1999-01-01"], "there is no such acquisition; the nearest is 2020-01-01T15:54"),
        (["--date", "soon"], "--date soon: is no date"),
        (["--date", "2020-01-04T15:54"], "has 1 images before it, and 4 are needed"),
        (["--model", "nothing.pt"], "nothing.pt: there is no such model"),
    ],
)
def test_a_date_or_model_that_is_none(done, argv, said):
    with pytest.raises(UserError, match=said):
        run("difference", done / "change" / "series" / "a", *argv, out=done)


def test_a_model_that_carries_code_is_refused_and_nothing_is_executed(done, tmp_path):
    class Runs:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    import torch

    torch.save({"format": "predicted-image-1", "state": Runs()}, tmp_path / "bad.pt")
    with pytest.raises(UserError, match="is no model of this study"):
        run("difference", done / "change" / "series" / "a", "--model", tmp_path / "bad.pt", out=done)
    assert not (tmp_path / "executed").exists()


def test_as_a_process_a_mistake_ends_with_status_2_and_help_names_every_part(tmp_path):
    command = [sys.executable, str(ROOT / "detect_changes.py")]
    failed = subprocess.run([*command, "train", "--out", str(tmp_path)], capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("detect_changes.py: error: ")
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert all(f"    {name}" in shown.stdout for name in detect_changes.PARTS)


def test_from_a_simulated_series_to_what_truly_changes(tmp_path, capsys):
    run("simulate", "--areas", "1", "--size", "96", "--start", "2020-07-01", "--days", "100", out=tmp_path)
    run("import", "--patch", "16", "--test-weeks", "4", "--val-weeks", "4", out=tmp_path)
    run("train", *TRAIN, "--threads", "1", out=tmp_path)
    run("conditions", "--samples", "30", out=tmp_path)
    rows = {(row["change"], row["band"], row["cover"]): row for row in table(tmp_path / "change" / "conditions.csv")}
    orbit, rain = rows["orbit", "VH", "forest"], rows["rain", "VV", "forest"]
    assert float(orbit["true_spread_db"]) > 0.3  # slopes and edges change sides
    assert float(rain["true_mean_db"]) > 0.1  # rain makes it brighter
    assert -1 <= float(orbit["correlation"]) <= 1
    assert "without it nothing says" not in capsys.readouterr().err


def test_a_mask_of_another_place_is_refused_and_one_without_a_place_is_taken(done, tmp_path):
    area = read_area(done / "change" / "series" / "a")
    values = np.zeros((1, 112, 96), np.uint8)
    values[0, 0, 0] = 1
    write_raster(tmp_path / "mask.tif", values, transform=from_origin(500_000, 7_000_000, 10, 10))
    with pytest.raises(UserError, match=r"mask\.tif: lies elsewhere"):
        read_mask(tmp_path / "mask.tif", area)
    write_raster(tmp_path / "mask.tif", values, crs=None, transform=None)
    assert read_mask(tmp_path / "mask.tif", area).sum() == 1
