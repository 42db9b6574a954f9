"""Two commands on one folder wait for each other; a lock whose holder was killed stands in nobody's way."""

import multiprocessing
import os
import signal
import time

import pytest

from sarship import locking
from sarship.command import UserError
from sarship.files import UNFINISHED, whole_file
from sarship.locking import locked

FORK = multiprocessing.get_context("fork")


def hold(out, part, shared, is_held, let_go) -> None:
    with locked(out, part, shared):
        is_held.set()
        let_go.wait(60)


class Holder:
    """Another process that holds a lock until it is told otherwise."""

    def __init__(self, out, part="prepared", shared=False):
        self.is_held, self.let_go = FORK.Event(), FORK.Event()
        self.process = FORK.Process(target=hold, args=(out, part, shared, self.is_held, self.let_go), daemon=True)
        self.process.start()
        assert self.is_held.wait(60)


def test_nothing_is_left_of_a_lock(tmp_path):
    with locked(tmp_path / "new", "prepared"):
        assert [path.name for path in (tmp_path / "new").iterdir()] == [".prepared.lock"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("theirs", "mine"), [(False, False), (False, True), (True, False)])
def test_who_writes_is_alone(tmp_path, capfd, theirs, mine):
    holder = Holder(tmp_path, shared=theirs)
    waiting = FORK.Event(), FORK.Event()
    process = FORK.Process(target=hold, args=(tmp_path, "prepared", mine, *waiting), daemon=True)
    process.start()
    assert not waiting[0].wait(1)
    assert f"is in use (process {holder.process.pid} " in capfd.readouterr().err
    holder.let_go.set()
    assert waiting[0].wait(60)
    waiting[1].set()
    process.join(60)
    assert process.exitcode == 0 and list(tmp_path.iterdir()) == []


def test_readers_and_writers_of_other_parts_do_not_wait(tmp_path, capfd):
    reader, writer = Holder(tmp_path, shared=True), Holder(tmp_path, "trained_models")
    with locked(tmp_path, "prepared", shared=True):
        pass
    for holder in (reader, writer):
        holder.let_go.set()
        holder.process.join(60)
    assert capfd.readouterr().err == "" and list(tmp_path.iterdir()) == []


def test_a_killed_holder_stands_in_nobodys_way(tmp_path):
    holder = Holder(tmp_path)
    os.kill(holder.process.pid, signal.SIGKILL)
    holder.process.join(60)
    assert (tmp_path / ".prepared.lock").exists()
    with locked(tmp_path, "prepared"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_are_never_two_at_once(tmp_path):
    def work(number: int) -> None:
        for _ in range(20):
            with locked(tmp_path, "prepared"):
                (tmp_path / "alone").mkdir()  # fails if another one is here
                time.sleep(0.001)
                (tmp_path / "alone").rmdir()

    processes = [FORK.Process(target=work, args=(number,)) for number in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 6
    assert list(tmp_path.iterdir()) == []


def write_and_wait(path, is_held, let_go) -> None:
    with whole_file(path) as written:
        written.write_text("half")
        is_held.set()
        let_go.wait(60)


def test_what_a_killed_command_was_writing_goes_and_what_a_living_one_writes_stays(tmp_path):
    (tmp_path / "prepared").mkdir()
    writers = []
    for name in ("scores.csv", "prepared/manifest.csv"):
        events = FORK.Event(), FORK.Event()
        process = FORK.Process(target=write_and_wait, args=(tmp_path / name, *events), daemon=True)
        process.start()
        assert events[0].wait(60)
        writers.append((process, events[1]))
    (killed, _), (living, let_go) = writers
    os.kill(killed.pid, signal.SIGKILL)
    killed.join(60)
    assert len(list(tmp_path.rglob(f"{UNFINISHED}*"))) == 2
    with locked(tmp_path, "prepared"):
        assert [path.parent.name for path in tmp_path.rglob(f"{UNFINISHED}*")] == ["prepared"]
    let_go.set()
    living.join(60)
    assert (tmp_path / "prepared" / "manifest.csv").read_text() == "half"
    assert not list(tmp_path.rglob(f"{UNFINISHED}*")) and not (tmp_path / "scores.csv").exists()


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locking.fcntl, "flock", refuse)
    with locked(tmp_path, "prepared"):
        pass
    assert "cannot be locked (No locks available); start no other command" in capsys.readouterr().err
    with whole_file(tmp_path / "scores.csv") as written:
        written.write_text("whole")
    (tmp_path / f"{UNFINISHED}x").touch()
    with locked(tmp_path, "prepared"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == [
        f"{UNFINISHED}x",
        "scores.csv",
    ]


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write there"), locked(tmp_path / "file", "prepared"):
        pass
