"""Runs side by side on one machine, through the command: what comes out is what comes out one after another."""

import argparse
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import test_models
from sarship.bookkeeping import Bookkeeping
from sarship.command import UserError
from sarship.device import choose_device
from sarship.distributed import started_together
from sarship.engines import Message
from sarship.run_report import header
from sarship.tracking import Tracking
from tests.small import make_prepared

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
# A chain, so that one run waits for another; two seeds; a run that shares the weights of another; and baselines.
TRAIN = ["--models", "CNN", "--trained", "Fusar", "Fusar+OpenSARShip", "--seeds", "1", "2", "--protocol", "strict",
         "--epochs", "6", "--batch-size", "8", "--device", "cpu", "--cpus-per-run", "1", "--no-timing"]  # fmt: skip
TABLES = ("scores.csv", "predictions.csv", "history.csv")


def words(out: Path, *more: str) -> list[str]:
    return [sys.executable, str(ROOT / "test_models.py"), *TRAIN, *more, "--out", str(out)]


@pytest.fixture(scope="module")
def serial(tmp_path_factory) -> Path:
    out = make_prepared(tmp_path_factory.mktemp("serial"))
    done = subprocess.run(words(out), env=ONE_THREAD, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def same(out: Path, other: Path) -> None:
    for name in TABLES:
        assert (out / name).read_bytes() == (other / name).read_bytes(), name
    for path in (other / "trained_models").glob("*.pt"):
        assert (out / "trained_models" / path.name).read_bytes() == path.read_bytes(), path.name
    assert not list((out / "trained_models").glob(".*.pt"))


def start(out: Path, said: Path) -> subprocess.Popen:
    with said.open("w") as file:
        return subprocess.Popen(words(out, "--jobs", "2"), env=ONE_THREAD, stdout=file, stderr=file)


def wait_for_an_epoch(out: Path, process: subprocess.Popen) -> None:
    while not list((out / "trained_models").glob(".*.partial.pt")):
        assert process.poll() is None, "the command ended before there was anything to disturb"
        time.sleep(0.02)


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    return [each for each in psutil.Process(process.pid).children() if "spawn_main" in " ".join(each.cmdline())]


def test_a_worker_that_is_killed_changes_nothing(serial, tmp_path):
    out = make_prepared(tmp_path / "out")
    process = start(out, tmp_path / "said")
    try:
        wait_for_an_epoch(out, process)
        workers_of(process)[0].kill()
        assert process.wait(600) == 0, (tmp_path / "said").read_text()[-2000:]
    finally:
        process.kill()
    assert "was ended by signal 9; another one goes on from its last epoch" in (tmp_path / "said").read_text()
    same(out, serial)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
def test_a_command_that_is_ended_goes_on_the_next_time(number, serial, tmp_path):
    out = make_prepared(tmp_path / "out")
    process = start(out, tmp_path / "said")
    try:
        wait_for_an_epoch(out, process)
        workers = workers_of(process)
        process.send_signal(number)
        assert process.wait(60) == (130 if number == signal.SIGINT else -number)
    finally:
        process.kill()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert "Traceback" not in (tmp_path / "said").read_text()
    done = subprocess.run(words(out, "--jobs", "2"), env=ONE_THREAD, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    same(out, serial)


def test_one_bar_shows_all_runs(tmp_path):
    """On a terminal, workers draw no bars of their own over it."""
    out = make_prepared(tmp_path / "out")
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
    process = subprocess.Popen(
        words(out, "--jobs", "2", "--no-baselines"), env=ONE_THREAD, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the end of a terminal whose other side is gone
        while part := os.read(mine, 65536):
            shown += part
    os.close(mine)
    assert process.wait(600) == 0
    text = shown.decode()
    assert " runs" in text and "CNN_Fusar 1/6" in text and "4/4" in text
    assert " epochs" not in text


def test_a_worker_that_was_given_up_is_not_heard(tmp_path, capsys):
    """A machine that is only cut off may report a run that another one has done meanwhile."""
    books = Bookkeeping([], [], argparse.Namespace(), None, Tracking(None, None, tmp_path), side_by_side=True)
    for kind, value in (("begun", None), ("epoch", {"epoch": 3}), ("log", "late")):
        books.hear(Message("CNN_Fusar", kind, value))
    assert capsys.readouterr().err == ""


def test_world_size_of_another_launcher_starts_no_group(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert started_together() == 1


def test_a_password_is_in_no_table(tmp_path):
    chosen = test_models.options(["--mlflow", "https://me:secret@tracking.org/x"])
    lines = header(chosen, choose_device("cpu", "float32"))
    assert "--mlflow https://tracking.org/x" in lines and "secret" not in "".join(lines)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--jobs", "0"], "must be 1 or more"),
        (["--cpus-per-run", "0"], "must be 1 or more"),
        (["--jobs", "2", "--ray", "auto"], "leave --jobs out"),
        (["--jobs", "2", "--profile"], "--profile and --jobs"),
        (["--gpus-per-run", "0.5"], "is for --ray"),
        (["--ray", "auto", "--gpus-per-run", "-1"], "0 or more"),
    ],
)
def test_what_cannot_be_is_refused(given, line):
    with pytest.raises(UserError, match=line):
        test_models.options(given)


def test_ray_that_is_not_installed_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    out = make_prepared(tmp_path)
    with pytest.raises(UserError, match=r"--ray: Ray is not installed; pip install -r requirements-cluster\.txt"):
        test_models.main([*TRAIN, "--ray", "auto", "--out", str(out)])
    assert not list((out / "trained_models").glob("*.pt"))
