"""Clouds of dense layers: each chip once, the same places for the same seed, legends that can be read."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from torch import nn

from models import MODELS, build
from sarship.command import UserError
from sarship.interpretation.drawing import group_styles
from sarship.interpretation.outputs import NoSuchLayer
from sarship.interpretation.tsne import (
    NEIGHBOUR_COLUMNS,
    dense_layers,
    dense_outputs,
    draw_cloud,
    embed,
    gather,
    neighbour_rows,
    summary_table,
)
from sarship.prepared import list_datasets, read_dataset
from tests.hollow import hollow
from tests.small import make_prepared


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    out = make_prepared(tmp_path_factory.mktemp("small"), ("Fusar", "OpenSARShip", "Mixed"))
    return {name: read_dataset(out, name) for name in list_datasets(out)}


def test_each_chip_is_there_once_with_its_pixels(sets):
    cloud = gather(sets, most=1000)
    assert len(cloud.rows) == len(cloud.pixels) == 2 * 3 * 8
    assert not cloud.rows.duplicated(["dataset", "chip"]).any()
    for name in ("Fusar", "OpenSARShip"):
        mine = (cloud.rows["dataset"] == name).to_numpy()
        assert np.array_equal(cloud.pixels[mine], sets[name].pixels("test"))
        assert cloud.rows[mine]["chip"].tolist() == sets[name].rows("test")["chip"].tolist()


def test_fewer_chips_are_spread_over_sets_and_classes(sets):
    cloud = gather(sets, most=12)
    assert len(cloud.pixels) == 12
    assert cloud.rows.groupby(["dataset", "class"]).size().tolist() == [2] * 6
    whole = gather(sets, most=1000)
    known = dict(zip(whole.rows["chip"], whole.pixels, strict=True))
    for chip, pixels in zip(cloud.rows["chip"], cloud.pixels, strict=True):
        assert np.array_equal(known[chip], pixels), chip


@pytest.mark.parametrize("name", list(MODELS))
def test_every_network_of_the_table_has_dense_layers(name):
    network = hollow(name, 7, 64)
    layers = dense_layers(network)
    first, last = (network.get_submodule(each.removeprefix("into ")) for each in (layers[0], layers[-1]))
    assert layers[0] == f"into {layers[1]}" and first.in_features > 100 and last.out_features == 7


def test_outputs_are_those_of_the_layers(sets):
    network, pixels = build("CNN", 3, 32).eval(), sets["Fusar"].pixels("test")
    outputs = dense_outputs(network, dense_layers(network), pixels, 5)
    assert {name: values.shape for name, values in outputs.items()} == {
        "into classifier.2": (24, 4096),
        "classifier.2": (24, 256),
        "classifier.5": (24, 3),
    }
    with torch.no_grad():
        logits = network(torch.from_numpy(np.array(pixels))[:, None].float() / 255)
        hidden = network.classifier[2](torch.from_numpy(outputs["into classifier.2"]))
    assert outputs["classifier.5"] == pytest.approx(logits.numpy(), abs=1e-4)
    assert outputs["classifier.2"] == pytest.approx(hidden.numpy(), abs=1e-4)  # not what the ReLU made of it


def two_groups(chips: int = 60, width: int = 80) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal(size=(chips, width)) + 30 * (np.arange(chips) % 2)[:, None]


def test_groups_stay_apart_and_the_same_seed_gives_the_same_places():
    places = embed(two_groups(), perplexity=10, seed=1)
    assert places.shape == (60, 2) and np.array_equal(places, embed(two_groups(), perplexity=10, seed=1))
    one, other = places[::2], places[1::2]
    between = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    assert between > 2 * max(one.std(), other.std())


def test_too_few_chips_for_the_perplexity_is_said():
    with pytest.raises(UserError, match=r"--perplexity 60: needs more chips than that, and there are 60"):
        embed(two_groups(), perplexity=60, seed=1)


@pytest.mark.parametrize("count", [1, 10, 45])
def test_the_picture_is_written_with_every_name(tmp_path, count, monkeypatch):
    rows = pd.DataFrame({"class": [f"Land use {number % count}" for number in range(90)], "dataset": "AID"})
    rows["vessel"] = ""
    places = np.random.default_rng(0).normal(size=(90, 2))
    figures = neighbour_rows("classifier.2", places, rows)
    assert [row["told_apart"] for row in figures] == (["class"] if count > 1 else [])
    written = []
    monkeypatch.setattr(Text, "set_text", written_too(written))
    draw_cloud(places, rows, figures, tmp_path / "tsne.png", "title")
    assert set(rows["class"]) <= set(written) and "by data set: there is one only" in written
    with Image.open(tmp_path / "tsne.png") as image:
        assert min(image.size) > 600


def written_too(written: list[str]):
    plain = Text.set_text

    def set_text(self, text):
        written.append(str(text))
        plain(self, text)

    return set_text


def test_styles_are_all_different_until_there_are_too_many():
    styles = group_styles(100)
    assert len(set(styles)) == 100 and len({marker for _, marker in styles[:10]}) == 1
    with pytest.raises(UserError, match="101 classes"):
        group_styles(101)


def test_layers_are_summed_up_in_their_order():
    rows = [
        dict(zip(NEIGHBOUR_COLUMNS, (layer, 9, kind, 2, 0.8, 0.7, 0.9, 0.75, 0.5), strict=True))
        for layer in ("into classifier.5", "classifier.10")
        for kind in ("class", "dataset")
    ]
    header, first, second = summary_table(pd.DataFrame(rows)).splitlines()
    assert header.split() == ["layer", "width", "class", "dataset"]
    assert first.split()[-5:] == ["9", "75", "(50)", "75", "(50)"] and "into classifier.5" in first
    assert "classifier.10" in second


def test_a_head_without_dense_layers_is_said():
    network = build("CNN", 3, 32)
    network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(NoSuchLayer, match="no dense layer"):
        dense_layers(network)
