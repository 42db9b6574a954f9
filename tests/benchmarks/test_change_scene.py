"""benchmarks/change_scene.py runs, and both of its ways predict the same image."""

import change_in_one_piece
import change_scene
import numpy as np
import rasterio
import torch

from sarship.change.predictor import build, load_predictor, write_model
from sarship.change.scene import earlier_of, predicted_strips
from sarship.change.series import read_area
from sarship.device import choose_device
from tests.change.small_series import write_area


def test_it_measures_both_ways(capsys):
    change_scene.main(["--sizes", "64", "--patch", "32", "--width", "4"])
    said = capsys.readouterr().out
    cells = next(line for line in said.splitlines() if line.startswith("| 64 x 64 ")).split("|")[2:-1]
    assert len(cells) == 5
    assert all(float(cell) > 0 for cell in cells)


def test_both_ways_give_the_same_image(tmp_path):
    settings = {"patch": 16, "width": 4, "stochastic_depth": 0.0, "dropout": 0.0, "without": []}
    torch.manual_seed(1)
    write_model(tmp_path / "UNet.pt", build(settings), {"settings": settings}, [])
    area = read_area(write_area(tmp_path / "a", 41, 53, count=5))
    predictor = load_predictor(tmp_path / "UNet.pt", choose_device("cpu", "float32"))
    newest = area.acquisitions[-1]
    strips = np.concatenate(
        [part for _, part in predicted_strips(predictor, area, newest, earlier_of(area, newest))], 1
    )
    whole = change_in_one_piece.predicted_in_one_piece(predictor, area, newest, earlier_of(area, newest))
    assert np.allclose(strips, whole, atol=1e-4)
    assert rasterio.open(area.folder / newest.file).shape == whole.shape[1:]
