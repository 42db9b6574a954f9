"""Which device, which precision, and how chips get there."""

import subprocess
import sys

import pytest
import torch

from sarship.command import UserError
from sarship.device import MANY_PIXELS, Device, choose_device, to_float
from tests.conftest import ROOT

TRAIN = """
import sys, numpy as np, torch
from models import build
from sarship.device import arrange_memory, choose_device
from sarship.training import LabelledChips, Recipe, fit
arrange_memory(int(sys.argv[1]))
torch.manual_seed(0)
network, chips = build("CNN", 3, 64), np.random.default_rng(0).integers(0, 256, (24, 64, 64), np.uint8)
train = LabelledChips(chips, np.arange(24) % 3, 3)
fit(network, train, train, Recipe(2, 8, 1e-3, 0.0, "cross_entropy", "none", "strict", False, 1),
    choose_device("cpu", "auto"), None)
print(repr([weight.double().sum().item() for weight in network.parameters()]))
"""


def test_to_float_scales_to_one():
    assert to_float(torch.tensor([[[0, 255]]], dtype=torch.uint8)).flatten().tolist() == [0, 1]


def test_cuda_that_is_absent_is_said():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UserError, match="--device cuda"):
        choose_device("cuda", "auto")


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_larger_chips_go_in_smaller_batches_and_never_none(name):
    device = Device(name, torch.float32)
    at_once = [device.chips_at_once(side * side) for side in (32, 64, 224, 10_000)]
    assert at_once == sorted(at_once, reverse=True)
    assert at_once[-1] == 1


def test_how_memory_is_held_changes_no_result():
    """In processes of their own, as the C library remembers."""
    answers = {}
    for pixels in (1, MANY_PIXELS, MANY_PIXELS + 1):
        command = [sys.executable, "-c", TRAIN, str(pixels)]
        answers[pixels] = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(set(answers.values())) == 1 and answers[1]
