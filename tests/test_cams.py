"""Class activation maps point at what the network answers by, also through a frozen backbone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models import ShipNetwork, build
from sarship.attention import ship_mask
from sarship.cams import METHODS, activation_maps, attention_row, choose_chips, spatial_layer
from sarship.command import UserError
from sarship.device import Device
from sarship.training import LabelledChips, Recipe, fit

SIDE = 64


def brightness_network(frozen: bool = False) -> ShipNetwork:
    """Class 1 speaks for what is brighter than half, class 0 against it."""
    seen = nn.Conv2d(3, 1, kernel_size=1)
    answer = nn.Linear(1, 2)
    with torch.no_grad():
        seen.weight.fill_(1 / 3)
        seen.bias.fill_(-0.5)
        answer.weight.copy_(torch.tensor([[-1.0], [1.0]]))
        answer.bias.zero_()
    features = nn.Sequential(seen, nn.ReLU(inplace=True))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), answer)
    network = ShipNetwork(features, head, cam_layer="features.1").eval()
    network.freeze(len(features) if frozen else 0)
    network.scale_input(0, 1)
    return network


def with_blob(row: int, col: int, seed: int) -> np.ndarray:
    chip = np.random.default_rng(seed).rayleigh(12, (SIDE, SIDE)).clip(0, 100)
    chip[row : row + 6, col : col + 6] = 230
    return chip.astype(np.uint8)


def maps_of(network, pixels, targets=None, layer="features.1", method="gradcam", batch_size=4):
    return activation_maps(network, layer, pixels, targets, method, batch_size)


@given(row=st.integers(0, SIDE - 6), col=st.integers(0, SIDE - 6), seed=st.integers(0, 99), frozen=st.booleans())
@settings(max_examples=25, deadline=None)
def test_planted_blob_takes_the_peak(row, col, seed, frozen):
    maps = maps_of(brightness_network(frozen), with_blob(row, col, seed)[None])
    peak_row, peak_col = np.unravel_index(maps.heat[0].argmax(), (SIDE, SIDE))
    assert row <= peak_row < row + 6 and col <= peak_col < col + 6
    assert maps.probabilities[0].argmax() == 1


def test_briefly_trained_cnn_looks_at_the_blob():
    """Blob or no blob, anywhere in the chip: what the answer depends on is the blob, and so the peak is on it."""
    side, n_train = 32, 128
    rng = np.random.default_rng(0)
    pixels = rng.rayleigh(12, (n_train + 32, side, side)).clip(0, 100).astype(np.uint8)
    labels = np.arange(len(pixels)) % 2
    places = rng.integers(0, side - 6, (len(pixels), 2))
    pixels[labels == 1] = _blobs(pixels[labels == 1], places[labels == 1])
    torch.manual_seed(0)
    network = build("CNN", 2, side)
    recipe = Recipe(
        epochs=6,
        batch_size=16,
        learning_rate=1e-3,
        weight_decay=0,
        loss="cross_entropy",
        sampler="none",
        augment="none",
        detached=False,
        seed=0,
    )
    train, val = (LabelledChips(pixels[part], labels[part], 2) for part in (slice(n_train), slice(0)))
    fit(network, train, val, recipe, Device("cpu", torch.float32), None)
    with_blob = np.flatnonzero(labels[n_train:]) + n_train
    maps = maps_of(network.eval(), pixels[with_blob], np.ones(len(with_blob), int), network.cam_layer)
    assert (maps.probabilities.argmax(axis=1) == 1).all()
    peaks = np.array([np.unravel_index(heat.argmax(), heat.shape) for heat in maps.heat])
    off_centre = np.abs(peaks - (places[with_blob] + 2.5)).max(axis=1)
    assert (off_centre <= 7).mean() >= 0.9  # the blob is 6 px, a cell of the layer's 8 x 8 map 4: half of both, and 2


def _blobs(pixels: np.ndarray, places: np.ndarray) -> np.ndarray:
    marked = pixels.copy()
    for chip, (row, col) in zip(marked, places, strict=True):
        chip[row : row + 6, col : col + 6] = 230
    return marked


@pytest.mark.parametrize("name", ["Fine_VGG", "Fine_ResNet"])
def test_frozen_backbone_gives_the_maps_of_the_same_network_unfrozen(name):
    torch.manual_seed(0)
    network = build(name, 3, SIDE).eval()
    assert not any(parameter.requires_grad for parameter in network.features.parameters())
    pixels = np.stack([with_blob(20, 30, seed) for seed in range(3)])
    frozen = maps_of(network, pixels, np.array([0, 1, 2]), network.cam_layer)
    network.features.requires_grad_(True)
    unfrozen = maps_of(network, pixels, np.array([0, 1, 2]), network.cam_layer)
    assert np.ptp(frozen.heat, axis=(1, 2)).max() == pytest.approx(1, abs=1e-5)
    assert (frozen.heat == unfrozen.heat).all()


def plain_maps(network: ShipNetwork, pixels: np.ndarray, layer: str) -> np.ndarray:
    """The library's maps, one chip a call, of a network that keeps all gradients and overwrites nothing."""
    network.requires_grad_(True)
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    chips = torch.from_numpy(pixels)[:, None].float() / 255
    with METHODS["gradcam"](network, [network.get_submodule(layer)]) as cam:
        return np.concatenate([cam(chip[None], None) for chip in chips])


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("CNN", "features.10"),
        ("CNN", "features.8"),  # what comes after it is a batch norm, ...
        ("CNN", "features.9"),  # ... and after this one a ReLU that works in place
        ("VGG", "features.22"),
        ("Fine_ResNet", "features.layer3"),
        ("Fine_ResNet", "features.layer3.5.conv2"),
    ],
)
def test_maps_equal_the_librarys_own_one_by_one(name, layer):
    torch.manual_seed(1)
    network = build(name, 3, SIDE).eval()
    pixels = np.stack([with_blob(20, 30, seed) for seed in range(3)])
    maps = maps_of(network.to(memory_format=torch.channels_last), pixels, None, layer, batch_size=2)
    assert maps.heat == pytest.approx(plain_maps(network, pixels, layer), abs=1e-3)
    assert np.ptp(maps.heat, axis=(1, 2)) == pytest.approx(1, abs=1e-5)


