"""Trains small networks in float64; started by test_distributed.py with one process, and by torchrun with several.

    torchrun --nproc-per-node 2 tests/over_processes.py RESULT.pt CHIPS MODEL... [LOSS=...]

In float64, what rounding does stays so small that anything else shows.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from models import build
from sarship import feeding
from sarship.augment import AUGMENTATIONS
from sarship.device import Device
from sarship.distributed import is_first, joined
from sarship.training import LabelledChips, Recipe, fit, predict

SIDE, CLASSES, BATCH, EPOCHS = 32, 3, 8, 2


def to_double(pixels):
    """As sarship.device.to_float, in float64."""
    return (pixels[:, None].double() / 255).contiguous(memory_format=torch.channels_last)


def train(name: str, chips: int, loss: str) -> dict:
    """Everything that a training decides: weights and statistics, losses of epochs, answers."""
    generator = np.random.default_rng(chips)
    pixels = generator.integers(0, 256, (chips, SIDE, SIDE)).astype(np.uint8)
    labels = np.arange(chips) % CLASSES
    held_out = LabelledChips(pixels[:5], labels[:5], CLASSES)
    torch.manual_seed(1)
    network = build(name, CLASSES, SIDE, cosine=loss.startswith("ldam")).double()
    recipe = Recipe(EPOCHS, BATCH, 1e-3, 1e-4, loss, "balanced", "strict", detached=False, seed=3)
    device = Device("cpu", torch.float32)  # no autocast
    progress = fit(network, LabelledChips(pixels, labels, CLASSES), held_out, recipe, device, None)
    losses = torch.tensor([[row["train_loss"], row["val_loss"]] for row in progress.history])
    answers = torch.from_numpy(predict(network, pixels[:7], device))
    return {"losses": losses, "answers": answers} | network.state_dict()


def draw_augmented(chips: int) -> torch.Tensor:
    """A batch after every step of --augment sar: random numbers are drawn for the whole batch."""
    from sarship.distributed import drawing, gathered, share_of

    share = share_of(chips)
    bright = torch.linspace(0, 1, chips * SIDE * SIDE).view(chips, 1, SIDE, SIDE)[share.rows]
    with drawing(share):
        for step in AUGMENTATIONS["sar"].steps:
            bright = step(bright, torch.Generator().manual_seed(chips + len(step.__name__)))
    return gathered(bright, share.total)


def main(result: str, chips: str, loss: str, *names: str) -> None:
    torch.set_num_threads(1)
    feeding.to_float = to_double
    with joined("cpu"):
        decided = {name: train(name, int(chips), loss) for name in names}
        decided["augmented"] = {"chips": draw_augmented(int(chips))}
        if is_first():
            torch.save(decided, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
