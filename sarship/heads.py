"""Heads: what stands between a backbone's last map and the logits.

A head is an nn.Sequential. Its first layer has no weights: what it makes of a frozen backbone's maps is kept and
serves every epoch and run. Its last layer is linear, of the features onto the classes.
"""

from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from sarship.losses import LDAM_SCALE

HEAD_WIDTH = 4096  # of the new head on a frozen backbone, as published
DROPOUT = 0.5


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


class _LargestOfSixteen(nn.Module):
    """4 x 4 max pooling with stride 1; a side shorter than 4 is pooled over what there is of it.

    (chips, channels, rows, cols) to (chips, channels, max(rows - 3, 1), max(cols - 3, 1)).
    """

    def forward(self, maps: Tensor) -> Tensor:
        window = [min(4, side) for side in maps.shape[2:]]
        return nn.functional.max_pool2d(maps, window, stride=1)


def land_use_head(channels: int, classes: int) -> nn.Sequential:
    """The head of Bahri et al. 2020 (doi:10.1109/LGRS.2019.2937872) on NASNet-Mobile.

    Squeeze-and-excitation is that of Hu et al. 2018 (arXiv:1709.01507) with ratio 6. The maps of chips below 128 x 128
    pixels are smaller than the pooling's window, see `_LargestOfSixteen`.
    """
    layers: list[nn.Module] = [nn.Identity()]  # what follows has weights already
    layers += [SqueezeExcitation(channels, channels // 6), _LargestOfSixteen(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    width = channels
    for dropout, units in ((0.4, 728), (0.3, 256)):
        layers += [nn.Dropout(dropout), nn.Linear(width, units), nn.ReLU(inplace=True)]
        width = units
    return nn.Sequential(*layers, nn.Dropout(0.2), nn.Linear(width, classes))


def published_land_use_head(channels: int, classes: int, image_size: int) -> nn.Sequential:
    return land_use_head(channels, classes)


def mobilenet_head(channels: int, classes: int) -> nn.Sequential:
    """That of MobileNetV3-Large (Howard et al. 2019, arXiv:1905.02244, table 1), with torchvision's dropout."""
    hidden = nn.Linear(channels, 1280)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), hidden, nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1280, classes)
    )


def efficientnet_head(channels: int, classes: int) -> nn.Sequential:
    """That of EfficientNet-B0 (Tan and Le 2019, arXiv:1905.11946), whose dropout is 0.2."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, classes))


class CosineLayer(nn.Linear):
    """Logits as LDAM_SCALE times the cosine between features and class weights, (chips, width) to (chips, classes).

    Cao et al. 2019 (arXiv:1906.07413), section 3.2: margins are between normalised features and class weights.
    """

    def __init__(self, width: int, classes: int):
        super().__init__(width, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        normalise = nn.functional.normalize
        return LDAM_SCALE * nn.functional.linear(normalise(features), normalise(self.weight))
