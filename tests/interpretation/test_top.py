"""The chips that excite a unit most: a planted detector finds the planted chips, whatever the batches."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sarship.interpretation.outputs import NoSuchLayer
from sarship.interpretation.top import (
    RunningTop,
    chance_purity,
    draw_top,
    purities,
    summary_line,
    top_chips,
    top_table,
    units_to_show,
)
from tests.interpretation.planted import DETECTOR, PLANTED, SIDE, detector_network, planted_chips

CLASSES = ["Tanker" if chip in PLANTED else "Cargo" for chip in range(30)]
ROWS = pd.DataFrame({"chip": [f"chip{number}" for number in range(30)], "dataset": "Fusar", "class": CLASSES})


@pytest.mark.parametrize("batch_size", [1, 7, 30, 64])
def test_a_planted_detector_finds_exactly_the_planted_chips_at_their_places(batch_size):
    found = top_chips(detector_network(), "features.1", planted_chips(), k=4, batch_size=batch_size)
    places = zip(found.rows[:, DETECTOR], found.cols[:, DETECTOR], strict=True)
    # Brightest first, as they were planted.
    assert dict(zip(found.chips[:, DETECTOR].tolist(), places, strict=True)) == PLANTED
    assert found.chips[:, DETECTOR].tolist() == list(PLANTED)
    assert purities(found, CLASSES)[DETECTOR] == 1
    assert found.constant.tolist() == [True, False, False, False]


def test_the_next_ones_are_others_and_purity_falls():
    found = top_chips(detector_network(), "features.1", planted_chips(), k=5, batch_size=8)
    assert set(found.chips[:4, DETECTOR]) == set(PLANTED) and found.chips[4, DETECTOR] not in PLANTED
    assert found.activations[4, DETECTOR] < 0.5 * found.activations[3, DETECTOR]
    assert purities(found, CLASSES)[DETECTOR] == 0.8


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 6), st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(1, 3)
)
def test_it_is_what_sorting_everything_gives(seed, k, batches, levels):
    """Few levels make many ties: the first chip and the first cell win them."""
    maps = torch.from_numpy(np.random.default_rng(seed).integers(0, levels + 1, (sum(batches), 3, 2, 3))).float()
    running, start = RunningTop(k), 0
    for count in batches:
        running.add(maps[start : start + count], start)
        start += count
    found = running.result()
    flat = maps.flatten(2).numpy()
    order = np.argsort(-flat.max(axis=2), axis=0, kind="stable")[:k]
    assert np.array_equal(found.chips, order)
    assert np.array_equal(found.activations, np.take_along_axis(flat.max(axis=2), order, axis=0))
    places = np.take_along_axis(flat.argmax(axis=2), order, axis=0)
    assert np.array_equal(found.rows * 3 + found.cols, places)
    assert np.array_equal(found.constant, flat.max(axis=2).min(axis=0) == flat.max(axis=2).max(axis=0))


def test_memory_does_not_grow_with_the_chips():
    running = RunningTop(2)
    for start in range(0, 400, 10):
        running.add(torch.rand(10, 5, 4, 4), start)
    kept = (running._values, running._chips, running._places, running._least)
    assert sum(tensor.numel() for tensor in kept) == 3 * 2 * 5 + 5
    assert all(tensor.untyped_storage().nbytes() <= 8 * 2 * 5 for tensor in kept)


def test_the_table_has_a_row_for_each_unit_and_rank():
    table = top_table(top_chips(detector_network(), "features.1", planted_chips(), 4, 8), ROWS)
    assert len(table) == 4 * 4
    of_detector = table[table["unit"] == DETECTOR]
    assert of_detector["chip"].tolist() == [f"chip{chip}" for chip in PLANTED]
    assert of_detector["rank"].tolist() == [1, 2, 3, 4] and (of_detector["purity"] == 1).all()
    assert list(zip(of_detector["row"], of_detector["col"], strict=True)) == list(PLANTED.values())
    assert table[table["unit"] == 0]["purity"].isna().all()


def test_random_chips_are_as_pure_as_counting_says():
    # Two of two classes of one chip each: one of each, always. Three of 3 + 1: pure in one draw of four.
    assert chance_purity(["a", "b"], 2) == 0.5
    assert chance_purity(["a", "a", "a", "b"], 3) == pytest.approx((1 + 3 * 2 / 3) / 4, abs=0.02)


def test_units_are_spread_over_those_that_answer():
    found = top_chips(detector_network(), "features.1", planted_chips(), 2, 8)
    assert units_to_show(found).tolist() == [1, 2, 3] and units_to_show(found, 2).tolist() == [1, 3]


def test_a_dense_layer_has_no_places(tmp_path):
    found = top_chips(detector_network(), "classifier.2", planted_chips(), 3, 8)
    assert found.cells == (1, 1) and found.chips.shape == (3, 2)
    draw_top(found, planted_chips(), CLASSES, [0, 1], tmp_path / "top.png", "title")
    assert (tmp_path / "top.png").exists()


def test_the_cell_is_marked_on_the_chip(tmp_path):
    """A pixel of the mark's colour stands where the pattern was planted, and nowhere far from it."""
    found = top_chips(detector_network(), "features.1", planted_chips(), 1, 8)
    draw_top(found, planted_chips(), CLASSES, [DETECTOR], tmp_path / "top.png", "x")
    with Image.open(tmp_path / "top.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    is_mark = (pixels[:, :, 0] > 150) & (pixels[:, :, 2] < 60)
    is_dark = pixels.max(axis=2) < 90
    cols = np.flatnonzero(is_dark.sum(axis=0) > 50)  # more than text has
    rows = np.flatnonzero(is_dark[:, cols].mean(axis=1) > 0.5)
    marked_rows, marked_cols = np.nonzero(is_mark)
    share = (marked_rows.mean() - rows.min()) / np.ptp(rows), (marked_cols.mean() - cols.min()) / np.ptp(cols)
    row, col = next(iter(PLANTED.values()))
    assert share == pytest.approx(((row + 0.5) / SIDE, (col + 0.5) / SIDE), abs=0.06)


def test_the_summary_says_what_chance_gives():
    line = summary_line(top_chips(detector_network(), "features.1", planted_chips(), 4, 8), CLASSES)
    assert line.startswith("4 units, 4 chips each: mean purity ") and line.endswith("1 units the same on all chips")


@pytest.mark.parametrize("name", ["features.9", "classifier", "nothing"])
def test_a_layer_that_is_not_there_is_said(name):
    with pytest.raises(NoSuchLayer, match=name):
        top_chips(detector_network(), name, planted_chips(), 2, 8)
