"""Fit a network, pick its epoch on the validation set, predict. Knows nothing of archives or folders of chips.

Every epoch draws from generators seeded by (seed, epoch), so a run that was killed and resumed ends with the same
weights as one that was not.
"""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sarship.augment import AUGMENTATIONS, draw_flips
from sarship.checkpoint import Checkpoint
from sarship.device import Device
from sarship.epochs import Progress, epoch_seed, schedule, set_learning_rate, train_epochs
from sarship.features import FeatureStore, chip_keys
from sarship.feeding import evaluation_feed, training_feed
from sarship.input_scaling import input_scaling
from sarship.losses import LOSSES
from sarship.sampling import epoch_order
from sarship.scores import macro_f1
from sarship.stored_chips import Chips, joined
from sarship.synchronised import synchronise

IN_MEMORY = FeatureStore(None)
OPTIMIZERS = ("adam", "sgd")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Every field changes the result, so every field is part of a run's key.

    loss, sampler, augment: keys of LOSSES, SAMPLERS and AUGMENTATIONS. detached: the published flaw in which the
    optimizer holds the weights of another copy of the network. optimizer: one of OPTIMIZERS; momentum: of sgd only.
    final_learning_rate: where the learning rate ends.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    loss: str
    sampler: str
    augment: str
    detached: bool
    seed: int
    optimizer: str = "adam"
    momentum: float = 0.9
    final_learning_rate: float = 0.0

    @property
    def final_share(self) -> float:
        """What is left of the learning rate in the end."""
        return self.final_learning_rate / self.learning_rate if self.final_learning_rate else 0.0


@dataclass(frozen=True)
class LabelledChips:
    """pixels (chips, rows, cols[, 3]) uint8 and labels (chips,) int64 in 0..classes-1, in the same order."""

    pixels: Chips
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def input_scaling(self) -> tuple[float, float] | tuple[list[float], list[float]]:
        """Mean and standard deviation of the pixels, in 0..1; of colour chips, of each band."""
        return input_scaling(self.pixels)


def fit(
    network: nn.Module,
    train: LabelledChips,
    val: LabelledChips,
    recipe: Recipe,
    device: Device,
    checkpoint: Checkpoint | None,
    store: FeatureStore = IN_MEMORY,
    hear: Callable[[dict], None] | None = None,
) -> Progress:
    """Train `network` in place; it ends with the weights of its best epoch on `val`.

    Best is the highest validation macro-F1, then the lowest validation loss; with an empty `val`, the last epoch.
    checkpoint: where state is kept between epochs; a run that finds it there goes on from it. Whoever keeps the result
    removes it. store: where a constant backbone's features are kept. hear: is told each epoch's row.
    Returns the progress: history of epochs with train_loss, val_loss and val_macro_f1 (None without val).
    """
    started = time.monotonic()  # features of a frozen backbone are part of its run
    network.to(device.name, memory_format=torch.channels_last)
    synchronise(network)
    held = copy.deepcopy(network) if recipe.detached else network
    trained = [parameter for parameter in held.parameters() if parameter.requires_grad]
    optimizer = _optimizer(trained, recipe)
    epochs = _Epochs(network, optimizer, train, recipe, device, store)
    val_feed = evaluation_feed(network, val.pixels, (0,), device, store) if len(val) else None
    return train_epochs(
        network,
        optimizer,
        recipe.epochs,
        epochs.run,
        lambda: _validate(network, val_feed, val, device),
        _rank,
        lambda: _learnt_state(network),
        checkpoint,
        shown="val_macro_f1",
        started=started,
        hear=hear,
    )


def _optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """One kernel updates all weights, on a CPU, too. Weight decay is in the gradient of both, as it always was."""
    usual = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=recipe.momentum, **usual)
    return torch.optim.Adam(parameters, **usual)


