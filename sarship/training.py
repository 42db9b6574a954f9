"""Fit a network, pick its epoch on the validation set, predict. Knows nothing of archives or folders of chips.

Every epoch draws from generators seeded by (seed, epoch), so a run that was killed and resumed ends with the same
weights as one that was not.
"""

import copy
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sarship.augment import AUGMENTATIONS, FLIPS, Augmentation, apply_flips, apply_steps, draw_flips
from sarship.command import UserError
from sarship.files import whole_file
from sarship.losses import LOSSES
from sarship.sampling import epoch_order
from sarship.scores import macro_f1

CHECKPOINT_SECONDS = 60  # at most this much work is lost when a run is killed in the middle
TEST_BATCH = 256


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Every field changes the result, so every field is part of a run's key.

    loss, sampler, augment: keys of LOSSES, SAMPLERS and AUGMENTATIONS. detached: the published flaw in which the
    optimizer holds the weights of another copy of the network.
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


@dataclass(frozen=True)
class Device:
    """Where to compute and in which precision. autocast_dtype: of convolutions and products; float32 means none."""

    name: str
    autocast_dtype: torch.dtype

    def autocast(self):
        enabled = self.autocast_dtype != torch.float32
        return torch.autocast(self.name, self.autocast_dtype if enabled else None, enabled=enabled)


