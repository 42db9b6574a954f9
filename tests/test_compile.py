"""--compile: the same training, through torch.compile."""

import shutil

import numpy as np
import pytest
import torch

from models import build
from sarship.device import choose_device
from sarship.training import LabelledChips, Recipe, fit, predict

needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler on a CPU"
)


@needs_compiler
def test_a_compiled_network_trains_as_the_plain_one_does():
    """To rounding: the batches are equal, the last one is smaller, and only the order of sums differs."""
    chips = np.random.default_rng(1).integers(0, 256, (20, 32, 32), np.uint8)
    train = LabelledChips(chips, np.arange(20) % 3, 3)
    recipe = Recipe(2, 8, 1e-4, 0.0, "cross_entropy", "none", "strict", False, 1)
    device, answers, losses = choose_device("cpu", "float32"), {}, {}
    for is_compiled in (False, True):
        torch.manual_seed(0)
        network = build("CNN", 3, 32)
        network.classifier[4].p = 0.0  # compiled dropout draws other random numbers
        if is_compiled:
            network.compile()
        losses[is_compiled] = [row["train_loss"] for row in fit(network, train, train, recipe, device, None).history]
        answers[is_compiled] = predict(network, chips, device)
        assert not any("_orig_mod" in name for name in network.state_dict())
    assert losses[True] == pytest.approx(losses[False], rel=1e-3)
    assert answers[True] == pytest.approx(answers[False], abs=1e-2)
