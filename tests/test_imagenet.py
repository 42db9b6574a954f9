"""sarship/imagenet.py and what models.py does with it: files of ImageNet weights."""

import pytest
import torch
from torchvision import models as zoo

from models import build, load_imagenet_backbone
from sarship.command import UserError
from tests.hollow import hollow


def test_a_failed_download_says_which_file_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    network = build("Fine_VGG", 3, 32)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth.*checkpoints"):
        load_imagenet_backbone(network, "Fine_VGG")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


OFFICIAL = {
    "VGG": (zoo.vgg16, zoo.VGG16_Weights),
    "ResNet": (zoo.resnet50, zoo.ResNet50_Weights),
    "Fine_VGG": (zoo.vgg16, zoo.VGG16_Weights),
    "Fine_ResNet": (zoo.resnet50, zoo.ResNet50_Weights),
    "MobileNetV3": (zoo.mobilenet_v3_large, zoo.MobileNet_V3_Large_Weights),
    "EfficientNet": (zoo.efficientnet_b0, zoo.EfficientNet_B0_Weights),
    "ConvNeXt": (zoo.convnext_tiny, zoo.ConvNeXt_Tiny_Weights),
    "ViT": (zoo.vit_b_16, zoo.ViT_B_16_Weights),
}


def write_stand_in(builder, path) -> dict[str, float]:
    """A file with the names and shapes of the real one, which cannot be had without a network; returns its numbers.

    Each tensor is one number, kept once in the file whatever the shape.
    """
    with torch.device("meta"):
        state = builder().state_dict()
    numbers = {key: float(number) for number, key in enumerate(state, start=1)}
    path.parent.mkdir(exist_ok=True)
    torch.save({key: torch.tensor(numbers[key]).expand(value.shape) for key, value in state.items()}, path)
    return numbers


@pytest.mark.parametrize("name", OFFICIAL)
def test_imagenet_weights_are_loaded_from_the_official_file(name, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    builder, weights = OFFICIAL[name]
    numbers = write_stand_in(builder, tmp_path / "checkpoints" / weights.IMAGENET1K_V1.url.rpartition("/")[2])
    network = hollow(name, 3, 32).to_empty(device="cpu")
    load_imagenet_backbone(network, name)
    loaded = {key: float(value.reshape(-1)[0]) for key, value in network.features.state_dict().items()}
    classifier = ("fc.", "heads.") if name in ("ResNet", "Fine_ResNet", "ViT") else ("classifier.",)
    expected = {key: number for key, number in numbers.items() if not key.startswith(classifier)}
    if name == "ConvNeXt":
        expected |= {key: numbers[key] for key in ("classifier.0.weight", "classifier.0.bias")}
    assert sorted(loaded.values()) == sorted(expected.values())
    last = {
        "VGG": ("28.bias", "features.28.bias"),
        "ResNet": ("layer4.2.bn3.running_var", "layer4.2.bn3.running_var"),
        "MobileNetV3": ("16.0.weight", "features.16.0.weight"),
        "EfficientNet": ("8.0.weight", "features.8.0.weight"),
        "ConvNeXt": ("norm.weight", "classifier.0.weight"),
        "ViT": ("encoder_layer_11.mlp.3.bias", "encoder.layers.encoder_layer_11.mlp.3.bias"),
    }
    here, there = last[name.removeprefix("Fine_")]
    assert loaded[here] == numbers[there]
    transform = weights.IMAGENET1K_V1.transforms()
    assert network.input_mean.flatten().tolist() == pytest.approx(transform.mean)
    assert network.input_std.flatten().tolist() == pytest.approx(transform.std)


def test_the_tokens_of_a_transformer_find_their_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    numbers = write_stand_in(zoo.vit_b_16, tmp_path / "checkpoints" / "vit_b_16-c867db91.pth")
    network = hollow("ViT", 3, 32).to_empty(device="cpu")
    load_imagenet_backbone(network, "ViT")
    tokens, norm = network.features.tokens, network.features.map.ln
    own = (tokens.class_token, tokens.pos_embedding, tokens.conv_proj.weight, tokens.conv_proj.bias, norm.weight)
    names = ("class_token", "encoder.pos_embedding", "conv_proj.weight", "conv_proj.bias", "encoder.ln.weight")
    assert [value.flatten()[0].item() for value in own] == [numbers[name] for name in names]


def test_a_file_that_is_not_what_its_name_says_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = tmp_path / "checkpoints" / "vgg16-397923af.pth"
    write_stand_in(zoo.resnet50, path)
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth: holds another architecture than VGG"):
        load_imagenet_backbone(hollow("VGG", 3, 32), "VGG")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth: is damaged"):
        load_imagenet_backbone(hollow("VGG", 3, 32), "VGG")
    path.write_text("<html>not found</html>")
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth: is damaged"):
        load_imagenet_backbone(hollow("VGG", 3, 32), "VGG")
    with pytest.raises(UserError, match="CNN: there are no ImageNet weights"):
        load_imagenet_backbone(hollow("CNN", 3, 32), "CNN")
