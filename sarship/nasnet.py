"""NASNet-A Mobile (4 @ 1056): Zoph, Vasudevan, Shlens and Le 2018 (arXiv:1707.07012), figure 4 and appendix A.4.

Every cell takes the outputs of the two layers before it and adds up pairs of operations on them; which ones, a search
found, and two tables say. Layers have the names of nasnetamobile-7e03cead.pth (R. Cadene's pretrainedmodels), the
widely used PyTorch file of the ImageNet weights, made from TensorFlow's. So paddings are TensorFlow's SAME, and the
file fits as it is. No paths are dropped at random in training, as in the authors' own settings for this size.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, pad, relu

# What a combination works on: the layer before the cell, the one before that, or an earlier combination of the cell.
NOW, BEFORE, FIRST, SECOND, THIRD, FOURTH, FIFTH = range(7)
# How the output before the last is brought to the size and width of the cell.
PROJECTED = "projected"  # by a convolution of 1 x 1
HALVED = "halved"  # the same for a map of twice the size: two convolutions of stride 2, one of them a pixel further
UNCHANGED = "unchanged"  # not at all: the first cell has one layer before it, which is taken twice
_STEM_CHANNELS = 32


class _Depthwise(nn.Conv2d):
    """A convolution of each channel by itself, with padding SAME: at stride 2, even sides are padded at their end."""

    def __init__(self, channels: int, kernel: int, stride: int):
        padding = kernel // 2 - (stride - 1)  # at stride 2, one pixel less than at stride 1: `forward` adds it
        super().__init__(channels, channels, kernel, stride, padding, groups=channels, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        if self.stride == (2, 2):
            rows, cols = maps.shape[2:]
            maps = pad(maps, (cols % 2, 1, rows % 2, 1))
        return super().forward(maps)


class _SeparableConvolution(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int):
        super().__init__()
        self.depthwise_conv2d = _Depthwise(channels_in, kernel, stride)
        self.pointwise_conv2d = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return self.pointwise_conv2d(self.depthwise_conv2d(maps))


class _Separable(nn.Module):
    """ReLU, separable convolution and batch norm, twice, as A.4 has it; the stride is that of the first."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, kernel: int):
        super().__init__()
        self.separable_1 = _SeparableConvolution(channels_in, channels_out, kernel, stride)
        self.bn_sep_1 = _batch_norm(channels_out)
        self.separable_2 = _SeparableConvolution(channels_out, channels_out, kernel, stride=1)
        self.bn_sep_2 = _batch_norm(channels_out)

    def forward(self, maps: Tensor) -> Tensor:
        halfway = self.bn_sep_1(self.separable_1(relu(maps)))
        return self.bn_sep_2(self.separable_2(relu(halfway)))


