"""Processes: order, errors at their place, a worker that dies, nothing left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sarship.command import UserError
from sarship.pool import TASKS_AHEAD, Pool, available_cores
from tests.conftest import ROOT


def square(number: int) -> int:
    if number == -1:
        raise UserError("no squares of -1 here")
    if number == -2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02 if number % 3 == 0 else 0)  # so that results come out of order
    return number * number


def product(seed: int) -> bytes:
    matrix = np.random.default_rng(seed).random((300, 300), np.float32)
    return (matrix @ matrix).tobytes()


def labelled(numbers) -> list[tuple[str, int]]:
    return [(f"of {number}", number) for number in numbers]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks(workers):
    with Pool(square, workers) as pool:
        assert list(pool.map(labelled(range(40)))) == [(f"of {number}", number**2) for number in range(40)]
        assert list(pool.map(labelled([5]))) == [("of 5", 25)], "a pool can be used again"
        assert list(pool.map([])) == []
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_behind_the_results_before_it(workers):
    got = []
    with Pool(square, workers) as pool, pytest.raises(UserError, match="no squares"):
        got.extend(result for _, result in pool.map(labelled([3, 1, 6, -1, 2])))
    assert got == [9, 1, 36]
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_the_making_of_tasks_comes_at_its_place(workers):
    def tasks():
        yield from labelled([3, 6, 1])
        raise UserError("no more tasks")

    got = []
    with Pool(square, workers) as pool, pytest.raises(UserError, match="no more tasks"):
        got.extend(result for _, result in pool.map(tasks()))
    assert got == [9, 36, 1]


def test_tasks_are_taken_no_further_ahead_than_said():
    taken = []

    def tasks():
        for number in range(100):
            taken.append(number)
            yield number, number

    with Pool(square, 2) as pool:
        for number, _ in pool.map(tasks()):
            assert len(taken) - number <= 2 * TASKS_AHEAD + 1


def test_a_worker_that_is_killed_is_one_line():
    with Pool(square, 2) as pool, pytest.raises(UserError, match=r"ended by signal 9.*--workers 1") as caught:
        list(pool.map(labelled([1, -2, 3])))
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


def test_sums_are_the_same_in_workers_and_here():
    here, there = ([result for _, result in pool_results(workers)] for workers in (1, 2))
    assert here == there


def pool_results(workers: int) -> list:
    with Pool(product, workers) as pool:
        return list(pool.map(labelled(range(6))))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_leave_when_their_parent_is_killed():
    code = (
        "import time, sys\nfrom sarship.pool import Pool\n"
        "with Pool(time.sleep, 3) as pool:\n"
        "    print(*(worker.process.pid for worker in pool._workers), flush=True)\n"
        "    list(pool.map([(0, 0.05)] * 1000))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 3
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while any(_runs(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(worker) for worker in workers)


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_cores_are_at_least_one():
    assert 1 <= available_cores() <= os.cpu_count()
