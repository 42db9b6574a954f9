"""models.py: the networks, and what is common to all of them."""

import copy
import hashlib
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from models import (
    LEAST_CAM_SIDE,
    MODELS,
    SHIP_MODELS,
    UNFREEZE,
    ShipNetwork,
    build,
    freeze_to,
    layers_to_freeze,
    load_trained,
    load_trained_backbone,
)
from sarship.command import UserError
from sarship.device import choose_device
from sarship.runs import drop_state, write_run
from sarship.training import LabelledChips, Recipe, fit, predict
from tests.hollow import hollow

SCENE_MODELS = [name for name in MODELS if name not in SHIP_MODELS]
RECIPE = Recipe(
    epochs=1, batch_size=4, learning_rate=1e-3, weight_decay=0.01, loss="cross_entropy", sampler="none",
    augment="strict", detached=False, seed=1,
)  # fmt: skip


def chips(count: int, size: int = 32, seed: int = 0) -> LabelledChips:
    generator = np.random.default_rng(seed)
    return LabelledChips(generator.integers(0, 256, (count, size, size), np.uint8), np.arange(count) % 3, 3)


@cache
def _built(name: str) -> ShipNetwork:
    return build(name, 3, 32)


def fresh(name: str) -> ShipNetwork:
    """A copy of build(name, 3, 32), drawn once: to draw VGG16 takes longer than what is done with it here."""
    return copy.deepcopy(_built(name))


