"""What TensorBoard and MLflow are told, read back from their own stores; MLflow from a real server on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

import test_models
from sarship.command import UserError
from sarship.runs import Run
from sarship.tracking import Tracking
from tests.small import make_prepared

OPTIONS = ["--models", "CNN", "--trained", "Fusar", "--epochs", "2", "--batch-size", "16", "--device", "cpu",
           "--no-baselines", "--no-figures"]  # fmt: skip
START_SECONDS = 90
RUN = Run("CNN", "Fusar", 1, {"epochs": 2, "data": {"Fusar": "abc"}, "classes": ["Cargo", "Tanker"]})


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """A real MLflow server on loopback."""

    def __init__(self, folder: Path):
        self.uri = f"http://127.0.0.1:{free_port()}"
        words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", self.uri.rpartition(":")[2],
                 "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/runs.sqlite",
                 "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
        quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (folder / "said").open("w") as said:
            self._process = subprocess.Popen(words, env=quiet, stdout=said, stderr=said, start_new_session=True)
        self._wait(folder / "said")

    def _wait(self, said: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            except OSError:
                assert self._process.poll() is None and time.monotonic() < deadline, said.read_text()[-2000:]
                time.sleep(0.2)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pytest.importorskip("mlflow", reason="MLflow is not installed (requirements-cluster.txt)")
    made = Server(tmp_path_factory.mktemp("mlflow"))
    yield made
    made.kill()


@pytest.fixture(scope="module")
def tracked(server, tmp_path_factory) -> Path:
    """The command, with both trackers."""
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed (requirements-cluster.txt)")
    out = make_prepared(tmp_path_factory.mktemp("study"), ("Fusar", "OpenSARShip"))
    boards = ["--tensorboard", str(out / "boards"), "--mlflow", server.uri]
    test_models.main([*OPTIONS, *boards, "--out", str(out)])
    return out


def runs_of(server: Server, out: Path) -> list:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server.uri)
    return client.search_runs([client.get_experiment_by_name(out.name).experiment_id])


def test_mlflow_has_settings_epochs_and_scores(tracked, server):
    from mlflow.tracking import MlflowClient

    [run] = runs_of(server, tracked)
    assert (run.info.run_name, run.info.status) == ("CNN_Fusar", "FINISHED")
    assert (run.data.params["model"], run.data.params["epochs"], run.data.params["loss"]) == (
        "CNN",
        "2",
        "weighted_cross_entropy",
    )
    history = pd.read_csv(tracked / "history.csv")
    for column, name in (("TrainLoss", "train_loss"), ("ValLoss", "val_loss")):
        logged = MlflowClient(server.uri).get_metric_history(run.info.run_id, name)
        assert [each.step for each in logged] == [1, 2]
        assert [each.value for each in logged] == pytest.approx(history[column].tolist(), rel=1e-5)
    for _, row in pd.read_csv(tracked / "scores.csv").iterrows():
        for name in ("MacroF1", "MacroF1_low", "MacroF1_high", "Accuracy"):
            assert run.data.metrics[f"{row['Tested']}/{name}"] == pytest.approx(row[name], abs=0.005)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder))
    read.Reload()
    return {name: [(each.step, each.value) for each in read.Scalars(name)] for name in read.Tags()["scalars"]}


def test_tensorboard_has_epochs_and_scores(tracked):
    shown = scalars(tracked / "boards" / "CNN_Fusar")
    history = pd.read_csv(tracked / "history.csv")
    assert [step for step, _ in shown["train_loss"]] == [1, 2]
    assert [value for _, value in shown["val_macro_f1"]] == pytest.approx(
        (history["ValMacroF1"] / 100).tolist(), rel=1e-4
    )
    scores = pd.read_csv(tracked / "scores.csv").set_index("Tested")["MacroF1"]
    for tested, macro_f1 in scores.items():
        assert shown[f"{tested}/MacroF1"][0][1] == pytest.approx(macro_f1, abs=0.005)


def test_a_run_that_goes_on_is_the_same_run_and_no_epoch_is_there_twice(server, tmp_path):
    for last in (2, 3):  # the second time, what is known is told again, as after a kill
        tracking = Tracking(tmp_path / "boards", server.uri, tmp_path)
        tracking.began(RUN)
        for epoch in range(1, last + 1):
            tracking.epoch(RUN.stem, {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": None})
        tracking.close()
    assert scalars(tmp_path / "boards" / RUN.stem)["train_loss"] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    [run] = runs_of(server, tmp_path)
    assert run.info.status == "KILLED"  # nobody said that it is done
    from mlflow.tracking import MlflowClient

    logged = MlflowClient(server.uri).get_metric_history(run.info.run_id, "train_loss")
    assert [each.step for each in logged] == [1, 2, 3]


def test_a_run_that_failed_says_why(server, tmp_path):
    tracking = Tracking(None, server.uri, tmp_path)
    tracking.began(RUN)
    tracking.failed(RUN.stem, "out of memory")
    tracking.failed("VGG_Fusar", "starts from one that failed")  # it never began
    [run] = runs_of(server, tmp_path)
    assert (run.info.status, run.data.tags["failed"]) == ("FAILED", "out of memory")


def test_a_server_that_dies_costs_a_warning(tmp_path, capsys):
    pytest.importorskip("mlflow", reason="MLflow is not installed (requirements-cluster.txt)")
    server = Server(tmp_path)
    tracking = Tracking(None, server.uri, tmp_path)
    tracking.began(RUN)
    server.kill()
    started = time.monotonic()
    for epoch in range(1, 4):
        tracking.epoch(RUN.stem, {"epoch": epoch, "train_loss": 1.0})
    tracking.ended(RUN.stem, [])
    assert time.monotonic() - started < 30
    said = capsys.readouterr().err
    assert said.count("nothing more is tracked there") == 1 and said.count("\n") <= 1


def test_no_server_is_said_in_one_line_and_soon(tmp_path):
    pytest.importorskip("mlflow", reason="MLflow is not installed (requirements-cluster.txt)")
    started = time.monotonic()
    with pytest.raises(UserError, match=r"--mlflow http://127\.0\.0\.1:1: cannot be used"):
        Tracking(None, "http://127.0.0.1:1", tmp_path)
    with pytest.raises(UserError, match="--mlflow nonsense://x: cannot be used"):
        Tracking(None, "nonsense://x", tmp_path)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("given", "package", "line"),
    [
        ((Path("boards"), None), "torch.utils.tensorboard", "--tensorboard: TensorBoard is not installed"),
        ((None, "http://x"), "mlflow.tracking", "--mlflow: MLflow is not installed"),
    ],
)
def test_absent_packages_are_said_in_one_line(given, package, line, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"{line}; pip install -r requirements-cluster.txt"):
        Tracking(*given, tmp_path)


def test_without_trackers_nothing_is_imported(tmp_path):
    program = (
        "import sys; from pathlib import Path; from sarship.tracking import Tracking; Tracking(None, None, Path())\n"
    )
    program += "assert not {'mlflow', 'tensorboard', 'torch.utils.tensorboard'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).resolve().parent.parent)