def choose_device(name: str, precision: str) -> Device:
    """Device for --device auto|cpu|cuda and --precision auto|float32|bfloat16.

    auto takes CUDA where there is one, and bfloat16 where the hardware multiplies in it (CUDA since Ampere; CPUs
    with AVX512-BF16 or AMX). Raises UserError if CUDA is asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch sees no CUDA device; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(name) else "float32"
    if name == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
    return Device(name, getattr(torch, precision))


def _multiplies_bfloat16(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # The only question to the library that knows; processors without it (Apple's, say) have no such library either.
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@dataclass(frozen=True)
class LabelledChips:
    """pixels (chips, rows, cols) uint8 and labels (chips,) int64 in 0..classes-1, in the same order."""

    pixels: np.ndarray
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Progress:
    """State between epochs: all that a killed run needs to go on."""

    epoch: int = 0
    history: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    best_state: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0


def to_float(pixels: Tensor) -> Tensor:
    """(chips, rows, cols) uint8 to (chips, 1, rows, cols) float32 in 0..1, channels last."""
    return (pixels[:, None].float() / 255).contiguous(memory_format=torch.channels_last)


def fit(
    network: nn.Module,
    train: LabelledChips,
    val: LabelledChips,
    recipe: Recipe,
    device: Device,
    checkpoint: Path | None,
) -> Progress:
    """Train `network` in place; it ends with the weights of its best epoch on `val`.

    Best is the highest validation macro-F1, then the lowest validation loss; with an empty `val`, the last epoch.
    checkpoint: where state is kept between epochs; a run that finds it there goes on from it. Whoever keeps the result
    removes it. Returns the progress: history of epochs with train_loss, val_loss and val_macro_f1 (None without val).
    """
    network.to(device.name, memory_format=torch.channels_last)
    held = copy.deepcopy(network) if recipe.detached else network
    trained = [parameter for parameter in held.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    progress = _resume(checkpoint, network, optimizer)
    pixels, labels = torch.from_numpy(train.pixels).to(device.name), torch.from_numpy(train.labels).to(device.name)
    class_counts = torch.bincount(labels, minlength=train.classes).float()
    started = time.monotonic()
    augmentation = AUGMENTATIONS[recipe.augment]
    constant = network.is_constant_backbone and augmentation.is_flips_only
    chips = (_HeadOnly if constant else _WholeNetwork)(network, pixels, augmentation, device)
    saved_at = time.monotonic()
    with tqdm(total=recipe.epochs, initial=progress.epoch, unit=" epochs", leave=False, disable=None) as bar:
        while progress.epoch < recipe.epochs:
            progress.epoch += 1
            train_loss = _train_epoch(network, optimizer, chips, labels, class_counts, recipe, progress.epoch, device)
            row = {"epoch": progress.epoch, "train_loss": train_loss, **_validate(network, val, device)}
            progress.history.append(row)
            if _is_best(progress):
                progress.best_epoch = progress.epoch
                progress.best_state = {key: value.cpu().clone() for key, value in network.state_dict().items()}
            progress.seconds += time.monotonic() - started
            started = time.monotonic()
            bar.update()
            bar.set_postfix(loss=f"{train_loss:.3f}", val_macro_f1=row["val_macro_f1"])
            if checkpoint is not None and time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                _save(checkpoint, network, optimizer, progress)
                saved_at = time.monotonic()
    network.load_state_dict(progress.best_state)
    return progress


class _WholeNetwork:
    """Training chips as they go through augmentation, backbone and head."""

    def __init__(self, network: nn.Module, pixels: Tensor, augmentation: Augmentation, device: Device):
        self._network, self._pixels, self._augmentation, self._device = network, pixels, augmentation, device

    def logits(self, batch: Tensor, draws: "_Draws") -> Tensor:
        """(batch, classes) of the chips `batch`, each changed by its own draw."""
        flips = draw_flips(len(batch), draws.on_cpu, self._augmentation.flips)
        chips = apply_flips(to_float(self._pixels[batch]), flips)
        chips = apply_steps(chips, self._augmentation, draws.on_device)
        with self._device.autocast():
            return self._network(chips)


class _HeadOnly:
    """Training chips of a constant backbone: pooled features of every chip and mirror image, computed once.

    The backbone is in evaluation mode and gets no gradient, so it gives the same features in every epoch; the head's
    first layer, a pooling, has no weights either.
    """

    def __init__(self, network: nn.Module, pixels: Tensor, augmentation: Augmentation, device: Device):
        self._network, self._flips, self._device = network, augmentation.flips, device
        network.eval()
        self._features = torch.stack([self._all(pixels, flip) for flip in self._flips])
        self._place = torch.tensor([self._flips.index(flip) if flip in self._flips else -1 for flip in range(FLIPS)])

    @torch.no_grad()
    def _all(self, pixels: Tensor, flip: int) -> Tensor:
        pooled = []
        for batch in pixels.split(TEST_BATCH):
            chips = apply_flips(to_float(batch), torch.full((len(batch),), flip))
            with self._device.autocast():
                pooled.append(self._network.pooled_features(chips))
        return torch.cat(pooled)

    def logits(self, batch: Tensor, draws: "_Draws") -> Tensor:
        """(batch, classes) of the chips `batch`, each mirrored by its own draw."""
        places = self._place[draw_flips(len(batch), draws.on_cpu, self._flips)]
        with self._device.autocast():
            return self._network.classifier[1:](self._features[places.to(batch.device), batch])


@dataclass(frozen=True)
class _Draws:
    """Where an epoch's random numbers come from: what is small on the CPU, what has a chip's size on the device."""

    on_cpu: torch.Generator
    on_device: torch.Generator


def _train_epoch(network, optimizer, chips, labels, class_counts, recipe: Recipe, epoch: int, device: Device) -> float:
    """One pass over the training chips in random order; returns the mean loss."""
    seed = _epoch_seed(recipe.seed, epoch)
    torch.manual_seed(seed)  # dropout draws from the global generator
    draws = _Draws(torch.Generator().manual_seed(seed), torch.Generator(device.name).manual_seed(seed))
    loss_function, progress = LOSSES[recipe.loss], (epoch - 1) / recipe.epochs
    order = epoch_order(labels.cpu(), recipe.sampler, draws.on_cpu)
    batches = order.to(device.name).split(recipe.batch_size)
    network.train()
    total, seen = torch.zeros((), device=device.name), 0
    for index, batch in enumerate(batches):
        if len(batch) == 1 and len(batches) > 1:
            continue  # batch norm has no variance over one chip; another chip is left over in the next epoch
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(epoch - 1 + index / len(batches), recipe.epochs)
        loss = loss_function(chips.logits(batch, draws).float(), labels[batch], class_counts, progress)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
        seen += len(batch)
    return total.item() / seen


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _schedule(epochs_done: float, epochs: int) -> float:
    """Share of the learning rate: a linear warm-up over the first tenth, then half a cosine down to zero."""
    done = epochs_done / epochs
    return min(1.0, (done + 0.01) / 0.1) * 0.5 * (1 + math.cos(math.pi * done))


def _validate(network: nn.Module, val: LabelledChips, device: Device) -> dict:
    if len(val) == 0:
        return {"val_loss": None, "val_macro_f1": None}
    probabilities = predict(network, val.pixels, device)
    likelihood = probabilities[np.arange(len(val)), val.labels]
    return {
        "val_loss": float(-np.log(likelihood.clip(1e-12)).mean()),
        "val_macro_f1": macro_f1(val.labels, probabilities.argmax(1), val.classes),
    }


def _is_best(progress: Progress) -> bool:
    """Whether the last epoch of the history is the best so far."""
    last = progress.history[-1]
    if last["val_macro_f1"] is None or not progress.best_epoch:
        return True
    best = progress.history[progress.best_epoch - 1]
    return (last["val_macro_f1"], -last["val_loss"]) > (best["val_macro_f1"], -best["val_loss"])


@torch.no_grad()
def predict(network: nn.Module, pixels: np.ndarray, device: Device, flips: Tensor | None = None) -> np.ndarray:
    """Class probabilities (chips, classes) float64 of chips (chips, rows, cols) uint8; no random transform.

    flips: (chips,) how each chip is mirrored first, which only the published flaw asks for.
    """
    network.eval()
    flips = torch.zeros(len(pixels), dtype=torch.long) if flips is None else flips
    logits = []
    for batch, batch_flips in zip(torch.from_numpy(pixels).split(TEST_BATCH), flips.split(TEST_BATCH), strict=True):
        chips = apply_flips(to_float(batch.to(device.name)), batch_flips)
        with device.autocast():
            logits.append(network(chips).double().cpu())
    return torch.softmax(torch.cat(logits), dim=1).numpy()


def _save(checkpoint: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "progress": asdict(progress)}
    with whole_file(checkpoint) as path:
        torch.save(state, path)


def _resume(checkpoint: Path | None, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Progress from `checkpoint`, with network and optimizer put back; fresh if there is none."""
    if checkpoint is None or not checkpoint.exists():
        return Progress()
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])
