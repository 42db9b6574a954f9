"""Which device, which precision, and how chips get there."""

import pytest
import torch

from sarship.command import UserError
from sarship.device import Device, choose_device, to_float


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
