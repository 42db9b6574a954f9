"""Units counted over all chips, whatever the batches; maps that are shown as they are."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models import MODELS
from sarship.device import to_float
from sarship.interpretation.activations import (
    draw_maps,
    maps_of,
    most_varied,
    stage_layers,
    summary_line,
    unit_statistics,
)
from sarship.interpretation.outputs import NoSuchLayer, as_maps, outputs_of
from tests.hollow import hollow
from tests.interpretation.planted import DETECTOR, detector_network, planted_chips

LAYERS = ["features.0", "features.1", "classifier.2"]


def by_hand(chips: np.ndarray) -> np.ndarray:
    """(chips, units, rows, cols) of the network's ReLU."""
    network = detector_network()
    with torch.no_grad():
        return network.features(to_float(torch.from_numpy(chips)).expand(-1, 3, -1, -1)).numpy()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_units_are_as_counted_over_all_chips(batch_size):
    chips = planted_chips()
    units = unit_statistics(detector_network(), LAYERS, chips, batch_size)
    assert units.groupby("layer", sort=False).size().to_dict() == {"features.0": 4, "features.1": 4, "classifier.2": 2}
    of_relu, maps = units[units["layer"] == "features.1"], by_hand(chips)
    for column, value in {
        "mean": maps.mean(axis=(0, 2, 3)),
        "zero_share": (maps == 0).mean(axis=(0, 2, 3)),
        "least": maps.min(axis=(0, 2, 3)),
        "largest": maps.max(axis=(0, 2, 3)),
    }.items():
        # Rounding, which depends on the batch, takes a value or two over zero.
        tolerance = 5e-4 if column == "zero_share" else 1e-6
        assert of_relu[column].to_numpy() == pytest.approx(value, rel=1e-5, abs=tolerance), column


def test_a_unit_that_never_answers_is_dead_and_no_other():
    units = unit_statistics(detector_network(), ["features.1"], planted_chips(), 8)
    assert units["dead"].tolist() == [True, False, False, False]
    assert units["zero_share"][0] == 1 and units["zero_share"][1] < 1
    assert summary_line(units).startswith("features.1: 1 of 4 units dead")


def test_outputs_are_those_of_the_layer_though_the_next_works_in_place():
    (_, outputs), *_ = outputs_of(detector_network(), LAYERS[:2], planted_chips()[:2], 2)
    assert (outputs["features.0"] < 0).any() and (outputs["features.1"] >= 0).all()


def test_the_network_is_left_without_hooks():
    network = detector_network()
    maps_of(network, LAYERS, planted_chips()[:3], 2)
    assert not any(layer._forward_hooks for layer in network.modules())


def test_the_detector_varies_most_where_the_pattern_is():
    chips = planted_chips()[[3, 11, 0]]
    maps = maps_of(detector_network(), ["features.1"], chips, 2)["features.1"]
    assert maps == pytest.approx(by_hand(chips), abs=1e-6)
    assert most_varied(maps, 2)[0] in (DETECTOR, 3) and 0 not in most_varied(maps, 3)


def test_the_sheet_is_written(tmp_path):
    chips = planted_chips()[:3]
    for name, maps in maps_of(detector_network(), ["features.1", "classifier.2"], chips, 2).items():
        draw_maps(maps, chips, ["Cargo", "Cargo", "Fishing"], 3, tmp_path / f"{name}.png", "title")
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 200


@pytest.mark.parametrize("name", list(MODELS))
def test_every_network_of_the_table_has_stages_that_give_maps(name):
    network = hollow(name, 3, 64)
    with torch.device("meta"):
        backbone = MODELS[name].backbone()
        names = stage_layers(network, backbone.stages)
    assert len(names) == len(set(names)) == len(backbone.stages)
    shapes = {}
    handles = [
        network.get_submodule(each).register_forward_hook(
            lambda module, inputs, output, each=each: shapes.update({each: as_maps(output, module, each).shape})
        )
        for each in names
    ]
    nn.Module.train(network)  # attention has no way of its own there, which tensors without data could not take
    network(torch.zeros(2, 1, 64, 64, device="meta"))
    for handle in handles:
        handle.remove()
    sides = [shapes[each][2] for each in names]
    assert sides == sorted(sides, reverse=True) and sides[-1] >= 1


def test_tokens_become_a_map_without_the_class_token():
    maps = torch.arange(2 * 3 * 4).reshape(2, 3, 2, 2).float()
    tokens = torch.cat([torch.full((2, 1, 3), -1.0), maps.flatten(2).transpose(1, 2)], dim=1)
    for given in (tokens, tokens[:, 1:]):
        assert torch.equal(as_maps(given, nn.Identity(), "tokens"), maps)
    dense_over_map = maps.movedim(1, -1)
    assert torch.equal(as_maps(dense_over_map, nn.Linear(3, 3), "dense"), maps)
    with pytest.raises(NoSuchLayer, match="layer odd: its output of 7 x 3 is no map"):
        as_maps(torch.zeros(2, 7, 3), nn.Identity(), "odd")
