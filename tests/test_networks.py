"""models.py: the five networks."""

import hashlib

import numpy as np
import pytest
import torch

from models import (
    LEAST_CAM_SIDE,
    MODELS,
    UNFREEZE,
    build,
    layers_to_freeze,
    load_imagenet_backbone,
    load_trained,
    load_trained_backbone,
)
from sarship.command import UserError
from sarship.device import choose_device
from sarship.runs import drop_state, write_run
from sarship.training import LabelledChips, Recipe, fit, predict

RECIPE = Recipe(
    epochs=2, batch_size=4, learning_rate=1e-3, weight_decay=0.01, loss="cross_entropy", sampler="none",
    augment="strict", detached=False, seed=1,
)  # fmt: skip


def chips(count: int, size: int = 32, seed: int = 0) -> LabelledChips:
    generator = np.random.default_rng(seed)
    return LabelledChips(generator.integers(0, 256, (count, size, size), np.uint8), np.arange(count) % 3, 3)


def backbone_hash(network: torch.nn.Module) -> str:
    """SHA-256 over every parameter and buffer of the backbone, batch-norm counters included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.features.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [32, 64, 100])
def test_every_network_answers_chips_of_any_size(name, size):
    network = build(name, 4, size).eval()
    assert network(torch.rand(2, 1, size, size)).shape == (2, 4)
    assert network.cam_layer in dict(network.named_modules())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [64, 128])
def test_the_cam_layer_is_the_deepest_with_an_extent(name, size):
    network = build(name, 3, size).eval()
    sides = {}
    for layer, module in network.named_modules():
        module.register_forward_hook(lambda _, __, output, layer=layer: sides.update({layer: output.shape[-1]}))
    network(torch.rand(1, 1, size, size))
    assert sides[network.cam_layer] >= LEAST_CAM_SIDE
    if name.endswith("ResNet"):
        assert network.cam_layer == ("features.layer3" if size == 64 else "features.layer4")


@pytest.mark.parametrize("name", ["Fine_VGG", "Fine_ResNet"])
def test_frozen_means_frozen_parameters_and_buffers(name):
    network = build(name, 3, 32)
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


@pytest.mark.parametrize("name", ["CNN", "VGG", "ResNet"])
@pytest.mark.parametrize("unfreeze", UNFREEZE)
def test_unfreeze_opens_stages_from_the_end(name, unfreeze):
    """Parameters and buffers of the first stages stay, those of the last move; all move once the backbone is free."""
    network = build(name, 3, 32)
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
        torch.manual_seed(0)
        network = build(name, 3, 32)
        assert 0 < network.recomputed < len(network.features)
        network.recomputed = recomputed
        fit(network, chips(12), chips(6, seed=1), RECIPE, choose_device("cpu", precision), None)
        return network.state_dict()

    kept, again = trained(0), trained(build(name, 3, 32).recomputed)
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


def test_the_cosine_layer_is_the_cosine_times_the_scale_of_the_paper():
    network = build("CNN", 3, 32, cosine=True)
    layer = network.classifier[-1]
    features = torch.randn(5, 256)
    logits = layer(features)
    by_hand = 30 * (features @ layer.weight.T) / (features.norm(dim=1)[:, None] * layer.weight.norm(dim=1))
    assert torch.allclose(logits, by_hand, atol=1e-4)
    assert torch.allclose(layer(7 * features), logits, atol=1e-4), "the length of the features does not matter"


@pytest.mark.parametrize("name", ["CNN", "ResNet"])
def test_a_free_backbone_does_move_so_that_the_hash_can_tell(name):
    network = build(name, 3, 32)
    before = backbone_hash(network)
    fit(network, chips(8), chips(3, seed=1), RECIPE, choose_device("cpu", "float32"), None)
    assert backbone_hash(network) != before


def test_the_published_cnn_head_has_822_million_weights():
    with torch.device("meta"):
        network = build("CNN", 3, 224, heads="published")
    assert network.classifier[1].weight.numel() == 822_083_584


def test_the_published_resnet_head_sees_ten_distinct_numbers():
    network = build("ResNet", 3, 64, heads="published").eval()
    pooled = network.classifier[:2](torch.rand(1, 2048, 2, 2))
    assert pooled.shape == (1, 100)
    assert len(pooled.unique()) == 10


def test_published_sizes():
    assert sum(p.numel() for p in build("VGG", 3, 64).features.parameters()) == 14_714_688  # VGG16 without its head
    assert sum(p.numel() for p in build("ResNet", 3, 64).features.parameters()) == 23_508_032  # ResNet50 without fc


def test_what_cannot_be_built_is_said():
    with pytest.raises(UserError, match="no such model"):
        build("AlexNet", 3, 64)
    with pytest.raises(UserError, match="too small"):
        build("VGG", 3, 16)


def test_a_failed_download_says_which_file_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    network = build("Fine_VGG", 3, 32)
    before = backbone_hash(network)
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth.*checkpoints"):
        load_imagenet_backbone(network, "Fine_VGG")
    assert backbone_hash(network) == before


@pytest.mark.parametrize(("name", "base"), [("Fine_VGG", "VGG"), ("Fine_ResNet", "ResNet")])
def test_imagenet_weights_are_loaded_from_the_file_that_the_message_names(name, base, monkeypatch, tmp_path):
    """With a stand-in of the real file's name, keys and shapes: the real one cannot be had without a network."""
    from torchvision import models as zoo

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    builder, weights = (
        (zoo.vgg16, zoo.VGG16_Weights.IMAGENET1K_V1)
        if base == "VGG"
        else (zoo.resnet50, zoo.ResNet50_Weights.IMAGENET1K_V1)
    )
    stand_in = builder()
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / weights.url.rsplit("/", 1)[1]
    torch.save(stand_in.state_dict(), path)
    network = build(name, 3, 32)
    load_imagenet_backbone(network, name)
    own, theirs = network.features.state_dict(), stand_in.state_dict()
    assert all(torch.equal(value, theirs.get(key, theirs.get(f"features.{key}"))) for key, value in own.items())


