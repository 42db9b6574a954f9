"""What test_models.py does when something goes wrong: run as a user runs it, on a small prepared folder."""

import multiprocessing
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import one_run
from sarship import epochs, runs, training
from sarship.checkpoint import Checkpoint
from sarship.command import PartlyFailed, UserError, run_command
from sarship.decoded import decoded_chips
from sarship.files import UNFINISHED
from sarship.prepared import CACHE, read_dataset
from tests.quick import QUICK, same_files, train
from tests.small import make_prepared

ROOT = Path(__file__).resolve().parents[1]
FORK = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Both data sets trained, and nothing went wrong."""
    out = make_prepared(tmp_path_factory.mktemp("whole"))
    train(out)
    return out


def broken(monkeypatch, where: str, error: BaseException) -> list[str]:
    """Let training on one data set fail; returns, in the end, what was tried."""
    fit, tried = one_run.fit, []

    def failing(network, train, *rest):
        tried.append("fit")
        if len(tried) == {"first": 1, "second": 2}[where]:
            raise error
        return fit(network, train, *rest)

    monkeypatch.setattr(one_run, "fit", failing)
    return tried


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("a strange shape\nand more"), "RuntimeError: a strange shape (see"),
        (UserError("chip.png: is lost"), "chip.png: is lost"),
        (MemoryError(), "out of memory; try again with a smaller --batch-size"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory; try again with a smaller --batch-size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"), "out of memory"),
    ],
)
def test_a_run_that_fails_stops_no_other_and_is_tried_again(whole, tmp_path, monkeypatch, capsys, error, said):
    out = make_prepared(tmp_path)
    with monkeypatch.context() as patch:
        tried = broken(patch, "first", error)
        with pytest.raises(PartlyFailed, match="1 of 2 runs failed, the others are done"):
            train(out)
    printed = capsys.readouterr()
    assert len(tried) == 2
    assert f"failed: CNN_Fusar: {said}" in printed.err and "Traceback" not in printed.err
    assert "| OpenSARShip | " in printed.out, "the table shows what was done"
    assert list(pd.read_csv(out / "scores.csv")["Trained"].unique()) == ["OpenSARShip"]
    report = out / "trained_models" / "CNN_Fusar.failed.txt"
    assert report.exists() == ("see" in said)
    train(out)
    assert not report.exists()
    same_files(out, whole)


def test_what_starts_from_a_failed_run_fails_too(tmp_path, monkeypatch, capsys):
    out = make_prepared(tmp_path)
    tried = broken(monkeypatch, "first", RuntimeError("no"))
    with pytest.raises(PartlyFailed, match="2 of 2 runs failed"):
        train(out, "--trained", "Fusar+OpenSARShip")
    assert tried == ["fit"]
    assert "failed: CNN_Fusar+OpenSARShip: starts from CNN_Fusar, which failed" in capsys.readouterr().err


def test_the_exit_status_of_a_part_that_failed_is_1(tmp_path, monkeypatch, capsys):
    out = make_prepared(tmp_path, ("Fusar",))
    broken(monkeypatch, "first", RuntimeError("no"))
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: train(out))
    assert ended.value.code == 1
    assert "error: 1 of 1 runs failed" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("bad_epoch", [1, 3])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_and_marks_its_row(tmp_path, monkeypatch, capsys, bad_epoch, value):
    out = make_prepared(tmp_path)
    run_epoch, calls = training._Epochs.run, []

    def diverging(self, epoch):
        calls.append(epoch)
        return value if len(calls) == bad_epoch else run_epoch(self, epoch)

    monkeypatch.setattr(training._Epochs, "run", diverging)
    if bad_epoch == 1:
        with pytest.raises(PartlyFailed):
            train(out)
        assert "failed: CNN_Fusar: loss not finite in epoch 1; try a lower --learning-rate" in capsys.readouterr().err
        assert set(pd.read_csv(out / "scores.csv")["Trained"]) == {"OpenSARShip"}
        return
    table = train(out)
    assert "loss not finite in epoch 3: the run ends with the weights of epoch" in capsys.readouterr().err
    stopped = table.groupby("Trained")["Stopped"].unique().map(list)
    assert stopped["Fusar"] == ["loss not finite in epoch 3"] and stopped["OpenSARShip"] == [""]
    assert set(table.loc[table["Trained"] == "Fusar", "Epochs"]) == {2}
    history = pd.read_csv(out / "history.csv").query("Trained == 'Fusar'")
    assert list(history["Epoch"]) == [1, 2] and np.isfinite(history["TrainLoss"]).all()
    assert "STOPPED: loss not finite in epoch 3" in (out / "results.txt").read_text()
    state = runs.read_run(out / "trained_models" / "CNN_Fusar.pt")["state"]
    assert all(torch.isfinite(tensor).all() for tensor in state.values() if tensor.is_floating_point())


def kill_in(monkeypatch, call: int) -> None:
    """Interrupt the command in its n-th epoch, counted over all runs; each epoch's state is kept."""
    run_epoch, calls = training._Epochs.run, []

    def killed(self, epoch):
        calls.append(epoch)
        if len(calls) == call:
            raise KeyboardInterrupt
        return run_epoch(self, epoch)

    monkeypatch.setattr(epochs, "LARGEST_SAVING_SHARE", 1e9)
    monkeypatch.setattr(training._Epochs, "run", killed)


