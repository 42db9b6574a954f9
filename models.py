"""The networks, and the one table of their names.

    CNN           three convolution blocks (64, 128, 256 channels) with batch norm, from scratch
    VGG           VGG16 (Simonyan & Zisserman 2015, arXiv:1409.1556), from scratch
    ResNet        ResNet50 (He et al. 2016, arXiv:1512.03385), from scratch
    Fine_VGG      VGG16, backbone pre-trained and frozen, new head
    Fine_ResNet   ResNet50, backbone pre-trained and frozen, new head

Every network is a `ShipNetwork`: `.features` (backbone, ends in a map), `.classifier` (head, starts with the
pooling) and `.cam_layer`, the name of the layer that Grad-CAM looks at. A new network is one function that
returns a backbone and one line in MODELS.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision import models as zoo

from sarship.command import UserError
from sarship.losses import COSINE_LOSSES, LDAM_SCALE
from sarship.runs import read_run, state_of

# Channel means and deviations that torchvision's ImageNet weights were trained with (torchvision.models docs).
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEAD_WIDTH = 4096  # of the new head on a frozen backbone, as published
DROPOUT = 0.5
POOLED_LAYER = "classifier.0"  # 1 x 1 in ResNets: where the published code pointed Grad-CAM
LEAST_CAM_SIDE = 4  # on a map of 2 x 2, the peak of a heatmap can only be in a corner, never on the ship


class ShipNetwork(nn.Module):
    """Backbone and head for one-channel chips; frozen layers stay in evaluation mode and get no gradient.

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
        """Logits (chips, classes) of chips (chips, 1, rows, cols), float in 0..1."""
        return self.classifier[1:](self.pooled_features(chips))

    def pooled_features(self, chips: Tensor) -> Tensor:
        """What the backbone and the pooling at the head's beginning make of chips; all that a frozen backbone gives."""
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

    def scale_input(self, mean: float, std: float) -> None:
        """Standardise chips with `mean` and `std` (of pixels in 0..1) before the backbone."""
        self.input_mean.fill_(mean)
        self.input_std.fill_(std)


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


def cnn_head(channels: int, classes: int) -> nn.Sequential:
    pooled = nn.AdaptiveAvgPool2d(4)  # 4 x 4 keeps where along the hull things are, at any image size
    hidden = nn.Linear(channels * 16, 256)
    return nn.Sequential(
        pooled, nn.Flatten(), hidden, nn.ReLU(inplace=True), nn.Dropout(DROPOUT), nn.Linear(256, classes)
    )


def linear_head(channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def wide_head(channels: int, classes: int) -> nn.Sequential:
    hidden = nn.Linear(channels, HEAD_WIDTH)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        hidden,
        nn.ReLU(inplace=True),
        nn.Dropout(DROPOUT),
        nn.Linear(HEAD_WIDTH, classes),
    )


class _PoolFeatureVector(nn.Module):
    """The published ResNet head's pooling: 2,048 features as a 2,048 x 1 map, pooled to 10 x 10.

    maps: (chips, 2048, 1, 1). The map of features is one wide, so the ten columns are copies of each other: of the 100
    numbers, 10 are distinct.
    """

    def forward(self, maps: Tensor) -> Tensor:
        vector = maps.flatten(1)[:, None, :, None]  # (chips, 1, channels, 1)
        return nn.functional.adaptive_avg_pool2d(vector, 10).flatten(1)  # (chips, 100)


def _dense_stack(pooling: list[nn.Module], width: int, classes: int) -> nn.Sequential:
    hidden = nn.Linear(width, HEAD_WIDTH)
    return nn.Sequential(*pooling, hidden, nn.ReLU(inplace=True), nn.Dropout(DROPOUT), nn.Linear(HEAD_WIDTH, classes))


def published_cnn_head(channels: int, classes: int, image_size: int) -> nn.Sequential:
    side = image_size // 8  # three poolings; 28 at 224 x 224, where the first layer has 822 million weights
    return _dense_stack([nn.Flatten()], channels * side * side, classes)


def published_vgg_head(channels: int, classes: int, image_size: int) -> nn.Sequential:
    return _dense_stack([nn.AdaptiveAvgPool2d(7), nn.Flatten()], channels * 49, classes)


