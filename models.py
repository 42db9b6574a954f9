"""The networks, and the one table of their names.

    CNN           three convolution blocks (64, 128, 256 channels) with batch norm, from scratch
    VGG           VGG16 (Simonyan & Zisserman 2015, arXiv:1409.1556), from scratch
    ResNet        ResNet50 (He et al. 2016, arXiv:1512.03385), from scratch
    Fine_VGG      VGG16, backbone pre-trained and frozen, new head
    Fine_ResNet   ResNet50, backbone pre-trained and frozen, new head
    NASNetMobile  NASNet-A Mobile (Zoph et al. 2018, arXiv:1707.07012) with the head of the land-use study
    MobileNetV3   MobileNetV3-Large (Howard et al. 2019, arXiv:1905.02244)
    EfficientNet  EfficientNet-B0 (Tan & Le 2019, arXiv:1905.11946)
    ConvNeXt      ConvNeXt-Tiny (Liu et al. 2022, arXiv:2201.03545)
    ViT           ViT-B/16 (Dosovitskiy et al. 2021, arXiv:2010.11929)

Every network is a `ShipNetwork`: `.features` (backbone, ends in a map), `.classifier` (head, starts with a layer
without weights) and `.cam_layer`, the name of the layer that Grad-CAM looks at. A new network is one function that
returns a backbone and one line in MODELS.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision import models as zoo

from sarship.command import UserError
from sarship.heads import (
    CosineLayer,
    cnn_head,
    efficientnet_head,
    land_use_head,
    linear_head,
    mobilenet_head,
    published_cnn_head,
    published_land_use_head,
    published_resnet_head,
    published_vgg_head,
    wide_head,
)
from sarship.imagenet import (
    CONVNEXT_TINY,
    EFFICIENTNET_B0,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MOBILENET_V3,
    NASNET_MOBILE,
    RESNET50,
    VGG16,
    VIT_B_16,
    Weights,
)
from sarship.losses import COSINE_LOSSES
from sarship.nasnet import nasnet_mobile
from sarship.runs import read_run, state_of
from sarship.vit import vit_layers

POOLED_LAYER = "classifier.0"  # 1 x 1 in ResNets: where the published code pointed Grad-CAM
LEAST_CAM_SIDE = 4  # on a map of 2 x 2, the peak of a heatmap can only be in a corner, never on the ship


class ShipNetwork(nn.Module):
    """Backbone and head for grey or colour chips; frozen layers stay in evaluation mode and get no gradient.

    The head's first layer, classifier[0], has no weights, so what it makes of a frozen backbone's maps can be kept.
    frozen_layers: how many layers of the backbone are frozen, counted from the input.
    drifting: whether the batch-norm statistics of frozen layers move in training all the same, a published flaw.
    recomputed: how many layers at the input are computed again on the way back, see `Backbone`.
    """

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential, cam_layer: str, recomputed: int = 0):
        super().__init__()
        self.features = features
        self.classifier = classifier
        self.cam_layer = cam_layer
        self.recomputed = recomputed
        self.frozen_layers = 0
        self.drifting = False
        self.register_buffer("input_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("input_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def freeze(self, layers: int, drifting: bool = False) -> None:
        """Freeze the first `layers` layers of the backbone, and no others."""
        self.frozen_layers, self.drifting = layers, drifting
        for index, layer in enumerate(self.features):
            layer.requires_grad_(index >= layers)

    @property
    def is_constant_backbone(self) -> bool:
        """Whether the backbone gives the same features of a chip in every epoch."""
        return self.frozen_layers == len(self.features) and not self.drifting

    def forward(self, chips: Tensor) -> Tensor:
        """Logits (chips, classes) of chips (chips, 1 or 3, rows, cols), float in 0..1; a single band counts thrice."""
        return self.classifier[1:](self.pooled_features(chips))

    def pooled_features(self, chips: Tensor) -> Tensor:
        """What backbone and classifier[0] make of chips, as those of `forward`; all that a frozen backbone gives."""
        repeated = chips.expand(-1, 3, -1, -1)  # (chips, 3, rows, cols)
        scaled = (repeated - self.input_mean) / self.input_std
        learns = self.training and torch.is_grad_enabled() and self.frozen_layers < self.recomputed
        if not learns or torch.compiler.is_compiling():
            return self.classifier[0](self.features(scaled))
        first = self.features[: self.recomputed]
        maps = checkpoint(
            first, scaled, use_reentrant=False, context_fn=lambda: (nullcontext(), _still_statistics(first))
        )
        return self.classifier[0](self.features[self.recomputed :](maps))

    def train(self, mode: bool = True) -> "ShipNetwork":
        """As nn.Module.train, except that frozen layers keep their batch-norm statistics and drop nothing."""
        super().train(mode)
        if not self.drifting:
            self.features[: self.frozen_layers].eval()
        return self

    def scale_input(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        """Standardise chips with `mean` and `std` (of pixels in 0..1), of all or of each of three bands."""
        for buffer, values in ((self.input_mean, mean), (self.input_std, std)):
            buffer.copy_(torch.as_tensor(values, dtype=buffer.dtype).view(1, -1, 1, 1))


@contextmanager
def _still_statistics(layers: nn.Module) -> Iterator[None]:
    """Within, batch norm in training mode does what it always does, but its running statistics stay where they are."""
    norms = [layer for layer in layers.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked -= 1


@dataclass(frozen=True)
class Backbone:
    """A feature extractor: its layers, the channels of its last map, and the layers that Grad-CAM may look at.

    cam_layers: name and stride (chip pixels per map pixel) of each, the deepest first.
    stages: index of the layer with which each stage (block of layers of one map size) begins, the first first.
    recomputed: how many layers at the input keep no activations in training and are computed again on the way back:
    those with the largest maps, which take most of the memory and little of the time.
    """

    layers: nn.Sequential
    channels: int
    cam_layers: tuple[tuple[str, int], ...]
    stages: tuple[int, ...]
    recomputed: int

    def cam_layer(self, image_size: int) -> str:
        """The deepest layer whose map has LEAST_CAM_SIDE pixels a side for such chips; the shallowest if none has."""
        large = [name for name, stride in self.cam_layers if image_size // stride >= LEAST_CAM_SIDE]
        return (large or [self.cam_layers[-1][0]])[0]


def _block(channels_in: int, channels_out: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)
    return [convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True), nn.MaxPool2d(2)]


def cnn_backbone() -> Backbone:
    layers = nn.Sequential(*_block(3, 64), *_block(64, 128), *_block(128, 256))
    return Backbone(layers, 256, (("features.10", 4),), (0, 4, 8), 4)  # the last ReLU, before the last pooling


def vgg_backbone() -> Backbone:
    # He initialisation (torchvision's default for VGG): without it, 13 convolutions in a row do not start learning.
    cam_layers = (("features.29", 16), ("features.22", 8))  # ReLUs before a pooling
    return Backbone(zoo.vgg16().features, 512, cam_layers, (0, 5, 10, 17, 24), 5)


def resnet_backbone() -> Backbone:
    whole = zoo.resnet50()
    layers = OrderedDict((name, layer) for name, layer in whole.named_children() if name not in ("avgpool", "fc"))
    # Not the average pool, which the published code looked at: its map is 1 x 1, so every heatmap is uniform.
    cam_layers = (("features.layer4", 32), ("features.layer3", 16))
    return Backbone(nn.Sequential(layers), 2048, cam_layers, (0, 4, 5, 6, 7), 5)  # after the four layers of the stem


def nasnet_backbone() -> Backbone:
    cam_layers = (("features.relu", 32), ("features.cell_9", 16), ("features.cell_3", 8))
    return Backbone(nasnet_mobile(), 1056, cam_layers, (0, 1, 2, 7, 12), 0)


def mobilenet_backbone() -> Backbone:
    cam_layers = (("features.16", 32), ("features.12", 16), ("features.6", 8))
    return Backbone(zoo.mobilenet_v3_large().features, 960, cam_layers, (0, 2, 4, 7, 13), 0)


def efficientnet_backbone() -> Backbone:
    cam_layers = (("features.8", 32), ("features.5", 16), ("features.3", 8))
    return Backbone(zoo.efficientnet_b0().features, 1280, cam_layers, (0, 2, 3, 4, 6), 0)


def convnext_backbone() -> Backbone:
    whole = zoo.convnext_tiny()
    # Its last norm, of each pixel by itself as its authors have it for detection; torchvision has it after the pooling.
    layers = OrderedDict([*whole.features.named_children(), ("norm", whole.classifier[0])])
    cam_layers = (("features.norm", 32), ("features.5", 16), ("features.3", 8))
    return Backbone(nn.Sequential(layers), 768, cam_layers, (0, 2, 4, 6), 0)


def vit_backbone() -> Backbone:
    # All maps have one size; the stages are patches and quarters of the encoder.
    layers = vit_layers(zoo.vit_b_16())
    return Backbone(layers, 768, (("features.map", 16),), (0, 1, 4, 7, 10), 0)


@dataclass(frozen=True)
class Model:
    """One line of MODELS. `learning_rate` is the default for Adam; `weights` are those of ImageNet, if there are any.

    published_head: of a published study; None where there is none.
    """

    backbone: Callable[[], Backbone]
    head: Callable[[int, int], nn.Sequential]
    published_head: Callable[[int, int, int], nn.Sequential] | None
    frozen: bool
    learning_rate: float
    weights: Weights | None = None
    base: str = ""  # the model whose trained file `--backbone trained` takes


# The published learning rate is 1e-3 throughout. VGG16 from scratch collapses to one class there; 1e-4 learns.
# ResNet50 is steadier at 1e-4 too on sets of this size; the heads of frozen backbones and the CNN keep 1e-3, Adam's
# own default, and so do the small networks with batch norm after every convolution. ConvNeXt and ViT were published
# with 4e-3 and 3e-3 for batches of 4,096; for 32, Adam's rule of the square root (Malladi et al. 2022,
# arXiv:2205.10118) makes about 3e-4 of both. ViT learns faster at 1e-4 on few images: after 45 such batches of EuroSAT,
# its loss was 1.3 rather than 1.6.
MODELS = {
    "CNN": Model(cnn_backbone, cnn_head, published_cnn_head, False, 1e-3),
    "VGG": Model(vgg_backbone, linear_head, published_vgg_head, False, 1e-4, VGG16),
    "ResNet": Model(resnet_backbone, linear_head, published_resnet_head, False, 1e-4, RESNET50),
    "Fine_VGG": Model(vgg_backbone, wide_head, published_vgg_head, True, 1e-3, VGG16, "VGG"),
    "Fine_ResNet": Model(resnet_backbone, wide_head, published_resnet_head, True, 1e-3, RESNET50, "ResNet"),
    "NASNetMobile": Model(nasnet_backbone, land_use_head, published_land_use_head, False, 1e-3, NASNET_MOBILE),
    "MobileNetV3": Model(mobilenet_backbone, mobilenet_head, None, False, 1e-3, MOBILENET_V3),
    "EfficientNet": Model(efficientnet_backbone, efficientnet_head, None, False, 1e-3, EFFICIENTNET_B0),
    "ConvNeXt": Model(convnext_backbone, linear_head, None, False, 3e-4, CONVNEXT_TINY),
    "ViT": Model(vit_backbone, linear_head, None, False, 1e-4, VIT_B_16),
}
SHIP_MODELS = ("CNN", "VGG", "ResNet", "Fine_VGG", "Fine_ResNet")  # of the ship study


# How much of the backbone a transfer chain trains on its target: stages counted from the end.
UNFREEZE = {"none": 0, "last1": 1, "last2": 2, "all": None}


def layers_to_freeze(name: str, unfreeze: str) -> int:
    """How many layers of the backbone of `name` are frozen, counted from the input, for --unfreeze `unfreeze`."""
    with torch.device("meta"):  # only to count: no weights are drawn
        backbone = MODELS[name].backbone()
    opened = UNFREEZE[unfreeze]
    if opened is None:
        return 0
    return backbone.stages[-opened] if opened else len(backbone.layers)


def freeze_to(network: ShipNetwork, layer: str) -> int:
    """How many layers of the backbone are frozen, counted from the input, for --freeze-to `layer`.

    layer: the last frozen one, as network.features names it; "input" freezes nothing, "all" the whole backbone.
    Raises UserError that names the layers to choose from.
    """
    names = ["input", *(name for name, _ in network.features.named_children())]
    if layer == "all":
        return len(network.features)
    if layer not in names:
        raise UserError(f"--freeze-to {layer}: there is no such layer; choose from {', '.join(names)}, all")
    return names.index(layer)


def frozen_layers(network: ShipNetwork, name: str, is_chain: bool, settings: Mapping) -> int:
    """How many layers of the backbone a run leaves as they are, counted from the input.

    Of a chain, by --unfreeze; else by --freeze-to, or as the model has it. settings: the run's.
    """
    if is_chain:
        return layers_to_freeze(name, settings["unfreeze"])
    if "freeze_to" in settings:
        return freeze_to(network, settings["freeze_to"])
    return len(network.features) if MODELS[name].frozen else 0


def build(
    name: str,
    classes: int,
    image_size: int,
    heads: str = "fitted",
    cosine: bool = False,
    batch_norm: bool = True,
    dropout: float | None = None,
) -> ShipNetwork:
    """The network `name` with fresh weights for chips of image_size x image_size pixels.

    heads: "fitted" to the features, or "published" as the published code had them. cosine: whether the last layer is
    a CosineLayer, which the losses in COSINE_LOSSES ask for. batch_norm: whether there is any; without, a convolution
    that had no bias gets none. dropout: probability in the head, 0 or more and below 1; None leaves it as it is.
    Raises UserError for an unknown name, chips too small to be halved five times, a head that was never
    published, or dropout in a head that has none.
    """
    if name not in MODELS:
        raise UserError(f"--models {name}: there is no such model; choose from {', '.join(MODELS)}")
    if image_size < 32:
        raise UserError(f"chips of {image_size} x {image_size} pixels are too small for {name}: prepare 32 or more")
    model = MODELS[name]
    if heads == "published" and model.published_head is None:
        raise UserError(f"--heads published: {name} is of no published study; choose fitted")
    backbone = model.backbone()
    if heads == "published":
        head = model.published_head(backbone.channels, classes, image_size)
    else:
        head = model.head(backbone.channels, classes)
    if cosine:
        head[-1] = CosineLayer(head[-1].in_features, classes)
    network = ShipNetwork(backbone.layers, head, backbone.cam_layer(image_size), backbone.recomputed)
    if not batch_norm:
        _take_out_batch_norm(network)
    if dropout is not None:
        _set_dropout(name, head, dropout)
    network.freeze(len(backbone.layers) if model.frozen else 0)
    return network


def _take_out_batch_norm(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())


def _set_dropout(name: str, head: nn.Sequential, probability: float) -> None:
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Dropout)]
    if not 0 <= probability < 1:
        raise UserError(f"--dropout {probability}: must be 0 or more and below 1")
    if probability and not layers:
        raise UserError(f"--dropout {probability}: the head of {name} has no dropout; leave it out, or choose 0")
    for layer in layers:
        layer.p = probability


def load_imagenet_backbone(network: ShipNetwork, name: str) -> None:
    """Put ImageNet weights and the input scaling that belongs to them into the model `name`; downloads them once.

    Raises UserError that says which file to put where, if the download fails or the file is not what it should be.
    """
    weights = MODELS[name].weights
    if weights is None:
        raise UserError(f"{name}: there are no ImageNet weights for it; choose --backbone random or a file")
    state, wanted = weights.read(name), network.features.state_dict().keys()
    try:
        network.features.load_state_dict({key: value for key, value in state.items() if key in wanted})
    except RuntimeError as error:
        raise UserError(
            f"{weights.path}: holds another architecture than {name}; replace it by {weights.url}"
        ) from error
    network.scale_input(weights.mean, weights.std)


def load_trained_backbone(network: ShipNetwork, path: Path) -> None:
    """Put backbone and input scaling of the trained model file `path` into `network`.

    Raises UserError if the file cannot be read or holds another architecture.
    """
    state = state_of(read_run(path), path)
    backbone_state = {
        key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")
    }
    try:
        network.features.load_state_dict(backbone_state)
    except RuntimeError as error:
        raise UserError(f"--backbone {path}: holds another architecture than the model's") from error
    network.input_mean.copy_(state["input_mean"])
    network.input_std.copy_(state["input_std"])


def load_trained(path: Path, device: str = "cpu") -> tuple[ShipNetwork, dict]:
    """Network of a trained model file, in evaluation mode, and its meta: model, classes, image_size, trained, ..."""
    content = read_run(path)
    meta = content["meta"]
    cosine = meta["loss"] in COSINE_LOSSES
    with torch.device("meta"):  # weights come from the file: drawing others first would take longer than reading it
        batch_norm = meta.get("batch_norm", True)
        network = build(meta["model"], len(meta["classes"]), meta["image_size"], meta["heads"], cosine, batch_norm)
    network.load_state_dict(state_of(content, path), assign=True)
    if meta["pooled_cam"] and MODELS[meta["model"]].backbone is resnet_backbone:
        network.cam_layer = POOLED_LAYER
    return network.to(device).eval(), meta
