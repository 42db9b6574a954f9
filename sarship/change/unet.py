"""The U-Net that predicts an image: four earlier images and the elevation in, conditions joined at the bottleneck.

Alatalo, Sipola and Rantonen, IEEE TGRS 61, 2023, section III. For 512 x 512 pixels, nine blocks halve the side down to
1 x 1 and nine double it again; smaller patches have fewer blocks. Here the network takes and gives decibels: it scales
by statistics of the training samples, which are part of its state, and its last layer is linear, not the published
tanh, which needs the largest and the smallest decibel that will ever be met.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from sarship.change.conditions import FEATURES, VECTOR_LENGTH
from sarship.change.samples import EARLIER
from sarship.change.series import POLARIZATIONS

BANDS = len(POLARIZATIONS)
DOWN_FILTERS = (64, 128, 256)  # then DEEP_FILTERS
UP_FILTERS = (256, 128)  # after DEEP_FILTERS; then the bands
DEEP_FILTERS = 512


class UNet(nn.Module):
    """Predicts the newest image of a place.

    patch: side of the images, a power of two from 16. width: filters of the first block, 64 as published; all others
    grow with it. stochastic_depth: the rate at which what lies below the deepest skip is left out of a sample's pass in
    training; the rate falls evenly to 0 at the uppermost skip (Huang et al., Deep Networks with Stochastic Depth, ECCV
    2016, 3, on the branches of a U-Net, which has no residual blocks). dropout: after the first three blocks upwards,
    published as 0.3. without: conditions that the network does not get, keys of FEATURES.
    """

    def __init__(
        self,
        patch: int,
        width: int = DOWN_FILTERS[0],
        stochastic_depth: float = 0.1,
        dropout: float = 0.0,
        without: Sequence[str] = (),
    ):
        super().__init__()
        blocks = patch.bit_length() - 1
        down = _scaled((*DOWN_FILTERS, *[DEEP_FILTERS] * blocks)[:blocks], width)
        up = _scaled((*[DEEP_FILTERS] * (blocks - 3), *UP_FILTERS), width)
        kernels = [4] * (blocks - 1) + [2]
        sources = (BANDS * EARLIER + 1, *down)
        self.down = nn.ModuleList(map(_down_block, sources, down, kernels))
        below = (
            down[-1] + (EARLIER + 1) * VECTOR_LENGTH,
            *(own + skip for own, skip in zip(up, down[-2::-1], strict=True)),
        )
        rates = [dropout] * 3 + [0.0] * blocks
        self.up = nn.ModuleList(map(_up_block, below, up, rates))
        self.branches = nn.ModuleList(
            StochasticDepth(stochastic_depth * (1 - level / len(up)), "row") for level in range(len(up))
        )
        self.last = nn.ConvTranspose2d(below[-1], BANDS, 4, stride=2, padding=1)
        self.register_buffer("image_mean", torch.zeros(BANDS, 1, 1))
        self.register_buffer("image_spread", torch.ones(BANDS, 1, 1))
        self.register_buffer("elevation_spread", torch.ones(()))
        self.register_buffer("condition_mean", torch.zeros(VECTOR_LENGTH))
        self.register_buffer("condition_spread", torch.ones(VECTOR_LENGTH))
        kept = torch.ones(VECTOR_LENGTH)
        for name in without:
            kept[FEATURES[name]] = 0
        self.register_buffer("condition_kept", kept)

    def forward(self, images: Tensor, elevation: Tensor, conditions: Tensor) -> Tensor:
        """The newest image.

        images: (samples, 4, 2, patch, patch) dB, oldest first; elevation: (samples, patch, patch) m; conditions:
        (samples, 5, 12), of the earlier images and the newest, as `Acquisition.vector` has them.
        Returns (samples, 2, patch, patch) dB.
        """
        height = (elevation - elevation.mean(dim=(1, 2), keepdim=True)) / self.elevation_spread
        x = torch.cat([self.scaled(images).flatten(1, 2), height[:, None]], dim=1)  # (samples, 9, patch, patch)
        x = x.contiguous(memory_format=torch.channels_last)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        told = (conditions - self.condition_mean) / self.condition_spread * self.condition_kept
        x = torch.cat([skips.pop(), told.flatten(1)[:, :, None, None].to(x.dtype)], dim=1)  # (samples, filters, 1, 1)
        for block, branch in zip(self.up, self.branches, strict=True):
            x = torch.cat([branch(block(x)), skips.pop()], dim=1)
        return self.last(x).float() * self.image_spread + self.image_mean

    def scaled(self, images: Tensor) -> Tensor:
        """Images (..., 2, rows, cols) in dB to mean 0 and spread 1 over the training samples."""
        return (images - self.image_mean) / self.image_spread

    def withhold(self, names: Sequence[str]) -> None:
        """Tell the trained network the mean of these conditions instead of what they are."""
        for name in names:
            self.condition_kept[FEATURES[name]] = 0


def _scaled(filters: Sequence[int], width: int) -> list[int]:
    return [max(1, count * width // DOWN_FILTERS[0]) for count in filters]


def _down_block(source: int, filters: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(source, filters, kernel, stride=2, padding=(kernel - 2) // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(filters), nn.ReLU(inplace=True))


def _up_block(source: int, filters: int, dropout: float) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(source, filters, 4, stride=2, padding=1, bias=False)
    layers = [convolution, nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else []))