def published_resnet_head(channels: int, classes: int, image_size: int) -> nn.Sequential:
    return _dense_stack([nn.AdaptiveAvgPool2d(1), _PoolFeatureVector()], 100, classes)


@dataclass(frozen=True)
class Model:
    """One line of MODELS. `learning_rate` is the default for Adam; `weights` names torchvision's ImageNet weights."""

    backbone: Callable[[], Backbone]
    head: Callable[[int, int], nn.Sequential]
    published_head: Callable[[int, int, int], nn.Sequential]
    frozen: bool
    learning_rate: float
    weights: str = ""
    base: str = ""  # the model whose trained file `--backbone trained` takes


# The published learning rate is 1e-3 throughout. VGG16 from scratch collapses to one class there; 1e-4 learns.
# ResNet50 is steadier at 1e-4 too on sets of this size; the heads of frozen backbones and the CNN keep 1e-3.
MODELS = {
    "CNN": Model(cnn_backbone, cnn_head, published_cnn_head, False, 1e-3),
    "VGG": Model(vgg_backbone, linear_head, published_vgg_head, False, 1e-4),
    "ResNet": Model(resnet_backbone, linear_head, published_resnet_head, False, 1e-4),
    "Fine_VGG": Model(vgg_backbone, wide_head, published_vgg_head, True, 1e-3, "VGG16_Weights", "VGG"),
    "Fine_ResNet": Model(resnet_backbone, wide_head, published_resnet_head, True, 1e-3, "ResNet50_Weights", "ResNet"),
}


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


class CosineLayer(nn.Linear):
    """Logits as LDAM_SCALE times the cosine between features and class weights, (chips, width) to (chips, classes).

    Cao et al. 2019 (arXiv:1906.07413), section 3.2: margins are between normalised features and class weights.
    """

    def __init__(self, width: int, classes: int):
        super().__init__(width, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        normalise = nn.functional.normalize
        return LDAM_SCALE * nn.functional.linear(normalise(features), normalise(self.weight))


def build(name: str, classes: int, image_size: int, heads: str = "fitted", cosine: bool = False) -> ShipNetwork:
    """The network `name` with fresh weights for chips of image_size x image_size pixels.

    heads: "fitted" to the features, or "published" as the published code had them. cosine: whether the last layer is
    a CosineLayer, which the losses in COSINE_LOSSES ask for.
    Raises UserError for an unknown name, or chips too small for the five poolings of VGG and ResNet.
    """
    if name not in MODELS:
        raise UserError(f"--models {name}: there is no such model; choose from {', '.join(MODELS)}")
    if image_size < 32:
        raise UserError(f"chips of {image_size} x {image_size} pixels are too small for {name}: prepare 32 or more")
    model = MODELS[name]
    backbone = model.backbone()
    if heads == "published":
        head = model.published_head(backbone.channels, classes, image_size)
    else:
        head = model.head(backbone.channels, classes)
    if cosine:
        head[-1] = CosineLayer(head[-1].in_features, classes)
    network = ShipNetwork(backbone.layers, head, backbone.cam_layer(image_size), backbone.recomputed)
    network.freeze(len(backbone.layers) if model.frozen else 0)
    return network


def load_imagenet_backbone(network: ShipNetwork, name: str) -> None:
    """Put torchvision's ImageNet weights into the backbone of the frozen model `name`; downloads them once.

    Raises UserError that says which file to put where, if the download fails.
    """
    weights = zoo.get_model_weights(MODELS[name].weights.removesuffix("_Weights").lower()).IMAGENET1K_V1
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise UserError(
            f"{name}: ImageNet weights could not be downloaded ({error}); put {weights.url.rsplit('/', 1)[1]} "
            f"into {folder}, or choose --backbone trained, random or a file"
        ) from error
    backbone_state = {key.removeprefix("features."): value for key, value in state.items()}
    wanted = network.features.state_dict().keys()
    network.features.load_state_dict({key: value for key, value in backbone_state.items() if key in wanted})


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
        network = build(meta["model"], len(meta["classes"]), meta["image_size"], meta["heads"], cosine)
    network.load_state_dict(state_of(content, path), assign=True)
    if meta["pooled_cam"] and MODELS[meta["model"]].backbone is resnet_backbone:
        network.cam_layer = POOLED_LAYER
    return network.to(device).eval(), meta
