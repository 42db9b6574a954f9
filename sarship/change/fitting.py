"""Fit the U-Net to samples: mean squared error, AdamW, mixed precision; epochs and resuming as in the other studies."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset

from sarship.change.conditions import FEATURES
from sarship.change.sample_set import Sample, SampleSet
from sarship.change.unet import UNet
from sarship.checkpoint import Checkpoint
from sarship.device import Device
from sarship.epochs import Progress, epoch_seed, schedule, set_learning_rate, train_epochs

STATISTICS_SAMPLES = 2000  # training samples at most that scaling is measured on
CUDA_READERS = 4  # processes that read samples while a GPU computes; a CPU reads between two batches
FINAL_SHARE = 0.01  # what is left of the learning rate in the last epoch


@dataclass(frozen=True)
class ChangeRecipe:
    """How a U-Net is trained. epoch_samples: training samples that an epoch shows, drawn anew each time; 0 for all.

    condition_noise: standard deviation, in spreads over the training samples, of what is added to every number of the
    conditions (not to orbit and satellite), anew in every batch: a few hundred dates can be told apart by their exact
    weather, and what a network knows by heart of a date is of no use on another.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    epoch_samples: int
    seed: int
    condition_noise: float = 0.0


class SampleReader(Dataset):
    """Samples as tensors, a batch at once: images (n, 4, 2, p, p) dB, elevation (n, p, p) m, conditions (n, 5, 12) and
    the newest image (n, 2, p, p) dB."""

    def __init__(self, samples: SampleSet, chosen: Sequence[Sample]):
        self._samples, self._chosen = samples, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitems__(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        chosen = [self._chosen[number] for number in numbers]
        of, own = self._samples, np.stack
        parts = (
            own([of.earlier_images(each) for each in chosen]),
            own([of.elevation(each) for each in chosen]),
            own([[told.vector() for told in of.conditions(each)] for each in chosen]),
            own([of.image(each, each.newest) for each in chosen]),
        )
        return tuple(torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in parts)


def batches(reader: SampleReader, order: Tensor, size: int, device: Device) -> Iterator[tuple[Tensor, ...]]:
    """Batches of samples on the device, in this order."""
    is_cuda = device.name == "cuda"
    parts = [part.tolist() for part in order.split(size)]
    loader = DataLoader(
        reader, batch_sampler=parts, collate_fn=tuple, num_workers=CUDA_READERS if is_cuda else 0, pin_memory=is_cuda
    )
    for batch in loader:
        yield tuple(each.to(device.name, non_blocking=True) for each in batch)


def fit_scaling(network: UNet, samples: SampleSet, train: Sequence[Sample], seed: int) -> None:
    """Set the network's scaling to mean and spread over the training samples, or STATISTICS_SAMPLES of them."""
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:STATISTICS_SAMPLES]
    images, elevation, conditions, _ = SampleReader(samples, train).__getitems__(drawn.tolist())
    network.image_mean.copy_(images.mean(dim=(0, 1, 3, 4))[:, None, None])
    network.image_spread.copy_(images.transpose(0, 2).flatten(1).std(dim=1)[:, None, None])
    network.elevation_spread.copy_((elevation - elevation.mean(dim=(1, 2), keepdim=True)).std().clamp(min=1.0))
    told = conditions.flatten(0, 1)
    network.condition_mean.copy_(told.mean(dim=0))
    spread = told.std(dim=0)
    network.condition_spread.copy_(torch.where(spread > 1e-6, spread, 1.0))  # what is the same everywhere tells nothing


def fit(
    network: UNet, samples: SampleSet, recipe: ChangeRecipe, device: Device, checkpoint: Checkpoint | None
) -> Progress:
    """Train `network` in place on the train samples; it ends with the weights of the epoch of lowest val error.

    checkpoint: as of `epochs.train_epochs`. The history has epoch, train_loss (mean squared error of scaled images) and
    val_rmse_db (over both bands of all val samples).
    """
    started = time.monotonic()
    train = samples.of_split("train")
    fit_scaling(network, samples, train, recipe.seed)
    network.to(device.name, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    reader, val = SampleReader(samples, train), SampleReader(samples, samples.of_split("val"))
    return train_epochs(
        network,
        optimizer,
        recipe.epochs,
        lambda epoch: _run_epoch(network, optimizer, reader, recipe, device, epoch),
        lambda: {"val_rmse_db": error_db(network, val, recipe.batch_size, device)},
        lambda row: (-row["val_rmse_db"],),
        lambda: {key: value.cpu().clone() for key, value in network.state_dict().items()},
        checkpoint,
        shown="val_rmse_db",
        started=started,
    )


def _run_epoch(network, optimizer, reader: SampleReader, recipe: ChangeRecipe, device: Device, epoch: int) -> float:
    """Epoch number `epoch`, from 1; returns the mean loss. What is drawn depends on seed and epoch only."""
    seed = epoch_seed(recipe.seed, epoch)
    torch.manual_seed(seed)  # stochastic depth and dropout draw from the global generator
    order = torch.randperm(len(reader), generator=torch.Generator().manual_seed(seed))
    order = order[: recipe.epoch_samples or None]
    # Batch norm at the bottleneck of 1 x 1 needs two samples: what is left over alone waits for another epoch.
    steps = max(1, -(-len(order) // recipe.batch_size) - (len(order) % recipe.batch_size == 1))
    order = order[: steps * recipe.batch_size]
    network.train()
    total = torch.zeros((), device=device.name)
    for index, (images, elevation, conditions, newest) in enumerate(batches(reader, order, recipe.batch_size, device)):
        share = schedule(epoch - 1 + index / steps, recipe.epochs, FINAL_SHARE)
        set_learning_rate(optimizer, recipe.learning_rate * share)
        if recipe.condition_noise:
            conditions = _noisy(conditions, recipe.condition_noise * network.condition_spread)
        with device.autocast():
            predicted = network(images, elevation, conditions)
        loss = mse_loss(network.scaled(predicted), network.scaled(newest))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(newest)
    return total.item() / len(order)


def _noisy(conditions: Tensor, deviation: Tensor) -> Tensor:
    """Conditions (samples, 5, 12) with noise on those that are measured; deviation: (12,)."""
    measured = torch.ones_like(deviation)
    for name in ("orbit", "satellite"):
        measured[FEATURES[name]] = 0
    drawn = torch.randn(conditions.shape).to(conditions.device)  # on the CPU: the same on every device
    return conditions + drawn * deviation * measured


@torch.no_grad()
def error_db(network: UNet, reader: SampleReader, batch_size: int, device: Device) -> float:
    """Root mean squared error of predicted images in dB, over both bands of all samples."""
    network.eval()
    total, count = 0.0, 0
    for images, elevation, conditions, newest in batches(reader, torch.arange(len(reader)), batch_size, device):
        with device.autocast():
            predicted = network(images, elevation, conditions)
        total += (predicted - newest).double().square().sum().item()
        count += newest.numel()
    return (total / count) ** 0.5
