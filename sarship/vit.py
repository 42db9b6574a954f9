"""Vision transformers (Dosovitskiy et al. 2021, arXiv:2010.11929) as layers from chips to a map.

Shapes are those of ViT-B/16 for images of 224 x 224 pixels. The class token takes part in attention, as the ImageNet
weights expect, and is left out of the map at the end. The heads here pool a map, and the mean over patches is as good
a summary (Beyer et al. 2022, arXiv:2205.01580); with it, Grad-CAM sees which patches speak for a class, as it does in
a convolutional network.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer


class _Tokens(nn.Module):
    """Square chips (chips, 3, side, side) to tokens (chips, 1 + patches, 768), the class token first, with positions.

    Pixels at the end of a side that do not fill a patch are left out. Positions are learnt for 14 x 14 patches; for
    other maps they are interpolated as torchvision's `interpolate_embeddings` does.
    """

    def __init__(self, whole: VisionTransformer):
        super().__init__()
        self.conv_proj = whole.conv_proj
        self.class_token = whole.class_token
        self.pos_embedding = whole.encoder.pos_embedding  # (1, 1 + 14 * 14, 768)

    def forward(self, chips: Tensor) -> Tensor:
        patches = self.conv_proj(chips)  # (chips, 768, rows, cols)
        rows, cols = patches.shape[2:]
        if rows != cols:
            raise ValueError(f"ViT takes square chips, not {chips.shape[2]} x {chips.shape[3]} pixels")
        first = self.class_token.expand(chips.shape[0], -1, -1)  # of len(), an exported graph makes a constant
        return torch.cat([first, patches.flatten(2).transpose(1, 2)], dim=1) + self._positions(rows)

    def _positions(self, side: int) -> Tensor:
        """(1, 1 + side * side, 768) for a map of `side` patches a side."""
        of_class, of_patches = self.pos_embedding[:, :1], self.pos_embedding[:, 1:]
        learnt = math.isqrt(of_patches.shape[1])
        if side == learnt:
            return self.pos_embedding
        grid = of_patches.transpose(1, 2).unflatten(2, (learnt, learnt))  # (1, 768, 14, 14)
        grid = nn.functional.interpolate(grid, size=(side, side), mode="bicubic", align_corners=True)
        return torch.cat([of_class, grid.flatten(2).transpose(1, 2)], dim=1)


class _Map(nn.Module):
    """Tokens (chips, 1 + patches, 768) to a map (chips, 768, side, side): the last layer norm, and no class token."""

    def __init__(self, norm: nn.LayerNorm):
        super().__init__()
        self.ln = norm

    def forward(self, tokens: Tensor) -> Tensor:
        patches = self.ln(tokens[:, 1:]).transpose(1, 2)
        side = math.isqrt(patches.shape[2])
        return patches.unflatten(2, (side, side))


def vit_layers(whole: VisionTransformer) -> nn.Sequential:
    """The parts of `whole` up to the last map: tokens, encoder_layer_0 to the last, and map."""
    encoders = OrderedDict(whole.encoder.layers.named_children())
    return nn.Sequential(OrderedDict(tokens=_Tokens(whole), **encoders, map=_Map(whole.encoder.ln)))
