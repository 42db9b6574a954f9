"""Who carries out runs, and in which order."""

import os
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.command import DiskError
from sarship.engines import TRIES, Here, Processes
from sarship.failures import Failures
from sarship.runs import Run
from sarship.scheduling import schedule
from tests.engine_work import Order, work

ROOT = Path(__file__).resolve().parent.parent


def carry_out(engine, orders: list[Order]) -> dict[str, str | None]:
    """Why each failed, by stem."""
    left, done = list(orders), {}
    while len(done) < len(orders):
        while left and engine.has_room():
            engine.start(left.pop(0))
        done |= dict(engine.finished())
    return done


@pytest.mark.parametrize("make", [Here, lambda *given: Processes(*given, jobs=2)], ids=["here", "processes"])
def test_all_engines_do_the_same(make, tmp_path):
    heard = []
    orders = [Order(f"run{number}", "fail" if number == 2 else "well", tmp_path) for number in range(5)]
    with closing(make(work, heard.append)) as engine:
        assert carry_out(engine, orders) == {
            f"run{number}": "it failed" if number == 2 else None for number in range(5)
        }
    for order in orders:
        assert [message.kind for message in heard if message.stem == order.stem] == ["begun", "epoch"]


def test_the_order_of_a_worker_that_died_goes_to_another(tmp_path, capsys):
    orders = [Order("a", "die once", tmp_path), Order("b", "well", tmp_path), Order("c", "die", tmp_path)]
    with closing(Processes(work, lambda message: None, jobs=2)) as engine:
        done = carry_out(engine, orders)
    assert done["a"] is None and done["b"] is None
    assert "was ended by signal 9" in done["c"]
    assert (tmp_path / "a").stat().st_size == 2 and (tmp_path / "c").stat().st_size == TRIES
    assert "a: its process was ended by signal 9; another one goes on" in capsys.readouterr().err


def test_a_full_disk_is_raised_here(tmp_path):
    with closing(Processes(work, lambda message: None, jobs=1)) as engine:
        engine.start(Order("a", "raise", tmp_path))
        with pytest.raises(DiskError, match="the disk is full"):
            engine.finished()


def test_workers_leave_when_whoever_gives_orders_is_killed(tmp_path):
    program = (
        "from pathlib import Path; from sarship.engines import Processes; from tests.engine_work import Order, work\n"
        "if __name__ == '__main__':\n"
        f"    engine = Processes(work, lambda message: None, 2); folder = Path({str(tmp_path)!r})\n"
        "    [engine.start(Order(stem, 'wait', folder)) for stem in 'ab']; engine.finished()\n"
    )
    (tmp_path / "program.py").write_text(program)
    process = subprocess.Popen([sys.executable, tmp_path / "program.py"], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_for(lambda: len(list(tmp_path.glob("? *"))) == 2)
    finally:
        process.kill()
    process.wait()
    workers = [int(path.name.split()[1]) for path in tmp_path.glob("? *")]
    wait_for(lambda: not any(map(is_alive, workers)))


def wait_for(what) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"
    return False


class Shuffled:
    """An engine with some places, which is done with its orders in any order. Keeps what began after what was done."""

    def __init__(self, places: int, failing: set[str], choose):
        self._places, self._failing, self._choose = places, failing, choose
        self._running: list[str] = []
        self.began: list[str] = []
        self.done: list[str] = []
        self.done_before: dict[str, list[str]] = {}

    def has_room(self) -> bool:
        return len(self._running) < self._places

    def start(self, order: Run) -> None:
        assert self.has_room()
        self._running.append(order.stem)
        self.began.append(order.stem)
        self.done_before[order.stem] = list(self.done)

    def finished(self) -> list[tuple[str, str | None]]:
        stem = self._running.pop(self._choose(len(self._running)))
        self.done.append(stem)
        return [(stem, "it failed" if stem in self._failing else None)]


@given(st.data())
def test_runs_begin_when_what_they_start_from_is_done(data):
    count = data.draw(st.integers(1, 9))
    stems = [f"CNN_Set{number}" for number in range(count)]
    starts = [data.draw(st.sampled_from(["", *stems[:number]])) for number in range(count)]
    keys = [data.draw(st.sampled_from(["", "x", "y"])) for _ in range(count)]
    runs = [
        Run(
            "CNN", f"Set{number}", 1, {"start": starts[number], "backbone": starts[number] or "random"}, "", (), (), key
        )
        for number, key in enumerate(keys)
    ]
    failing = data.draw(st.sets(st.sampled_from(stems)))
    choose = lambda size: data.draw(st.integers(0, size - 1))  # noqa: E731
    engine = Shuffled(data.draw(st.integers(1, 4)), failing, choose)
    failures, ended = Failures(), {}

    def done(run: Run, why: str | None) -> None:
        ended[run.stem] = why
        if why:
            failures.add(run.stem, why)

    schedule(runs, engine, lambda run: run, done, failures)
    assert sorted(ended) == stems and len(engine.began) == len(set(engine.began))
    for number, stem in enumerate(stems):
        base = starts[number]
        if base and ended[base]:
            assert ended[stem] and stem not in engine.began
            continue
        assert bool(ended[stem]) == (stem in failing)
        assert not base or base in engine.done_before[stem]
        first = stems[keys.index(keys[number])]
        assert not keys[number] or first in (stem, *engine.done_before[stem]) or first not in engine.began