def epochs_run(monkeypatch) -> list[int]:
    """The epochs that are run from here on."""
    run_epoch, calls = training._Epochs.run, []
    monkeypatch.setattr(training._Epochs, "run", lambda self, epoch: calls.append(epoch) or run_epoch(self, epoch))
    return calls


@pytest.mark.parametrize(
    ("words", "ran", "said"),
    [
        ([], [2, 3, 1, 2, 3], ""),
        (["--fresh"], [1, 2, 3, 1, 2, 3], ""),
        (["--epochs", "4"], [1, 2, 3, 4, 1, 2, 3, 4], "CNN_Fusar starts anew: it was begun with epochs = 3, not 4"),
    ],
)
def test_a_killed_run_goes_on_unless_it_may_not(tmp_path, monkeypatch, capsys, words, ran, said):
    out = make_prepared(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_in(patch, 2)
        train(out)
    capsys.readouterr()
    calls = epochs_run(monkeypatch)
    train(out, *words)
    assert calls == ran
    assert said in capsys.readouterr().err
    assert not list(out.rglob("*.partial.pt"))


def test_what_a_finished_run_went_on_from_goes(whole, tmp_path, monkeypatch):
    out = make_prepared(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "remove", broken_off)  # the model file is there, and its state still, too
        train(out)
    assert list(out.rglob("*.partial.pt"))
    train(out)
    same_files(out, whole)


def broken_off(self) -> None:
    raise KeyboardInterrupt


def test_fresh_trains_again_what_is_done(tmp_path, monkeypatch):
    out = make_prepared(tmp_path, ("Fusar",))
    train(out)
    before = (out / "scores.csv").read_bytes()
    calls = epochs_run(monkeypatch)
    train(out)
    assert calls == []
    train(out, "--fresh")
    assert calls == [1, 2, 3] and (out / "scores.csv").read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_damaged_checkpoint_is_not_used(whole, tmp_path, monkeypatch, capsys, damage):
    out = make_prepared(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_in(patch, 3)
        train(out)
    (path,) = out.rglob(".*.partial.pt")
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    path.write_bytes({"cut": data[:middle], "flip": flipped, "text": b"text"}[damage])
    train(out)
    assert "CNN_Fusar starts anew: what it left behind is damaged" in capsys.readouterr().err
    same_files(out, whole)


def test_a_damaged_model_file_is_refused_by_name(whole, tmp_path):
    out = make_prepared(tmp_path)
    train(out)
    path = out / "trained_models" / "CNN_Fusar.pt"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"CNN_Fusar\.pt: is no trained model of this project, or damaged"):
        train(out)
    path.unlink()
    train(out)
    same_files(out, whole)


def test_a_damaged_cache_is_made_again(whole, tmp_path, capsys):
    out = make_prepared(tmp_path)
    train(out, "--trained", "Fusar")
    for path in (out / CACHE).glob("*.npy"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255  # a pixel
        path.write_bytes(data)
    train(out)
    assert capsys.readouterr().err.count("is damaged and is made again") == 2
    same_files(out, whole)


def test_a_chip_that_vanishes_in_mid_run_is_named(tmp_path, monkeypatch, capsys):
    out = make_prepared(tmp_path)
    chip = next((out / "prepared" / "OpenSARShip" / "test" / "Cargo").iterdir())
    fit = one_run.fit

    def vanishing(*args):
        chip.unlink()
        return fit(*args)

    monkeypatch.setattr(one_run, "fit", vanishing)
    with pytest.raises(PartlyFailed, match="1 of 1 runs failed"):
        train(out, "--trained", "Fusar")
    assert f"{chip.name}: is lost" in capsys.readouterr().err


def test_ten_caches_built_at_once_are_one(tmp_path):
    out = make_prepared(tmp_path, ("Fusar",))
    prepared = read_dataset(out, "Fusar")
    sha256 = prepared.manifest["sha256"].tolist()
    start = FORK.Event()

    def build(queue) -> None:
        start.wait()
        chips = decoded_chips(out / CACHE, "Fusar", prepared.fingerprint(), prepared.paths, sha256)
        queue.put(chips[:].tobytes())

    queue = FORK.Queue()
    builders = [FORK.Process(target=build, args=(queue,)) for _ in range(10)]
    for builder in builders:
        builder.start()
    start.set()
    built = {queue.get(timeout=60) for _ in builders}
    for builder in builders:
        builder.join(60)
    assert [builder.exitcode for builder in builders] == [0] * 10
    assert built == {decoded_chips(tmp_path / "own", "F", "f", prepared.paths, sha256)[:].tobytes()}
    assert len(list((out / CACHE).iterdir())) == 1


def train_logged(out: Path, log: Path) -> None:
    with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        torch.set_num_threads(1)
        run_command(lambda: train(out))


def test_two_trainings_at_once_train_everything_once(tmp_path):
    threads = torch.get_num_threads()
    out, alone = make_prepared(tmp_path / "both"), make_prepared(tmp_path / "alone")
    logs = [tmp_path / "one.txt", tmp_path / "other.txt"]
    both = [FORK.Process(target=train_logged, args=(out, log)) for log in logs]
    for process in both:
        process.start()
    for process in both:
        process.join(300)
    assert [process.exitcode for process in both] == [0, 0]
    said = [log.read_text() for log in logs]
    assert sorted(text.count("CNN trained on") for text in said) == [0, 2]
    assert sorted("waiting until it is free" in text for text in said) == [False, True]
    assert all("| OpenSARShip | " in text for text in said), "both print the whole table"
    torch.set_num_threads(1)
    train(alone)
    torch.set_num_threads(threads)
    same_files(out, alone)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_leaves_what_is_done_and_a_state_to_go_on_from(tmp_path, name):
    signal_number, status, word = {"SIGINT": (2, 130, "interrupted"), "SIGTERM": (15, 143, "terminated")}[name]
    out = make_prepared(tmp_path, ("Fusar",))
    words = [*QUICK, "--epochs", "100000", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "test_models.py"), *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(out.rglob(".*.partial.pt")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert errors.splitlines()[-1] == f"test_models.py: {word}" and "Traceback" not in errors
    assert not list(out.rglob(f"{UNFINISHED}*")) and not list(out.glob(".*.lock"))
    assert len(list(out.rglob(".*.partial.pt"))) == 1
