"""The cost of each layer: by hand for VGG16 and attention, by autograd itself for what is kept, for every network."""

import pytest
import torch
import torchinfo
from PIL import Image
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from models import MODELS, build
from sarship.interpretation.layers import COLUMNS, draw_costs, grouped, layer_costs, summary_line
from sarship.profiling import flop_of
from tests.hollow import hollow

# Simonyan and Zisserman 2015, table 1, column D: channels of the 13 convolutions of 3 x 3; P is a pooling.
VGG16 = (64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512, "P")
FLOAT, INDEX = 4, 8  # bytes


def vgg_by_hand(size: int) -> dict[str, dict[str, int]]:
    """Parameters, multiply-adds and bytes of VGG16's convolutions, ReLUs and poolings, layer by layer.

    A convolution keeps its input, a ReLU its output, a pooling its input and an index a cell. What the ReLU keeps is
    the input of what follows, so that of the convolutions only those behind a pooling have something of their own.
    """
    rows, index, channels, behind_pooling = {}, 0, 3, True
    for entry in VGG16:
        if entry == "P":
            size //= 2
            rows[f"features.{index}"] = {"parameters": 0, "multiply_adds": 0, "kept": INDEX * channels * size**2}
            index, behind_pooling = index + 1, True
            continue
        weights = 3 * 3 * channels * entry
        rows[f"features.{index}"] = {
            "parameters": weights + entry,
            "multiply_adds": weights * size**2,
            "kept": FLOAT * channels * size**2 if behind_pooling else 0,
        }
        rows[f"features.{index + 1}"] = {"parameters": 0, "multiply_adds": 0, "kept": FLOAT * entry * size**2}
        index, channels, behind_pooling = index + 2, entry, False
    return rows


def test_vgg16_is_as_counted_by_hand_layer_by_layer():
    by_hand = vgg_by_hand(224)
    assert sum(row["parameters"] for row in by_hand.values()) == 14_714_688
    assert round(sum(row["multiply_adds"] for row in by_hand.values()) / 1e9, 2) == 15.35
    costs = layer_costs(hollow("VGG", 10, 224), 224).set_index("layer")
    features = costs[costs.index.str.startswith("features.")]
    assert list(features.index) == list(by_hand)
    for name, row in by_hand.items():
        counted = features.loc[name]
        assert (counted.parameters, counted.multiply_adds) == (row["parameters"], row["multiply_adds"]), name
        # The first five layers are computed again: they keep the chip that goes in, and nothing else.
        is_again = int(name.split(".")[1]) < 5 and name != "features.0"
        assert (counted.kept_bytes, counted.recomputed_bytes) == ((0, row["kept"]) if is_again else (row["kept"], 0))
    assert costs.loc["features.0", "output_shape"] == "64 x 224 x 224"
    assert costs.loc["features.0", "output_bytes"] == FLOAT * 64 * 224**2
    assert costs.loc["features.1", "output_bytes"] == 0  # works in place
    assert costs.loc["classifier.2", "multiply_adds"] == 512 * 10
    assert costs.loc["classifier.2", "parameters"] == 512 * 10 + 10


def test_attention_is_as_counted_by_hand():
    tokens, width, hidden = 14 * 14 + 1, 768, 3072
    costs = layer_costs(hollow("ViT", 3, 224), 224).set_index("layer")
    attention = costs.loc["features.encoder_layer_0.self_attention"]
    assert attention.multiply_adds == 4 * tokens * width**2 + 2 * tokens**2 * width
    assert attention.parameters == 4 * (width**2 + width)
    assert costs.loc["features.encoder_layer_0.mlp.0", "multiply_adds"] == tokens * width * hidden
    assert costs.loc["features.tokens.conv_proj", "multiply_adds"] == 14 * 14 * 3 * 16 * 16 * width
    assert costs.loc["features.tokens", "parameters"] == width + tokens * width  # class token and positions
    # Queries, keys, values and their result, and no products of all tokens with all.
    assert attention.kept_bytes < 8 * FLOAT * tokens * width


def kept_by_autograd(network: nn.Module, chips: int, size: int) -> int:
    """Bytes that autograd holds on to between a forward pass and its way back, weights left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    blocks = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            blocks[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        network.train()(torch.zeros(chips, 1, size, size))
    return sum(block.nbytes() for block in blocks.values())


@pytest.mark.parametrize("name", ["CNN", "ResNet", "MobileNetV3", "ViT"])
def test_what_is_kept_is_what_autograd_keeps(name):
    """As the network trains, with what is computed again: its size grows by the bytes of a chip for each chip."""
    network = build(name, 3, 64)
    grows = kept_by_autograd(network, 3, 64) - kept_by_autograd(network, 2, 64)
    assert layer_costs(network, 64)["kept_bytes"].sum() == grows


def test_frozen_layers_keep_nothing_and_counting_changes_nothing():
    network = build("CNN", 3, 32)
    network.freeze(len(network.features))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.eval()
    costs = layer_costs(network, 32)
    of_features = costs[costs["layer"].str.startswith("features.")]
    assert of_features["kept_bytes"].sum() == of_features["recomputed_bytes"].sum() == 0
    assert of_features["output_bytes"].sum() > 0 and costs["kept_bytes"].sum() > 0
    assert not network.training and network.recomputed == 4 and not network.drifting
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", [name for name in MODELS if not MODELS[name].frozen])
def test_every_network_of_the_table_is_counted_whole(name):
    network = hollow(name, 3, 64)
    costs = layer_costs(network, 64)
    assert tuple(costs.columns) == COLUMNS and costs["layer"].is_unique
    assert costs["parameters"].sum() == sum(weight.numel() for weight in network.parameters())
    assert (costs.drop(columns=["layer", "type", "output_shape"]) >= 0).all(axis=None)
    last = costs.iloc[-1]
    assert (last.layer.startswith("classifier."), last.output_shape) == (True, "3")


@pytest.mark.parametrize("name", ["CNN", "ViT"])
def test_no_product_is_counted_twice_or_not_at_all(name):
    network = hollow(name, 3, 64)
    layers = nn.Sequential(network.features, network.classifier)
    assert 2 * layer_costs(network, 64)["multiply_adds"].sum() == flop_of(layers, (3, 64, 64), backward=False)


def test_torchinfo_alone_would_miscount():
    """Why multiply-adds are counted here: when this fails, torchinfo has mended it, and layers.py can be shorter."""

    class OverTokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense, self.attention = nn.Linear(8, 8, bias=False), nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, tokens):
            return self.attention(*[self.dense(tokens)] * 3, need_weights=False)[0]

    counted = torchinfo.summary(OverTokens(), input_data=torch.zeros(1, 50, 8), verbose=0, mode="train")
    assert counted.total_mult_adds == 8 * 8  # and not 50 * 8 * 8 of the dense layer, and more of attention


def test_groups_add_up_and_are_few():
    costs = layer_costs(hollow("ResNet", 3, 64), 64)
    groups = grouped(costs)
    assert groups.sum().to_dict() == costs[list(groups.columns)].sum().to_dict()
    assert len(groups) <= 40 and "features.layer3.0" in groups.index


def test_the_figure_is_written_and_the_sums_are_said(tmp_path):
    costs = layer_costs(hollow("CNN", 3, 32), 32)
    draw_costs(costs, tmp_path / "layers.png", "CNN")
    with Image.open(tmp_path / "layers.png") as image:
        assert min(image.size) > 400
    weights = sum(weight.numel() for weight in hollow("CNN", 3, 32).parameters())
    assert summary_line(costs).startswith(f"{weights:,} parameters, ")