class _Pooling(nn.Module):
    """3 x 3 pooling with padding SAME, of which nothing is pooled or counted.

    At stride 2, windows on even sides begin with the first pixel, and the last one reaches over the end.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, pool: Callable[..., Tensor]):
        super().__init__()
        self.stride, self.pool = stride, pool

    def forward(self, maps: Tensor) -> Tensor:
        padding = [1 if self.stride == 1 else side % 2 for side in maps.shape[2:]]
        return self.pool(maps, 3, self.stride, padding, ceil_mode=True)


# Each is a function of channels in, channels out and stride.
OPERATIONS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "separable 3": partial(_Separable, kernel=3),
    "separable 5": partial(_Separable, kernel=5),
    "separable 7": partial(_Separable, kernel=7),
    "average": partial(_Pooling, pool=partial(avg_pool2d, count_include_pad=False)),
    "largest": partial(_Pooling, pool=max_pool2d),
    "itself": lambda channels_in, channels_out, stride: nn.Identity(),
}


@dataclass(frozen=True)
class Kind:
    """What cells of a kind have in common.

    combinations: five sums of two operations, each with what it works on. joined: of the inputs and sums, those whose
    channels make up the output. stride: of operations on the cell's inputs.
    """

    combinations: tuple[tuple[tuple[str, int], tuple[str, int]], ...]
    joined: tuple[int, ...]
    stride: int


NORMAL = Kind(
    (
        (("separable 5", NOW), ("separable 3", BEFORE)),
        (("separable 5", BEFORE), ("separable 3", BEFORE)),
        (("average", NOW), ("itself", BEFORE)),
        (("average", BEFORE), ("average", BEFORE)),
        (("separable 3", NOW), ("itself", NOW)),
    ),
    (BEFORE, FIRST, SECOND, THIRD, FOURTH, FIFTH),
    stride=1,
)
REDUCTION = Kind(
    (
        (("separable 5", NOW), ("separable 7", BEFORE)),
        (("largest", NOW), ("separable 7", BEFORE)),
        (("average", NOW), ("separable 5", BEFORE)),
        (("itself", SECOND), ("average", FIRST)),
        (("separable 3", FIRST), ("largest", NOW)),
    ),
    (SECOND, THIRD, FOURTH, FIFTH),
    stride=2,
)
# Name, kind and width of each cell, and how the output before the last comes in. The numbers are the file's, which has
# no 4, 5, 10 and 11.
CELLS = (
    ("cell_stem_0", REDUCTION, 11, UNCHANGED),
    ("cell_stem_1", REDUCTION, 22, HALVED),
    ("cell_0", NORMAL, 44, HALVED),
    *((f"cell_{number}", NORMAL, 44, PROJECTED) for number in (1, 2, 3)),
    ("reduction_cell_0", REDUCTION, 88, PROJECTED),
    ("cell_6", NORMAL, 88, HALVED),
    *((f"cell_{number}", NORMAL, 88, PROJECTED) for number in (7, 8, 9)),
    ("reduction_cell_1", REDUCTION, 176, PROJECTED),
    ("cell_12", NORMAL, 176, HALVED),
    *((f"cell_{number}", NORMAL, 176, PROJECTED) for number in (13, 14, 15)),
)


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=0.001, momentum=0.1)


def _projection(channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 1, bias=False)
    return nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=convolution, bn=_batch_norm(channels_out)))


def _every_other_pixel(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(channels_in, channels_out, 1, stride=2, bias=False)))


class Cell(nn.Module):
    """One cell; `channels` are those of its output.

    before, now: channels of the outputs of the two layers before it, the last one last. width: channels of each
    combination. entrance: PROJECTED, HALVED or UNCHANGED.
    """

    def __init__(self, kind: Kind, before: int, now: int, width: int, entrance: str):
        super().__init__()
        self.kind, self.entrance = kind, entrance
        self.channels = width * len(kind.joined)
        self.conv_1x1 = _projection(now, width)
        if entrance == PROJECTED:
            self.conv_prev_1x1 = _projection(before, width)
        elif entrance == HALVED:
            self.path_1 = _every_other_pixel(before, width // 2)
            self.path_2 = _every_other_pixel(before, width // 2)
            self.final_path_bn = _batch_norm(width)
        for number, pair in enumerate(kind.combinations):
            for side, (operation, place) in zip(("left", "right"), pair, strict=True):
                channels_in = now if (entrance, place) == (UNCHANGED, BEFORE) else width
                stride = kind.stride if place in (NOW, BEFORE) else 1
                self.add_module(f"comb_iter_{number}_{side}", OPERATIONS[operation](channels_in, width, stride))

    def forward(self, now: Tensor, before: Tensor) -> Tensor:
        """(chips, channels, rows, cols) of the two outputs before the cell; rows and cols of `now`, or half of them."""
        states = [self.conv_1x1(now), self._fitted(now, before)]
        for number, ((_, left), (_, right)) in enumerate(self.kind.combinations):
            on_left, on_right = (self.get_submodule(f"comb_iter_{number}_{side}") for side in ("left", "right"))
            states.append(on_left(states[left]) + on_right(states[right]))
        return torch.cat([states[place] for place in self.kind.joined], dim=1)

    def _fitted(self, now: Tensor, before: Tensor) -> Tensor:
        """The output before the last, with as many pixels as `now` and, but for UNCHANGED, the cell's width."""
        if self.entrance == UNCHANGED:
            return now
        if self.entrance == PROJECTED:
            return self.conv_prev_1x1(before)
        seen = relu(before)
        further = pad(seen, (-1, 1, -1, 1))  # a pixel on, down and right, with zeros past the end
        return self.final_path_bn(torch.cat([self.path_1(seen), self.path_2(further)], dim=1))


class NASNetLayers(nn.Sequential):
    """Named layers, of which each cell is handed the two outputs before it.

    A slice from the beginning is a network too; one from the middle has not all that its first cell is to be handed.
    """

    def forward(self, chips: Tensor) -> Tensor:
        """(chips, 3, rows, cols) to (chips, 1056, about rows / 32, about cols / 32); from 32 x 32 pixels on."""
        before, now = chips, chips
        for layer in self:
            before, now = now, layer(now, before) if isinstance(layer, Cell) else layer(now)
        return now


def nasnet_mobile() -> NASNetLayers:
    """The layers up to the last map, with fresh weights as He et al. 2015 (arXiv:1502.01852) draw them."""
    convolution = nn.Conv2d(3, _STEM_CHANNELS, kernel_size=3, stride=2, bias=False)  # the one without padding
    layers = OrderedDict[str, nn.Module]()
    layers["conv0"] = nn.Sequential(OrderedDict(conv=convolution, bn=_batch_norm(_STEM_CHANNELS)))
    before, now = 3, _STEM_CHANNELS
    for name, kind, width, entrance in CELLS:
        layers[name] = Cell(kind, before, now, width, entrance)
        before, now = now, layers[name].channels
    layers["relu"] = nn.ReLU()
    network = NASNetLayers(layers)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return network
