"""Epoch after epoch: schedule, seeds, the best epoch's weights, and the state that a killed run goes on from.

What an epoch shows, how it is judged and which one is best is for the study to say: `training.py` for classes of chips,
`change/fitting.py` for predicted images.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sarship.checkpoint import Checkpoint
from sarship.command import log
from sarship.distributed import agree, is_first
from sarship.failures import Hopeless

LARGEST_SAVING_SHARE = 0.05  # of the time that saving its state may take a run; else it does so after every epoch


@dataclass
class Progress:
    """State between epochs: all that a killed run needs to go on. stopped: why it ended early, or ""."""

    epoch: int = 0
    history: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    best_state: dict[str, Tensor] = field(default_factory=dict)  # without what no epoch changes
    seconds: float = 0.0
    stopped: str = ""


def train_epochs(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    run_epoch: Callable[[int], float],
    validate: Callable[[], dict],
    rank: Callable[[dict], tuple],
    learnt_state: Callable[[], dict[str, Tensor]],
    checkpoint: Checkpoint | None,
    shown: str,
    started: float,
    hear: Callable[[dict], None] | None = None,
) -> Progress:
    """Train `network` in place; it ends with the weights of its best epoch.

    run_epoch: epoch number, from 1, to its mean loss. validate: further columns of the epoch's row. rank: of a row; the
    highest is best, and the first of equals. learnt_state: a copy of what epochs change. checkpoint: where state is
    kept between epochs; a run that finds it there goes on from it. Whoever keeps the result removes it. shown: the
    column beside the loss on the progress bar. started: time.monotonic() when the run's work began. hear: is told
    each row that is new, and when a run goes on, those that it has.
    Returns the progress; its history has epoch, train_loss and what `validate` adds. An epoch whose loss is no finite
    number ends the run, and is not in it. Raises Hopeless if that is the first one.
    """
    progress = _resume(checkpoint, network, optimizer)
    agree(progress.epoch, "state of an unfinished run")
    for row in progress.history if hear else ():
        hear(row)
    saved_at, saving_seconds = started, 0.0
    with tqdm(total=epochs, initial=progress.epoch, unit=" epochs", leave=False, disable=None) as bar:
        while progress.epoch < epochs:
            row = {"epoch": progress.epoch + 1, "train_loss": run_epoch(progress.epoch + 1)}
            row |= validate() if math.isfinite(row["train_loss"]) else {}
            if not all(value is None or math.isfinite(value) for value in row.values()):
                _stop(progress)
                break
            progress.epoch += 1
            progress.history.append(row)
            if is_best(progress, rank):
                progress.best_epoch = progress.epoch
                progress.best_state = learnt_state()
            progress.seconds += time.monotonic() - started
            started = time.monotonic()
            if hear:
                hear(row)
            bar.update()
            bar.set_postfix({"loss": f"{row['train_loss']:.3f}", shown: row[shown]})
            is_cheap = saving_seconds <= LARGEST_SAVING_SHARE * (time.monotonic() - saved_at)
            if checkpoint is not None and is_cheap and is_first():
                _save(checkpoint, network, optimizer, progress)
                saved_at = time.monotonic()
                saving_seconds = saved_at - started
    network.load_state_dict(network.state_dict() | progress.best_state)
    return progress


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of everything that is drawn in one epoch of a run."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def schedule(epochs_done: float, epochs: int, final_share: float) -> float:
    """Share of the learning rate: a linear warm-up over the first tenth, then half a cosine down to final_share."""
    done = epochs_done / epochs
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return min(1.0, (done + 0.01) / 0.1) * (final_share + (1 - final_share) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The same learning rate for every weight."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def is_best(progress: Progress, rank: Callable[[dict], tuple]) -> bool:
    """Whether the last epoch of the history is the best so far."""
    return not progress.best_epoch or rank(progress.history[-1]) > rank(progress.history[progress.best_epoch - 1])


def _stop(progress: Progress) -> None:
    """End a run whose loss is no finite number. Raises Hopeless if there is no epoch to keep."""
    progress.stopped = f"loss not finite in epoch {progress.epoch + 1}"
    if not progress.history:
        raise Hopeless(f"{progress.stopped}; try a lower --learning-rate")
    log(f"warning: {progress.stopped}: the run ends with the weights of epoch {progress.best_epoch}")


def _save(checkpoint: Checkpoint, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    # Everything random is drawn anew in each epoch from `epoch_seed`, so no generator has a state worth keeping.
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "progress": asdict(progress)}
    checkpoint.save(state)


def _resume(checkpoint: Checkpoint | None, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Progress from `checkpoint`, with network and optimizer put back; fresh if there is none to go on from."""
    state = checkpoint.load() if checkpoint else None
    if state is None:
        return Progress()
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return Progress(**state["progress"])
