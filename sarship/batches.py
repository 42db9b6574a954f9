"""Batches on the device, of chips or of kept features, whether all lie there, in the computer's memory or in a file.

On a GPU, a set that leaves half of the free memory to the network is moved there once. Any other is read batch by
batch: on a CPU that costs less than a hundredth of a training step, and memory does not grow with the set.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from sarship.device import Device
from sarship.stored_chips import Chips, StoredChips, joined

LARGEST_SHARE = 0.5  # of a GPU's free memory, for chips; networks, gradients and activations have the rest
MOVED_AT_ONCE = 1024  # chips, on their way to the device: 50 MB of colour chips of 128 x 128


class HeldChips:
    """All chips on the device. indices_on: where the indices of a batch are wanted."""

    def __init__(self, pixels: Tensor):
        self._pixels, self.indices_on = pixels, pixels.device

    def batch(self, indices: Tensor) -> Tensor:
        """(batch, rows, cols[, 3]) uint8 on the device."""
        return self._pixels[indices]

    def blocks(self, count: int) -> Iterator[Tensor]:
        """All chips in their order, `count` at once, on the device."""
        return iter(self._pixels.split(count))


class StreamedChips:
    """Chips that are read when they are asked for; to a GPU they go through pinned memory, while it computes.

    The indices are wanted on the CPU: to read them off a GPU would wait for all that it has still to do.
    """

    def __init__(self, chips: StoredChips, device: Device):
        self._chips, self._device, self.indices_on = chips, torch.device(device.name), torch.device("cpu")

    def batch(self, indices: Tensor) -> Tensor:
        """As that of HeldChips. Raises UserError if the file was cut meanwhile."""
        on_gpu = self._device.type == "cuda"
        # A new one each time: PyTorch gives the pinned memory of an earlier batch again when it has been copied.
        pixels = torch.empty((len(indices), *self._chips.shape[1:]), dtype=torch.uint8, pin_memory=on_gpu)
        self._chips.read_into(indices.numpy(), pixels.numpy())
        return pixels.to(self._device, non_blocking=True)

    def blocks(self, count: int) -> Iterator[Tensor]:
        """As that of HeldChips."""
        return map(self.batch, torch.arange(len(self._chips)).split(count))


def on_device(pixels: Chips, device: Device) -> HeldChips | StreamedChips:
    """Chips (chips, rows, cols[, 3]) uint8, held where they fit and streamed where not."""
    if isinstance(pixels, np.ndarray):
        pixels = joined([pixels])
    streamed = StreamedChips(pixels, device)
    if device.name == "cpu" or pixels.nbytes > LARGEST_SHARE * torch.cuda.mem_get_info()[0]:
        return streamed
    held = torch.empty(pixels.shape, dtype=torch.uint8, device=device.name)
    for place, block in zip(held.split(MOVED_AT_ONCE), streamed.blocks(MOVED_AT_ONCE), strict=True):
        place.copy_(block)
    return HeldChips(held)


class HeldFeatures:
    """Pooled features of chips and their mirror images, on the device. indices_on: where indices are wanted."""

    def __init__(self, values: Tensor):
        """values: (flips, chips, ...)."""
        self._values, self.indices_on, self.chip_shape = values, values.device, values.shape[2:]

    def batch(self, places: Tensor, chips: Tensor) -> Tensor:
        """(batch, ...) on the device, of the chips with indices `chips`, each as its flip number `places` has it."""
        return self._values[places, chips]


class StreamedFeatures:
    """As HeldFeatures, for more of them than memory should hold; a GPU holds them if they fit."""

    def __init__(self, rows: StoredChips, dtype: torch.dtype, shape: Sequence[int], device: Device):
        """rows: (flips x chips, bytes) uint8, the features of one chip after the other. shape: (flips, chips, ...)."""
        self._rows, self._dtype, self._chips = on_device(rows, device), dtype, shape[1]
        self.indices_on, self.chip_shape = self._rows.indices_on, torch.Size(shape[2:])

    def batch(self, places: Tensor, chips: Tensor) -> Tensor:
        """As that of HeldFeatures. Raises UserError if the file was cut meanwhile."""
        rows = self._rows.batch(places * self._chips + chips)
        return rows.view(self._dtype).unflatten(1, self.chip_shape)


Features = HeldFeatures | StreamedFeatures
