"""Random changes of training chips, on the batch, each chip with its own draw. Test chips never pass through here."""

import torch
from torch import Tensor

FLIPS = 4  # neither, rows, columns, both


def draw_flips(count: int, generator: torch.Generator) -> Tensor:
    """One of FLIPS for each of `count` chips, (count,) int64, all equally likely."""
    flip_rows, flip_cols = torch.rand(2, count, generator=generator) < 0.5
    return flip_rows.long() + 2 * flip_cols.long()


def apply_flips(chips: Tensor, flips: Tensor) -> Tensor:
    """Chips (chips, 1, rows, cols), each mirrored as its number in `flips` (chips,) says."""
    flips = flips.to(chips.device)[:, None, None, None]
    chips = torch.where(flips % 2 == 1, chips.flip(2), chips)
    return torch.where(flips // 2 == 1, chips.flip(3), chips)