class _Epochs:
    """Passes over the training chips, each in a random order of its own. Between two batches, nothing waits for a GPU:
    indices and flips of a whole epoch are drawn on the CPU and moved at its beginning, and the loss is read at its end.
    """

    def __init__(self, network, optimizer, train: LabelledChips, recipe: Recipe, device: Device, store: FeatureStore):
        self._network, self._optimizer, self._recipe, self._device = network, optimizer, recipe, device
        self._feed = training_feed(network, train.pixels, recipe.augment, device, store)
        self._labels = torch.from_numpy(train.labels)
        self._labels_there = self._labels.to(device.name)
        self._class_counts = torch.bincount(self._labels_there, minlength=train.classes).float()

    def run(self, epoch: int) -> float:
        """Epoch number `epoch`, from 1; returns the mean loss."""
        recipe, profile = self._recipe, self._device.profile
        seed = epoch_seed(recipe.seed, epoch)
        torch.manual_seed(seed)  # dropout draws from the global generator
        on_device = torch.Generator(self._device.name).manual_seed(seed)
        batches, flips = self._draw(torch.Generator().manual_seed(seed))
        loss_function, done = LOSSES[recipe.loss], (epoch - 1) / recipe.epochs
        self._network.train()
        total = torch.zeros((), device=self._device.name)
        for index, (batch, own_flips) in enumerate(zip(batches, flips, strict=True)):
            share = schedule(epoch - 1 + index / len(batches), recipe.epochs, recipe.final_share)
            set_learning_rate(self._optimizer, recipe.learning_rate * share)
            with profile.part("forward"):
                logits = self._feed.train_logits(batch, own_flips, on_device)
                loss = loss_function(logits.float(), self._labels_there[batch], self._class_counts, done)
            with profile.part("backward"):
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
            with profile.part("optimizer"):
                self._optimizer.step()
            total += loss.detach() * len(batch)
        return total.item() / sum(map(len, batches))

    def _draw(self, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
        """Indices of the chips of each batch of an epoch, where the feed wants them; how each is mirrored."""
        recipe = self._recipe
        batches = epoch_order(self._labels, recipe.sampler, generator).split(recipe.batch_size)
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches = batches[:-1]  # batch norm has no variance over one chip; another is left over in the next epoch
        drawn_from = AUGMENTATIONS[recipe.augment].flips
        flips = [draw_flips(len(batch), generator, drawn_from) for batch in batches]
        sizes = [len(batch) for batch in batches]
        places = (self._feed.indices_on, self._feed.flips_on)
        there = (torch.cat(parts).to(place).split(sizes) for parts, place in zip((batches, flips), places, strict=True))
        return tuple(map(list, there))


def _learnt_state(network: nn.Module) -> dict[str, Tensor]:
    """A copy, on the CPU, of the weights and statistics that training changes: none of those of a constant backbone."""
    constant = ("features.",) if network.is_constant_backbone else ()
    return {key: value.cpu().clone() for key, value in network.state_dict().items() if not key.startswith(constant)}


def _validate(network: nn.Module, feed, val: LabelledChips, device: Device) -> dict:
    """Columns of an epoch's row. feed: of the chips of `val`, None if there are none."""
    if feed is None:
        return {"val_loss": None, "val_macro_f1": None}
    with device.profile.part("evaluation"):
        network.eval()
        probabilities = _softmax(feed.logits(torch.zeros(len(val), dtype=torch.long)))
    likelihood = probabilities[np.arange(len(val)), val.labels]
    return {
        "val_loss": float(-np.log(likelihood.clip(1e-12)).mean()),
        "val_macro_f1": macro_f1(val.labels, probabilities.argmax(1), val.classes),
    }


def _rank(row: dict) -> tuple:
    """The epoch with the highest rank is best. Without validation chips that is the last one."""
    if row["val_macro_f1"] is None:
        return (row["epoch"],)
    return row["val_macro_f1"], -row["val_loss"]


def predict(
    network: nn.Module, pixels: Chips, device: Device, flips: Tensor | None = None, store: FeatureStore = IN_MEMORY
) -> np.ndarray:
    """Class probabilities (chips, classes) float64 of chips (chips, rows, cols[, 3]) uint8; no random transform.

    flips: (chips,) how each chip is mirrored first, which only the published flaw asks for. store: as that of `fit`.
    """
    network.eval()
    flips = torch.zeros(len(pixels), dtype=torch.long) if flips is None else flips
    feed = evaluation_feed(network, pixels, tuple(flips.unique().tolist()), device, store)
    with device.profile.part("evaluation"):
        return _softmax(feed.logits(flips))


def predict_sets(
    network: nn.Module, sets: Mapping[str, Chips], device: Device, store: FeatureStore = IN_MEMORY
) -> dict[str, np.ndarray]:
    """As `predict`, for several sets of chips in one pass: a chip that is in two of them is evaluated once."""
    together = joined(list(sets.values()))
    _, first, place = np.unique(chip_keys(together), return_index=True, return_inverse=True)
    probabilities = predict(network, together.chosen(first), device, store=store)[place]
    ends = np.cumsum([len(pixels) for pixels in sets.values()])
    return dict(zip(sets, np.split(probabilities, ends[:-1]), strict=True))


def _softmax(logits: Tensor) -> np.ndarray:
    return torch.softmax(logits.cpu(), dim=1).numpy()
