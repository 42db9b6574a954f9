"""The benchmark of heatmaps runs, and its figures are of what ran."""

import cams
import numpy as np
import pytest

from models import build

FEW = ["--models", "CNN", "--sizes", "32", "--chips", "3", "--turns", "2", "--sheets", "1"]


def test_it_runs_and_says_what_came_out(capsys):
    cams.main(FEW)
    printed = capsys.readouterr().out
    assert "`python benchmarks/cams.py --models CNN --sizes 32" in printed
    (row,) = [line for line in printed.splitlines() if line.startswith("| CNN, 32 x 32 |")]
    theirs, own, ratio, goal, met, *differences = [cell.strip() for cell in row.split("|")[2:-1]]
    assert float(ratio) == pytest.approx(float(own) / float(theirs), rel=0.05) and goal == "3"
    assert met == ("yes" if float(ratio) >= 3 else "no")
    assert len(differences) == 3 and all(0 < float(difference) < 1e-3 for difference in differences)
    (row,) = [line for line in printed.splitlines() if line.startswith("| 1 of 3 chips |")]
    alone, beside, faster, processes = [cell.strip() for cell in row.split("|")[2:-1]]
    half = 0.005  # of the last digit: on a busy machine the rates are a few hundredths, and rounding is most of them
    least = (float(beside) - half) / (float(alone) + half)
    most = (float(beside) + half) / max(float(alone) - half, 1e-9)
    assert least - half <= float(faster) <= most + half and processes.startswith("1 + ")


def test_rates_are_counts_by_seconds_and_turns_alternate(monkeypatch):
    clock = iter(np.cumsum([0, 2, 0, 1, 0, 1, 0, 4]))
    monkeypatch.setattr(cams.time, "perf_counter", lambda: float(next(clock)))
    went = []
    first, second = cams.Side(lambda: went.append(1)), cams.Side(lambda: went.append(2))
    cams.in_turns(2, first, second)
    assert went == [1, 2, 2, 1]
    assert first.seconds == [2, 4] and second.seconds == [1, 1]
    assert first.rate(30) == 10 and second.rate(30) == 30


def test_maps_that_differ_are_seen(monkeypatch):
    """The figure for how far maps are apart is of the maps that were timed."""
    chosen = cams.options(FEW)
    real = cams.one_by_one
    monkeypatch.setattr(cams, "one_by_one", lambda network, layer, pixels: 1 - real(network, layer, pixels))
    *_, apart, _, ours_off = cams.heatmaps_row("CNN", 32, chosen)
    assert float(apart) > 0.5 and float(ours_off) > 0.5


def test_drawing_that_differs_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(cams, "draw_sheet", lambda sheet: None)
    with pytest.raises(ValueError, match="did not draw the same"):
        cams.sheets_table(cams.options(FEW), tmp_path)


def test_the_library_s_way_is_one_chip_a_call():
    network, calls = build("CNN", 3, 32).eval(), []
    network.register_forward_hook(lambda module, inputs, output: calls.append(tuple(inputs[0].shape)))
    heat = cams.one_by_one(network, network.cam_layer, cams.draw_chips(3, 32))
    assert calls == 3 * [(1, 1, 32, 32)] and heat.shape == (3, 32, 32)
    assert all(parameter.requires_grad for parameter in network.parameters())