def test_batches_do_not_change_maps():
    torch.manual_seed(1)
    network = build("CNN", 3, SIDE).eval()
    pixels = np.stack([with_blob(20, 30, seed) for seed in range(5)])
    one, all_at_once = (maps_of(network, pixels, None, network.cam_layer, batch_size=size) for size in (1, 5))
    assert one.heat == pytest.approx(all_at_once.heat, abs=1e-5)
    assert one.probabilities == pytest.approx(all_at_once.probabilities, abs=1e-6)


def test_a_batch_goes_once_forth_and_back_only_as_far_as_the_layer(monkeypatch):
    network = build("CNN", 3, SIDE).eval()
    forth = {"features.0": [], "classifier.2": []}  # chips in each pass, and whether the way back is kept
    for name, passes in forth.items():
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, passes=passes: passes.append((len(output), output.requires_grad))
        )
    backward, back = torch.Tensor.backward, []

    def counted(loss: torch.Tensor, *given, **options) -> None:
        back.append(loss)
        backward(loss, *given, **options)

    monkeypatch.setattr(torch.Tensor, "backward", counted)
    maps_of(network, np.stack([with_blob(9, 9, seed) for seed in range(5)]), None, "features.10", batch_size=4)
    assert forth["features.0"] == [(1, False), (4, False), (1, False)]  # the first is the chip that shows the extent
    assert forth["classifier.2"] == [(1, False), (4, True), (1, True)]
    assert len(back) == 2


def test_network_comes_back_as_it_was():
    network = build("Fine_VGG", 3, SIDE).eval()
    before = [(parameter.requires_grad, parameter.clone()) for parameter in network.parameters()]
    maps_of(network, with_blob(9, 9, 0)[None], None, network.cam_layer)
    for parameter, (requires_grad, value) in zip(network.parameters(), before, strict=True):
        assert parameter.requires_grad == requires_grad and parameter.grad is None and (parameter == value).all()
    assert not any(module._forward_hooks for module in network.modules())


def test_class_that_nothing_speaks_for_has_a_constant_map_which_is_said():
    chip = with_blob(30, 30, 0)
    maps = maps_of(brightness_network(), chip[None], np.array([0]))
    mask = ship_mask(chip)
    row = attention_row(mask, maps.heat[0])
    assert mask.any() and row["constant"] and np.isnan(row["energy_on_ship"]) and row["uniform_energy"] > 0


def test_map_on_the_ship_beats_the_uniform_one():
    chip = with_blob(29, 29, 0)
    maps = maps_of(brightness_network(), chip[None], np.array([1]))
    row = attention_row(ship_mask(chip), maps.heat[0])
    assert row["energy_on_ship"] > 0.95 and row["peak_on_ship"] == 1 and row["uniform_energy"] < 0.05
    assert row["ship_pixels"] >= 36 and not row["constant"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_maps_from_0_to_1(method):
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    network = ShipNetwork(features, head, "features.1").eval()
    network.freeze(len(features))
    maps = maps_of(network, np.stack([with_blob(20, 20, seed) for seed in range(3)]), None, method=method, batch_size=2)
    assert maps.heat.shape == (3, SIDE, SIDE) and maps.heat.min() >= 0 and maps.heat.max() <= 1
    assert maps.probabilities.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        ("classifier.0", "layer classifier.0: its output has 1 x 1 extent"),
        ("classifier.2", "layer classifier.2: its output has no extent"),
        ("avgpool", "--layer avgpool: the network has no such layer"),
    ],
)
def test_layer_without_a_map_is_refused_by_name(layer, named):
    network = build("Fine_ResNet", 3, SIDE).eval()
    with pytest.raises(UserError, match=named):
        maps_of(network, with_blob(9, 9, 0)[None], None, layer)
    assert not any(module._forward_hooks for module in network.modules())


def test_chip_so_small_that_the_map_is_1_x_1_is_refused():
    network = build("ResNet", 3, 32).eval()
    with pytest.raises(UserError, match="1 x 1"):
        spatial_layer(network, "features.layer4", (32, 32))


@given(
    classes=st.lists(st.sampled_from(["Cargo", "Fishing", "Tanker"]), min_size=1, max_size=80),
    per_class=st.integers(1, 20),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_chosen_chips_are_distinct_of_their_class_and_as_many_as_there_are(classes, per_class, seed):
    names = np.array(classes)
    chosen = choose_chips(names, per_class, seed)
    assert chosen.keys() == set(classes)
    for name, indices in chosen.items():
        assert len(set(indices)) == len(indices) == min(per_class, classes.count(name))
        assert (names[indices] == name).all() and (np.diff(indices) > 0).all()
        assert (indices == choose_chips(names, per_class, seed)[name]).all()


def test_chosen_chips_are_spread_over_the_whole_order():
    chosen = choose_chips(np.array(["Cargo"] * 100), 10, seed=3)["Cargo"]
    assert (np.diff(chosen) == 10).all()
