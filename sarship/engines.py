"""Where the runs of a study are carried out: here one after the other, side by side in processes, or on a Ray cluster.

An engine is given orders and says which are done; what it is that is done, it does not know. A worker that dies takes
nothing along: its order goes to another one, and the run goes on from its last epoch, whose state lies in the folder.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from sarship.command import log
from sarship.pool import how_it_ended, stop

TRIES = 3  # of an order whose workers die: the third time, it is the run that kills them


@dataclass(frozen=True)
class Message:
    """Something to know of a run before it is done. kind: "begun", "epoch" (value: its row) or "log" (a line)."""

    stem: str
    kind: str
    value: Any = None


Hear = Callable[[Message], None]
Work = Callable[[Any, Hear], str | None]  # of an order, which has a .stem; returns why it failed, None if it did not


class Engine(Protocol):
    """What all engines do."""

    def has_room(self) -> bool:
        """Whether another order would begin soon."""

    def start(self, order: Any) -> None:
        """Take an order."""

    def finished(self) -> list[tuple[str, str | None]]:
        """Wait until orders are done: the stem of each, and why it failed. Raises what no run can put up with."""

    def close(self) -> None:
        """End what is under way; it goes on from its last epoch when it is started again."""


class Here:
    """One after the other, in this process."""

    def __init__(self, work: Work, hear: Hear):
        self._work, self._hear = work, hear
        self._order: Any = None

    def has_room(self) -> bool:
        return self._order is None

    def start(self, order: Any) -> None:
        self._order = order

    def finished(self) -> list[tuple[str, str | None]]:
        order, self._order = self._order, None
        return [(order.stem, self._work(order, self._hear))]

    def close(self) -> None:
        pass


class Processes:
    """Side by side, in processes of this machine. work: a function that can be imported, as its orders can be pickled.

    The processes share the GPUs, each has one of them. They are started anew, not forked: threads and CUDA would not
    survive a fork.
    """

    def __init__(self, work: Work, hear: Hear, jobs: int):
        self._work, self._hear = work, hear
        self._workers: list[_Worker | None] = [None] * jobs
        self._tries: dict[str, int] = {}

    def has_room(self) -> bool:
        return any(worker is None or worker.order is None for worker in self._workers)

    def start(self, order: Any) -> None:
        place = next(k for k, worker in enumerate(self._workers) if worker is None or worker.order is None)
        if self._workers[place] is None:
            self._workers[place] = _Worker(self._work, place)
        self._workers[place].send(order)

    def finished(self) -> list[tuple[str, str | None]]:
        done: list[tuple[str, str | None]] = []
        while not done:
            busy = {worker.pipe: place for place, worker in enumerate(self._workers) if worker and worker.order}
            for pipe in wait(list(busy)):
                done += self._receive(busy[pipe])
        return done

    def _receive(self, place: int) -> list[tuple[str, str | None]]:
        """What a worker says; an answer, if it is one."""
        worker = self._workers[place]
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            return self._replace(place)
        if isinstance(said, Message):
            self._hear(said)
            return []
        order, worker.order = worker.order, None
        why, error = said
        if error is not None:
            raise error
        return [(order.stem, why)]

    def _replace(self, place: int) -> list[tuple[str, str | None]]:
        """A new worker for one that died, with its order unless that has been tried often enough."""
        worker, order = self._workers[place], self._workers[place].order
        self._workers[place] = None
        how = how_it_ended(worker.process)
        worker.stop()
        self._tries[order.stem] = self._tries.get(order.stem, 0) + 1
        if self._tries[order.stem] >= TRIES:
            return [(order.stem, f"its process {how}, {TRIES} times; if memory runs out, try fewer --jobs")]
        log(f"{order.stem}: its process {how}; another one goes on from its last epoch")
        self.start(order)
        return []

    def close(self) -> None:
        for worker in self._workers:
            if worker:
                worker.stop()
        self._workers.clear()


class _Worker:
    def __init__(self, work: Work, place: int):
        self.order: Any = None
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(work, theirs, place), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe breaks when the worker ends

    def send(self, order: Any) -> None:
        self.order = order
        with suppress(OSError):  # it is dead, which is noticed where its answer is waited for
            self.pipe.send(order)

    def stop(self) -> None:
        stop(self.process)
        self.pipe.close()


def _serve(work: Work, pipe: Connection, place: int) -> None:
    """What a worker does until it is stopped, or whoever gives it orders is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process stops the others
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # on the way out, temporary files are removed
    _share_gpus(place)
    try:
        while True:
            order = pipe.recv()
            try:
                answer = (work(order, lambda message: _tell(pipe, message)), None)
            except Exception as error:
                answer = (None, error)
            pipe.send(answer)
    except (EOFError, OSError):
        return


def _tell(pipe: Connection, message: Message) -> None:
    try:
        pipe.send(message)
    except OSError:
        sys.exit()  # nobody hears it any more: the run stays as its last epoch left it


def _share_gpus(place: int) -> None:
    """Let this process see one of the GPUs that the command may use."""
    import torch  # not at the top: an engine computes nothing

    gpus = torch.cuda.device_count()
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = visible if len(visible) == gpus else list(map(str, range(gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = names[place % gpus]
