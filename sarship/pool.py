"""Work spread over processes: results in the order of the tasks, and only so many tasks under way.

    with Pool(function, workers=2) as pool:
        for label, result in pool.map((label, task) for ...):

Not concurrent.futures: after Ctrl-C it waits for the tasks that run, it leaves workers behind when this process is
killed, and it needs threads in a process that forks. Here each worker hangs on a pipe: whichever end dies, the other
notices.
"""

import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from sarship.command import UserError

Label = TypeVar("Label")
Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_AHEAD = 4  # a worker: more results than these do not wait for an earlier one
PATIENCE_SECONDS = 5  # for a worker to clean up before it is killed


def available_cores() -> int:
    """Cores that this process may use; at least one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(eq=False)
class _Job:
    label: Any
    task: Any
    answer: tuple[Any, Exception | None] | None = None  # result, error


class _Worker:
    def __init__(self, function: Callable):
        self.job: _Job | None = None  # never two: both ends of a pipe might wait for the other to take what it sends
        # A fork shares what is imported already, in time and in memory. Elsewhere than on Linux it isn't safe.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs, self.pipe), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe breaks when the worker ends

    def send(self, job: _Job) -> None:
        self.job = job
        try:
            self.pipe.send(job.task)
        except OSError as error:
            raise self._lost() from error

    def receive(self) -> None:
        try:
            self.job.answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        self.job = None

    def _lost(self) -> UserError:
        return UserError(
            f"a worker process {how_it_ended(self.process)}; if memory ran out, try again with --workers 1"
        )

    def stop(self) -> None:
        stop(self.process)
        self.pipe.close()


def how_it_ended(process: BaseProcess) -> str:
    """Of a process that is at its end."""
    process.join(PATIENCE_SECONDS)
    code = process.exitcode
    return f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"


def stop(process: BaseProcess) -> None:
    """End a process; it has PATIENCE_SECONDS to take back what it is writing."""
    process.terminate()
    process.join(PATIENCE_SECONDS)
    process.kill()
    process.join()


def _serve(function: Callable, pipe: Connection, far_end: Connection) -> None:
    """What a worker does until it is stopped or the pipe breaks."""
    # A fork holds this end too, and those of the workers before it: when the parent is killed, the pipe of the last
    # worker breaks, and as each leaves, that of the one before.
    far_end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process stops the others
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # on the way out, temporary files are removed
    with threadpool_limits(limits=1):
        while True:
            try:
                task = pipe.recv()
                pipe.send(_answer(function, task))
            except (EOFError, OSError):
                return  # the other end is gone


def _answer(function: Callable, task: Any) -> tuple[Any, Exception | None]:
    try:
        return function(task), None
    except Exception as error:
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")  # the traceback itself can't be sent
        return None, error


class Pool:
    """Workers that call one function; a context manager. Start it before the process has threads.

    function: of one task; with its tasks and results it can be pickled. It runs with one thread for linear algebra,
    in workers and in this process alike, so that sums are the same.
    workers: processes; with 1 there are none, and the work is done here.
    """

    def __init__(self, function: Callable[[Task], Result], workers: int):
        self._function = function
        self._count = workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Pool":
        self._limits = threadpool_limits(limits=1)
        try:
            for _ in range(self._count if self._count > 1 else 0):
                self._workers.append(_Worker(self._function))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        self._limits.restore_original_limits()

    def map(self, tasks: Iterable[tuple[Label, Task]]) -> Iterator[tuple[Label, Result]]:
        """The result of each task beside its label, which stays here, in the order of the tasks.

        Tasks are taken from their iterator as they can be handed out.
        Errors of the function, and of the iterator of tasks, are raised when all results before them were given.
        Raises UserError if a worker ends by itself, say because memory ran out.
        """
        if not self._workers:
            yield from ((label, self._function(task)) for label, task in tasks)
            return
        waiting: deque[_Job] = deque()
        jobs = self._jobs(tasks)
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and (worker := self._idle(len(waiting))):
                job = next(jobs, None)
                exhausted = job is None
                if job is not None:
                    waiting.append(job)
                    if job.answer is None:
                        worker.send(job)
            while waiting and waiting[0].answer:
                job = waiting.popleft()
                result, error = job.answer
                if error:
                    raise error
                yield job.label, result
            if waiting:
                self._receive()

    def _jobs(self, tasks: Iterable[tuple[Label, Task]]) -> Iterator[_Job]:
        """A job for each task; an error of the iterator becomes a job that is answered with it."""
        try:
            yield from (_Job(label, task) for label, task in tasks)
        except Exception as error:
            yield _Job(None, None, (None, error))

    def _idle(self, waiting: int) -> _Worker | None:
        """A worker without a job, unless too many results wait already."""
        if waiting >= TASKS_AHEAD * len(self._workers):
            return None
        return next((worker for worker in self._workers if worker.job is None), None)

    def _receive(self) -> None:
        """Wait for answers, and take all that are there."""
        busy = {worker.pipe: worker for worker in self._workers if worker.job}
        for pipe in wait(list(busy)):
            busy[pipe].receive()
