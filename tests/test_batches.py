"""Batches of chips on the device: the same, wherever the set lies."""

import numpy as np
import torch

from sarship.batches import HeldChips, on_device
from sarship.device import Device
from sarship.stored_chips import joined

CPU = Device("cpu", torch.float32)


def test_streamed_batches_are_those_of_a_set_that_is_held():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    held = HeldChips(torch.from_numpy(pixels))
    indices = torch.randint(0, 50, (17,), generator=torch.Generator().manual_seed(0))
    for given in (pixels, joined([pixels[:20], pixels[20:]])):
        streamed = on_device(given, CPU)
        assert torch.equal(streamed.batch(indices.to(streamed.indices_on)), held.batch(indices))
        blocks = list(zip(streamed.blocks(7), held.blocks(7), strict=True))
        assert len(blocks) == 8 and all(torch.equal(*pair) for pair in blocks)


def test_a_batch_is_the_callers_own():
    pixels = np.ones((4, 8, 8), np.uint8)
    on_device(pixels, CPU).batch(torch.tensor([1, 2])).zero_()
    assert pixels.all()