def save(network, name: str, path) -> None:
    meta = {"model": name, "classes": ["a", "b", "c"], "image_size": 32, "heads": "fitted", "loss": "cross_entropy"}
    meta |= {"pooled_cam": False}
    write_run(path, network.state_dict(), meta, [], {})


def test_a_model_file_is_enough_to_predict_with(tmp_path):
    network = build("CNN", 3, 32)
    network.scale_input(0.1, 0.2)
    save(network, "CNN", tmp_path / "CNN.pt")
    loaded, meta = load_trained(tmp_path / "CNN.pt")
    pixels, device = chips(5).pixels, choose_device("cpu", "float32")
    assert meta["classes"] == ["a", "b", "c"]
    assert np.array_equal(predict(loaded, pixels, device), predict(network, pixels, device))


def test_a_trained_backbone_brings_its_input_scaling(tmp_path):
    base = build("VGG", 3, 32)
    base.scale_input(0.05, 0.11)
    save(base, "VGG", tmp_path / "VGG.pt")
    network = build("Fine_VGG", 3, 32)
    load_trained_backbone(network, tmp_path / "VGG.pt")
    assert backbone_hash(network) == backbone_hash(base)
    assert torch.equal(network.input_std, base.input_std)
    with pytest.raises(UserError, match="another architecture"):
        load_trained_backbone(build("Fine_ResNet", 3, 32), tmp_path / "VGG.pt")


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
    network = build(name, 3, 32)
    meta = {"model": name, "classes": ["a", "b", "c"], "image_size": 32, "heads": "fitted", "loss": "cross_entropy"}
    write_run(tmp_path / "x.pt", network.state_dict(), meta | {"pooled_cam": True}, [], {})
    loaded, _ = load_trained(tmp_path / "x.pt")
    assert (loaded.cam_layer == "classifier.0") == (name == "ResNet")
