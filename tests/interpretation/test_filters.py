"""Kernels as pictures on one scale, and dead filters found wherever they are."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models import MODELS, build
from sarship.interpretation.filters import draw_filters, filter_norms, first_kernels, kernel_picture, summary_line
from sarship.interpretation.outputs import NoSuchLayer
from tests.hollow import hollow


def test_dead_filters_are_found_and_no_others():
    network = build("CNN", 3, 32)
    with torch.no_grad():
        network.features[4].weight[[3, 17]] *= 1e-4
        network.classifier[2].weight[5] = 0
    norms = filter_norms(network)
    dead = norms[norms["dead"]]
    assert list(zip(dead["layer"], dead["filter"], strict=True)) == [
        *[("features.4", 3), ("features.4", 17), ("classifier.2", 5)]
    ]
    assert len(norms) == 64 + 128 + 256 + 256 + 3
    weight = network.features[8].weight[9].detach().numpy()
    row = norms[(norms["layer"] == "features.8") & (norms["filter"] == 9)].iloc[0]
    assert row["norm"] == pytest.approx(np.sqrt((weight**2).sum()), rel=1e-5)
    assert summary_line(norms).endswith("2 in features.4, 1 in classifier.2")


def test_a_layer_of_zeros_is_dead_altogether():
    network = build("CNN", 3, 32)
    with torch.no_grad():
        network.features[0].weight.zero_()
    assert filter_norms(network).query("layer == 'features.0'")["dead"].all()


@pytest.mark.parametrize("name", list(MODELS))
def test_every_network_of_the_table_has_first_kernels(name):
    features = hollow(name, 3, 64).features
    first = next(module for module in features.modules() if isinstance(module, nn.Conv2d))
    assert first.in_channels == 3  # of the chip, not of something inside


def test_kernels_are_scaled_alike():
    kernels = np.zeros((3, 3, 2, 2), np.float32)
    kernels[0, 0], kernels[1, 1], kernels[2, :] = 2.0, -1.0, 1.0
    picture = kernel_picture(kernels, largest=2.0)
    side = 4  # each pixel of a kernel is enlarged to two
    assert picture[0, 0].tolist() == [1, 0.5, 0.5]
    assert picture[0, side + 1].tolist() == [0.5, 0.25, 0.5]
    assert picture[0, side].tolist() == [1, 1, 1]  # the gap
    assert picture[0, 2 * side + 2].tolist() == [0.75, 0.75, 0.75]


@pytest.mark.parametrize("bands", [1, 3])
def test_the_picture_is_written(tmp_path, bands):
    kernels = np.random.default_rng(0).normal(size=(64, bands, 3, 3)).astype(np.float32)
    draw_filters("features.0", kernels, tmp_path / "filters.png", "CNN")
    with Image.open(tmp_path / "filters.png") as image:
        assert min(image.size) > 400


def test_a_backbone_without_convolutions_is_said():
    network = build("CNN", 3, 32)
    network.features = nn.Sequential(nn.Flatten(), nn.Linear(3, 3))
    with pytest.raises(NoSuchLayer, match="no convolution"):
        first_kernels(network)
