"""Random changes of training chips, on the batch, each chip with its own draw. Test chips never pass through here."""

import torch
from torch import Tensor


def random_flips(chips: Tensor, generator: torch.Generator) -> Tensor:
    """Chips (chips, 1, rows, cols), each mirrored along rows, cols, both or neither with equal chance."""
    flip_rows, flip_cols = (torch.rand(2, len(chips), generator=generator) < 0.5).to(chips.device)
    chips = torch.where(flip_rows[:, None, None, None], chips.flip(2), chips)
    return torch.where(flip_cols[:, None, None, None], chips.flip(3), chips)
