"""How chips become logits: through the whole network, or from kept features through its head alone."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from sarship.augment import AUGMENTATIONS, FLIPS, Augmentation, apply_flips, apply_steps
from sarship.batches import on_device
from sarship.device import Device, to_float
from sarship.distributed import agree, drawing, gathered, processes, share_of, whole_batch, wrapped
from sarship.features import FeatureStore
from sarship.stored_chips import Chips, joined

HEAD_CHIPS = 1024  # features that go through a head at once in evaluation


class WholeNetwork:
    """Chips that go through augmentation, backbone and head. They get to the device as uint8 and are scaled there."""

    def __init__(self, network: nn.Module, pixels: Chips, augmentation: Augmentation, device: Device):
        self._network, self._augmentation, self._device = network, augmentation, device
        with device.profile.part("to device"):
            self._chips = on_device(pixels, device)
        self.indices_on, self.flips_on = self._chips.indices_on, torch.device(device.name)
        # For counting: the layers one after the other, each once; what the network computes again is no gain.
        self._layers = nn.Sequential(network.features, network.classifier)
        self._chip_shape = (3, *pixels.shape[1:3])

    def train_logits(self, batch: Tensor, flips: Tensor, generator: torch.Generator) -> Tensor:
        """(batch, classes) of the chips with indices `batch`, mirrored by `flips` (batch,) and changed by every step.

        `batch` and `flips` are where `indices_on` and `flips_on` say, the generator is the device's; nothing here waits
        for it. Of several processes, each computes its share.
        """
        share = share_of(len(batch))
        batch, flips = batch[share.rows], flips[share.rows]
        self._device.profile.count(len(batch), self._layers, self._chip_shape, backward=True)
        with drawing(share):
            chips = apply_flips(to_float(self._chips.batch(batch)), flips)
            chips = apply_steps(chips, self._augmentation, generator)
            with self._device.autocast():
                return whole_batch(self._trained(chips), share)

    @cached_property
    def _trained(self) -> nn.Module:
        return wrapped(self._network)

    @torch.no_grad()
    def logits(self, flips: Tensor) -> Tensor:
        """(chips, classes) float64 of all chips, each mirrored by `flips` (chips,); no other random change."""
        share = share_of(len(flips))
        at_once = self._device.chips_at_once(self._chip_shape[1] * self._chip_shape[2])
        indices = torch.arange(len(flips))[share.rows].split(at_once)
        own_flips = flips[share.rows].to(self._device.name)
        parts = []
        for batch, own in zip(indices, own_flips.split(at_once), strict=True):
            pixels = self._chips.batch(batch)
            with self._device.autocast():
                parts.append(self._network(apply_flips(to_float(pixels), own)).double())
        self._device.profile.count(len(own_flips), self._layers, self._chip_shape, backward=False)
        return gathered(torch.cat(parts), share.total)


class HeadOnly:
    """Chips of a constant backbone, as the features that it makes of each of their mirror images.

    The backbone is in evaluation mode and gets no gradient, so it gives the same features in every epoch; the head's
    first layer, a pooling, has no weights either. flips: flip numbers that will be asked for.
    """

    def __init__(self, network: nn.Module, pixels: Chips, flips: Sequence[int], device: Device, store: FeatureStore):
        self._head, self._device = network.classifier[1:], device
        network.eval()
        with device.profile.part("features"):
            if processes() > 1:  # each computes its share, and finds that of the others
                store.fill(network, joined([pixels]).chosen(share_of(len(pixels)).rows), flips, device)
                agree(len(pixels), "chips")
            self._features = store.features(network, pixels, flips, device)
        self.indices_on = self.flips_on = self._features.indices_on
        places = [flips.index(flip) if flip in flips else -1 for flip in range(FLIPS)]
        self._place = torch.tensor(places, device=self.flips_on)

    def train_logits(self, batch: Tensor, flips: Tensor, generator: torch.Generator) -> Tensor:
        """As that of WholeNetwork; there are no steps."""
        share = share_of(len(batch))
        batch, flips = batch[share.rows], flips[share.rows]
        self._device.profile.count(len(batch), self._head, self._features.chip_shape, backward=True)
        with drawing(share), self._device.autocast():
            return whole_batch(self._trained(self._features.batch(self._place[flips], batch)), share)

    @cached_property
    def _trained(self) -> nn.Module:
        return wrapped(self._head)

    @torch.no_grad()
    def logits(self, flips: Tensor) -> Tensor:
        """As that of WholeNetwork."""
        places = self._place[flips.to(self.flips_on)].split(HEAD_CHIPS)
        indices = torch.arange(len(flips), device=self.indices_on).split(HEAD_CHIPS)
        with self._device.autocast():
            parts = [self._head(self._features.batch(*those)).double() for those in zip(places, indices, strict=True)]
        self._device.profile.count(len(flips), self._head, self._features.chip_shape, backward=False)
        return torch.cat(parts)


def training_feed(network, pixels: Chips, augment: str, device: Device, store: FeatureStore):
    """Training chips (chips, rows, cols[, 3]) uint8 for a network; augment: a key of AUGMENTATIONS."""
    augmentation = AUGMENTATIONS[augment]
    if network.is_constant_backbone and augmentation.is_flips_only:
        return HeadOnly(network, pixels, augmentation.flips, device, store)
    return WholeNetwork(network, pixels, augmentation, device)


def evaluation_feed(network, pixels: Chips, flips: Sequence[int], device: Device, store: FeatureStore):
    """Chips (chips, rows, cols[, 3]) uint8 to evaluate, at least one; flips: flip numbers that will be asked for."""
    if network.is_constant_backbone:
        return HeadOnly(network, pixels, flips, device, store)
    return WholeNetwork(network, pixels, AUGMENTATIONS["none"], device)