def backbone_hash(network: torch.nn.Module) -> str:
    """SHA-256 over every parameter and buffer of the backbone, batch-norm counters included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.features.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize(("size", "bands"), [(32, 1), (64, 3), (96, 1), (100, 3)])
@pytest.mark.parametrize("name", MODELS)
def test_every_network_answers_chips_of_any_size(name, size, bands):
    network = hollow(name, 4, size)
    assert network(torch.zeros(2, bands, size, size, device="meta")).shape == (2, 4)
    assert network.cam_layer in dict(network.named_modules())


def map_sizes(network: nn.Module, chips: torch.Tensor) -> dict[str, int]:
    """Columns of the map that comes out of each layer; of those that give a map."""
    sizes = {}

    def note(name: str, output) -> None:
        if isinstance(output, torch.Tensor) and output.dim() == 4:
            sizes[name] = output.shape[-1]

    for name, layer in network.named_modules():
        layer.register_forward_hook(lambda _, __, output, name=name: note(name, output))
    network(chips)
    return sizes


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [64, 128])
def test_the_cam_layer_is_the_deepest_with_an_extent(name, size):
    network = hollow(name, 3, size).eval()
    maps = map_sizes(network, torch.zeros(1, 1, size, size, device="meta"))
    assert maps[network.cam_layer] >= LEAST_CAM_SIDE
    if name.endswith("ResNet"):
        assert network.cam_layer == ("features.layer3" if size == 64 else "features.layer4")


@pytest.mark.parametrize("name", MODELS)
def test_cam_layers_and_stages_are_what_the_table_says(name):
    """Channels of the last map, the stride of each layer that Grad-CAM may look at, one map size to a stage."""
    with torch.device("meta"):
        backbone = MODELS[name].backbone()
    chips = torch.zeros(2, 3, 128, 128, device="meta")
    assert backbone.layers(chips).shape[:2] == (2, backbone.channels)
    maps = map_sizes(backbone.layers, chips)
    for layer, stride in backbone.cam_layers:
        assert maps[layer.removeprefix("features.")] == 128 // stride
    children = [child for child, _ in backbone.layers.named_children()]
    if name not in ("ResNet", "Fine_ResNet", "ViT"):  # whose stem and first stage, or all stages, share a map size
        ends = [*(stage - 1 for stage in backbone.stages[1:]), len(children) - 1]
        sides = [maps[children[end]] for end in ends]
        assert len(set(sides)) == len(sides)


@pytest.mark.parametrize("name", ["Fine_VGG", "Fine_ResNet", "NASNetMobile"])
def test_frozen_means_frozen_parameters_and_buffers(name):
    """Of the last one, the head begins with weights after the layer whose output is kept."""
    network = fresh(name)
    network.freeze(freeze_to(network, "all"))
    before = backbone_hash(network)
    head_before = [parameter.clone() for parameter in network.classifier.parameters()]
    fit(network, chips(12), chips(6, seed=1), RECIPE, choose_device("cpu", "float32"), None)
    assert backbone_hash(network) == before
    moved = [not torch.equal(*pair) for pair in zip(head_before, network.classifier.parameters(), strict=True)]
    assert all(moved), "and the head did train"


def test_drifting_batchnorm_moves_the_buffers_of_a_frozen_backbone_and_nothing_else_does():
    network = build("Fine_ResNet", 3, 32)
    network.freeze(len(network.features), drifting=True)
    before = {key: value.clone() for key, value in network.features.state_dict().items()}
    fit(network, chips(12), chips(6, seed=1), RECIPE, choose_device("cpu", "float32"), None)
    moved = {key for key, value in network.features.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {key for key in before if key.endswith(("running_mean", "running_var", "num_batches_tracked"))}


@pytest.mark.parametrize("name", SCENE_MODELS)
def test_a_training_step_moves_what_is_open_and_nothing_else(name):
    """Frozen up to the middle: parameters and buffers there stay, and gradients reach all of the rest."""
    network = fresh(name)
    names = [child for child, _ in network.features.named_children()]
    frozen = names[: len(names) // 2]
    network.freeze(freeze_to(network, frozen[-1]))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()
    torch.manual_seed(0)
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    for key, parameter in network.named_parameters():
        is_frozen = key.startswith(tuple(f"features.{layer}." for layer in frozen))
        assert (parameter.grad is None) == is_frozen, key
        assert is_frozen or parameter.grad.isfinite().all(), key
    reached = f"features.{names[len(frozen)]}."
    assert any(p.grad.any() for key, p in network.named_parameters() if key.startswith(reached))
    torch.optim.SGD([p for p in network.parameters() if p.grad is not None], lr=0.1).step()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert not {key for key in moved if key.startswith(tuple(f"features.{layer}." for layer in frozen))}
    assert {key for key in moved if key.startswith(reached)} and {key for key in moved if key.startswith("classifier.")}


@pytest.mark.parametrize("name", ["CNN", "VGG", "ResNet"])
@pytest.mark.parametrize("unfreeze", UNFREEZE)
def test_unfreeze_opens_stages_from_the_end(name, unfreeze):
    """Parameters and buffers of the first stages stay, those of the last move; all move once the backbone is free."""
    network = fresh(name)
    with torch.device("meta"):
        stages = MODELS[name].backbone().stages
    opened = {"none": 0, "last1": 1, "last2": 2, "all": len(stages)}[unfreeze]
    network.freeze(layers_to_freeze(name, unfreeze))
    before = {key: value.clone() for key, value in network.features.state_dict().items()}
    fit(network, chips(12), chips(6, seed=1), RECIPE, choose_device("cpu", "float32"), None)
    children = [child for child, _ in network.features.named_children()]
    first_open = len(children) if opened == 0 else stages[-opened]
    for key, value in network.features.state_dict().items():
        is_open = children.index(key.split(".")[0]) >= first_open
        if not is_open:
            assert torch.equal(value, before[key]), key
        elif key.endswith(("weight", "running_mean")):
            assert not torch.equal(value, before[key]), key


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["CNN", "VGG", "ResNet"])
def test_layers_computed_again_give_the_same_weights_and_statistics_to_the_bit(name, precision):
    """What memory is saved by must not be seen in the result, nor in the running statistics of batch norm."""

    def trained(recomputed: int) -> dict[str, torch.Tensor]:
        network = fresh(name)
        assert 0 < network.recomputed < len(network.features)
        network.recomputed = recomputed
        fit(network, chips(12), chips(6, seed=1), RECIPE, choose_device("cpu", precision), None)
        return network.state_dict()

    kept, again = trained(0), trained(hollow(name, 3, 32).recomputed)
    assert all(torch.equal(value, again[key]) for key, value in kept.items())


def test_layers_computed_again_do_keep_less():
    def kept_bytes(recomputed: int) -> int:
        network, sizes = build("CNN", 3, 64).train(), []
        network.recomputed = recomputed

        def note(tensor):
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(torch.rand(2, 1, 64, 64)).sum().backward()
        return sum(sizes)

    assert kept_bytes(4) < kept_bytes(0)


@pytest.mark.parametrize("name", ["CNN", "ResNet"])
def test_a_free_backbone_does_move_so_that_the_hash_can_tell(name):
    network = fresh(name)
    before = backbone_hash(network)
    fit(network, chips(8), chips(3, seed=1), RECIPE, choose_device("cpu", "float32"), None)
    assert backbone_hash(network) != before


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("VGG", 138_357_544 - 123_642_856),  # of torchvision's table of weights, less the layers of its classifier
     ("ResNet", 25_557_032 - 2_049_000),
     ("MobileNetV3", 5_483_032 - 960 * 1280 - 1280 - 1280 * 1000 - 1000),
     ("EfficientNet", 5_288_548 - 1280 * 1000 - 1000),
     ("ConvNeXt", 28_589_128 - 768 * 1000 - 1000),
     ("ViT", 86_567_656 - 768 * 1000 - 1000)],
)  # fmt: skip
def test_published_sizes(name, parameters):
    assert sum(p.numel() for p in hollow(name, 3, 64).features.parameters()) == parameters


def test_grey_is_colour_with_equal_bands_and_each_band_has_its_own_scaling():
    network = build("CNN", 3, 32).eval()
    grey, colour = torch.rand(2, 1, 32, 32), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))
        network.scale_input([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
        scaled = network(colour)
        network.scale_input(0, 1)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
        assert torch.equal(network((colour - mean) / std), scaled)


def test_one_value_of_scaling_is_that_of_every_band_to_the_bit():
    network = build("CNN", 3, 32)
    network.scale_input(0.1234567890123, 0.2)
    assert torch.equal(network.input_mean, torch.full((1, 3, 1, 1), 0.1234567890123))
    assert torch.equal(network.input_std, torch.full((1, 3, 1, 1), 0.2))


def test_freezing_to_a_named_layer():
    vgg, nasnet = hollow("VGG", 3, 64), hollow("NASNetMobile", 3, 64)
    assert [freeze_to(vgg, layer) for layer in ("input", "0", "30", "all")] == [0, 1, 31, 31]
    assert [freeze_to(nasnet, layer) for layer in ("input", "conv0", "cell_3", "relu", "all")] == [0, 1, 7, 18, 18]
    assert freeze_to(hollow("ViT", 3, 64), "encoder_layer_11") == 13
    with pytest.raises(UserError, match=r"--freeze-to cell_4: .*input, conv0, .*cell_3, reduction_cell_0, .*relu, all"):
        freeze_to(nasnet, "cell_4")


@pytest.mark.parametrize("name", MODELS)
def test_without_batch_norm_there_is_none_and_all_else_is_as_it_was(name):
    whole, without = hollow(name, 3, 32).state_dict(), hollow(name, 3, 32, batch_norm=False)
    assert not [layer for layer in without.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert without(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 3)
    norms = {key.rpartition(".")[0] for key in whole if key.endswith("running_mean")}
    assert without.state_dict().keys() == {key for key in whole if key.rpartition(".")[0] not in norms}


def test_without_batch_norm_convolutions_start_as_they_do_with_it():
    torch.manual_seed(0)
    whole = build("ResNet", 3, 32).state_dict()
    torch.manual_seed(0)
    without = build("ResNet", 3, 32, batch_norm=False).state_dict()
    assert all(torch.equal(value, whole[key]) for key, value in without.items())


def test_dropout_is_that_of_the_head_and_of_nothing_else():
    network = hollow("NASNetMobile", 3, 32, dropout=0.7)
    assert {layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)} == {0.7}
    encoder_dropout = {layer.p for layer in hollow("ViT", 3, 32, dropout=0).features.modules() if hasattr(layer, "p")}
    assert encoder_dropout == {0.0}
    with pytest.raises(UserError, match=r"--dropout 0\.5: the head of ViT has no dropout"):
        hollow("ViT", 3, 32, dropout=0.5)
    with pytest.raises(UserError, match="--dropout 1: must be"):
        hollow("CNN", 3, 32, dropout=1)


def test_what_cannot_be_built_is_said():
    with pytest.raises(UserError, match="no such model"):
        build("AlexNet", 3, 64)
    with pytest.raises(UserError, match="too small"):
        build("VGG", 3, 16)


def save(network, name: str, path, **further) -> None:
    meta = {"model": name, "classes": ["a", "b", "c"], "image_size": 32, "heads": "fitted", "loss": "cross_entropy"}
    meta |= {"pooled_cam": False} | further
    write_run(path, network.state_dict(), meta, [], {})


def test_a_model_file_is_enough_to_predict_with(tmp_path):
    network = build("CNN", 3, 32)
    network.scale_input(0.1, 0.2)
    save(network, "CNN", tmp_path / "CNN.pt")
    loaded, meta = load_trained(tmp_path / "CNN.pt")
    pixels, device = chips(5).pixels, choose_device("cpu", "float32")
    assert meta["classes"] == ["a", "b", "c"]
    assert np.array_equal(predict(loaded, pixels, device), predict(network, pixels, device))


@pytest.mark.parametrize("name", SCENE_MODELS)
def test_every_network_comes_back_from_its_file(name, tmp_path):
    network = fresh(name).eval()
    save(network, name, tmp_path / "x.pt")
    loaded, _ = load_trained(tmp_path / "x.pt")
    colour = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(colour), network(colour))


def test_a_network_without_batch_norm_comes_back_without(tmp_path):
    network = build("ResNet", 3, 32, batch_norm=False).eval()
    save(network, "ResNet", tmp_path / "x.pt", batch_norm=False)
    loaded, _ = load_trained(tmp_path / "x.pt")
    assert loaded.state_dict().keys() == network.state_dict().keys()


def test_a_trained_backbone_brings_its_input_scaling(tmp_path):
    base = fresh("VGG")
    base.scale_input(0.05, 0.11)
    save(base, "VGG", tmp_path / "VGG.pt")
    network = hollow("Fine_VGG", 3, 32).to_empty(device="cpu")
    load_trained_backbone(network, tmp_path / "VGG.pt")
    assert backbone_hash(network) == backbone_hash(base)
    assert torch.equal(network.input_std, base.input_std)
    with pytest.raises(UserError, match="another architecture"):
        load_trained_backbone(hollow("Fine_ResNet", 3, 32).to_empty(device="cpu"), tmp_path / "VGG.pt")


def test_a_foreign_or_damaged_model_file_is_refused(tmp_path):
    path = tmp_path / "x.pt"
    with pytest.raises(UserError, match="no such model file"):
        load_trained(path)
    path.write_bytes(b"PK\x03\x04 not torch")
    with pytest.raises(UserError, match="no trained model"):
        load_trained(path)
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="no trained model"):
        load_trained(path)
    torch.save({"state": {}, "meta": {}, "history": [], "tests": {}}, path)
    with pytest.raises(UserError, match="older form"):
        load_trained(path)


def test_a_model_file_without_weights_says_how_it_was_made(tmp_path):
    save(build("CNN", 3, 32), "CNN", tmp_path / "CNN.pt")
    drop_state(tmp_path / "CNN.pt")
    with pytest.raises(UserError, match=r"CNN\.pt: was made with --no-weights"):
        load_trained(tmp_path / "CNN.pt")


@pytest.mark.parametrize("name", ["ResNet", "VGG"])
def test_pooled_cam_points_at_the_pool_of_resnets_only(tmp_path, name):
    network = hollow(name, 3, 32).to_empty(device="cpu")
    meta = {"model": name, "classes": ["a", "b", "c"], "image_size": 32, "heads": "fitted", "loss": "cross_entropy"}
    write_run(tmp_path / "x.pt", network.state_dict(), meta | {"pooled_cam": True}, [], {})
    loaded, _ = load_trained(tmp_path / "x.pt")
    assert (loaded.cam_layer == "classifier.0") == (name == "ResNet")
