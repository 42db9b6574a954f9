"""One training over several processes, as torchrun starts them: who does what, and what they tell each other.

A batch stays the batch that it is in one process: its chips are dealt to the processes, each has the rows that
`share_of` gives it. Whatever a batch decides is decided over all of them: its loss (`whole_batch`), the random numbers
of augmentation (`draw`), and what layers know of it (`synchronised.py`). So the number of processes changes rounding
and nothing else. DistributedDataParallel adds up gradients (Li et al. 2020, "PyTorch Distributed: experiences on
accelerating data parallel training", VLDB 13).
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sarship.command import UserError
from sarship.quiet import be_quiet

# The first process may wait for another command on the folder, or write tables, for longer than the default half hour.
# One that dies is not waited for: torchrun ends the others.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Share:
    """The rows of a batch of `total` that this process has."""

    rows: slice
    total: int


_drawing: Share | None = None  # of the batch that is being computed


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Within, the processes that torchrun started compute together; without torchrun, nothing happens.

    device: auto, cpu or cuda, as asked for. Log, bars and output are those of the first process. Raises UserError if
    there are fewer GPUs on this machine than processes.
    """
    if started_together() == 1:
        yield
        return
    on_gpus = device != "cpu" and torch.cuda.is_available()
    if on_gpus:
        _take_gpu(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    distributed.init_process_group("nccl" if on_gpus else "gloo", timeout=PATIENCE)
    if not is_first():
        be_quiet(lambda message: None)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    yield
    distributed.destroy_process_group()  # after an error, it would wait for processes that are elsewhere


def started_together() -> int:
    """How many processes torchrun started; 1 if it was not torchrun."""
    # Other launchers set WORLD_SIZE as well, and would leave us waiting for processes that do something else.
    return int(os.environ["WORLD_SIZE"]) if distributed.is_torchelastic_launched() else 1


def _take_gpu(place: int, processes: int) -> None:
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise UserError(
            f"torchrun: {processes} processes on this machine, and it has {gpus} GPU{'s' if gpus > 1 else ''}; "
            f"start {gpus}, or choose --device cpu"
        )
    torch.cuda.set_device(place)


def processes() -> int:
    """How many processes compute together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def told(value: Any) -> Any:
    """The value that the first process has, once it is here."""
    if processes() == 1:
        return value
    holder = [value]
    distributed.broadcast_object_list(holder)
    return holder[0]


def agree(value: Any, what: str) -> None:
    """Raises UserError in all processes if they do not have the same value: they look at different folders."""
    if processes() == 1:
        return
    values = [None] * processes()
    distributed.all_gather_object(values, value)
    if any(each != values[0] for each in values):
        raise UserError(f"the processes do not see the same {what}; choose an --out that all machines share")


# -- a batch, dealt


def share_of(total: int) -> Share:
    """Which rows of a batch this process has; shares differ by a row at most, and may be empty."""
    if processes() == 1:
        return Share(slice(0, total), total)
    ends = _ends(total)
    rank = distributed.get_rank()
    return Share(slice(ends[rank], ends[rank + 1]), total)


def _ends(total: int) -> list[int]:
    """Where the shares begin, and the end of the last."""
    return [total * rank // processes() for rank in range(processes() + 1)]


def gathered(rows: Tensor, total: int) -> Tensor:
    """(total, ...) the rows of all processes, in order; without a way back. rows: those of `share_of(total)`."""
    if processes() == 1:
        return rows
    ends = _ends(total)
    counts = [end - start for start, end in pairwise(ends)]
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def whole_batch(logits: Tensor, share: Share) -> Tensor:
    """(total, classes) logits of the whole batch, of which this process's own have a way back.

    A loss of these is that of the batch, whatever its formula. Its gradient is multiplied by the number of processes,
    as DistributedDataParallel takes the mean over them.
    """
    if processes() == 1:
        return logits
    if logits.requires_grad:
        logits.register_hook(lambda gradient: gradient * processes())
    whole = gathered(logits, share.total)
    return torch.cat([whole[: share.rows.start], logits, whole[share.rows.stop :]])


@contextmanager
def drawing(share: Share) -> Iterator[None]:
    """Within, what is drawn at random is drawn for the whole batch, and each process takes its rows."""
    global _drawing
    before, _drawing = _drawing, share if processes() > 1 else None
    try:
        yield
    finally:
        _drawing = before


def drawn_for() -> Share | None:
    """The share to draw for; None if the batch is not dealt."""
    return _drawing


def draw(make: Callable[..., Tensor], shape: Sequence[int], **options) -> Tensor:
    """Random numbers `make(shape)`, one row a chip: within `drawing`, the own rows of those of the whole batch."""
    if _drawing is None:
        return make(*shape, **options)
    return make(_drawing.total, *shape[1:], **options)[_drawing.rows]


def wrapped(network: nn.Module) -> nn.Module:
    """The network for training: itself, or with its gradients added up over all processes."""
    if processes() == 1:
        return network
    own = [torch.cuda.current_device()] if next(network.parameters()).is_cuda else None
    return DistributedDataParallel(network, device_ids=own)
