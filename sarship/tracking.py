"""Runs shown in TensorBoard and in MLflow while they are carried out (--tensorboard, --mlflow).

Both are told by the process that has the study, wherever the runs are. A run is known by its name and the digest of its
settings: carried out again, or from where a killed command stopped, it is the same run there, and no epoch is there
twice.

What is tracked is a copy: the tables below --out are the result. A server that fails in mid-study costs a warning.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from sarship.command import UserError, log
from sarship.files import writable_folder
from sarship.runs import Run, digest

ADVICE = "pip install -r requirements-cluster.txt"
# Set unless the user has: nobody wants to wait minutes for a server that is not there, or to report what is done.
_MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for results
}


class _Tracker(Protocol):
    """One place where runs are shown. All may raise whatever its library does."""

    def began(self, run: Run) -> None: ...
    def epoch(self, stem: str, step: int, values: Mapping[str, float]) -> None: ...
    def ended(self, stem: str, values: Mapping[str, float], status: str, why: str) -> None: ...
    def close(self) -> None: ...


class Tracking:
    """Tells the trackers that were asked for; without any, does nothing.

    tensorboard: a folder. mlflow_uri: of a server (http://...) or a store. out: its name is that of the experiment.
    Raises UserError if a package is not installed, a server does not answer, or the folder cannot be written.
    """

    def __init__(self, tensorboard: Path | None, mlflow_uri: str | None, out: Path):
        self._trackers: dict[str, _Tracker] = {}
        if tensorboard is not None:
            self._trackers["--tensorboard"] = _TensorBoard(tensorboard)
        if mlflow_uri is not None:
            self._trackers["--mlflow"] = _MLflow(mlflow_uri, out.resolve().name)

    def began(self, run: Run) -> None:
        """A run begins, anew or from an earlier epoch."""
        self._tell(lambda tracker: tracker.began(run))

    def epoch(self, stem: str, row: Mapping[str, Any]) -> None:
        """A row of a run's history."""
        values = _numbers({name: value for name, value in row.items() if name != "epoch"})
        self._tell(lambda tracker: tracker.epoch(stem, row["epoch"], values))

    def ended(self, stem: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """A run is done. rows: its rows of scores.csv."""
        values = {f"{row['Tested']}/{name}": value for row in rows for name, value in _numbers(row).items()}
        self._tell(lambda tracker: tracker.ended(stem, values, "FINISHED", ""))

    def failed(self, stem: str, why: str) -> None:
        self._tell(lambda tracker: tracker.ended(stem, {}, "FAILED", why))

    def close(self) -> None:
        self._tell(lambda tracker: tracker.close())

    def _tell(self, what: Callable[[_Tracker], None]) -> None:
        for option, tracker in list(self._trackers.items()):
            try:
                what(tracker)
            except Exception as error:  # of any library beneath
                del self._trackers[option]
                why = " ".join(str(error).split())[:200]
                log(f"warning: {option}: {type(error).__name__}: {why}; nothing more is tracked there")


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The entries that are finite numbers; a Boolean is 0 or 1."""
    numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if name != "Seed" and math.isfinite(value)}


def _settings(run: Run) -> dict[str, str]:
    """The settings of a run, flat and as text."""
    flat = {"model": run.model, "trained": run.trained, "seed": run.seed, "variant": run.variant}
    for name, value in run.settings.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            flat[name] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return {name: str(value) for name, value in flat.items()}


class _TensorBoard:
    """A subfolder a run."""

    def __init__(self, folder: Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(f"--tensorboard: TensorBoard is not installed; {ADVICE}") from error
        self._folder, self._make = writable_folder(folder), SummaryWriter
        self._writers: dict[str, Any] = {}

    def began(self, run: Run) -> None:
        # purge_step: what an earlier command wrote of these epochs is not shown twice.
        writer = self._writers[run.stem] = self._make(str(self._folder / run.stem), purge_step=1)
        table = "\n".join(f"| {name} | {value} |" for name, value in _settings(run).items())
        writer.add_text("settings", f"| setting | value |\n| --- | --- |\n{table}")

    def epoch(self, stem: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writers[stem].add_scalar(name, value, step)
        self._writers[stem].flush()

    def ended(self, stem: str, values: Mapping[str, float], status: str, why: str) -> None:
        writer = self._writers.pop(stem, None)
        if writer is None:
            return  # it never began: what it starts from failed
        for name, value in values.items():
            writer.add_scalar(name, value, 1)
        if why:
            writer.add_text("failed", why)
        writer.close()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


class _MLflow:
    """An experiment of the name of the folder, a run a run."""

    def __init__(self, uri: str, experiment: str):
        for name, value in _MLFLOW_SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow.entities import Metric, Param, RunTag
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise UserError(f"--mlflow: MLflow is not installed; {ADVICE}") from error
        self._metric, self._param, self._tag = Metric, Param, RunTag
        try:
            self._client = MlflowClient(uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment = found.experiment_id if found else self._client.create_experiment(experiment)
        except Exception as error:  # of any library beneath: no such scheme, no answer, a store of another version
            why = " ".join(str(error).split())[:200]
            raise UserError(f"--mlflow {uri}: cannot be used ({why}); start the server, or leave it out") from error
        self._runs: dict[str, str] = {}  # its id there, by stem
        self._last: dict[str, int] = {}  # epoch that is there

    def began(self, run: Run) -> None:
        known = self._client.search_runs(
            [self._experiment], f"tags.stem = '{run.stem}' and tags.settings = '{digest(run.settings)}'", max_results=1
        )
        if known:
            there = known[0].info.run_id
            self._client.update_run(there, status="RUNNING")
        else:
            tags = {"stem": run.stem, "settings": digest(run.settings), "mlflow.runName": run.stem}
            there = self._client.create_run(self._experiment, tags=tags).info.run_id
            params = [self._param(name, value) for name, value in _settings(run).items()]
            self._client.log_batch(there, params=params)
        self._runs[run.stem] = there
        steps = [each.step for each in self._client.get_metric_history(there, "train_loss")]
        self._last[run.stem] = max(steps, default=0)

    def epoch(self, stem: str, step: int, values: Mapping[str, float]) -> None:
        if step > self._last[stem]:
            self._client.log_batch(self._runs[stem], self._metrics(values, step))
            self._last[stem] = step

    def ended(self, stem: str, values: Mapping[str, float], status: str, why: str) -> None:
        there = self._runs.pop(stem, None)
        if there is None:
            return
        tags = [self._tag("failed", why)] if why else []
        self._client.log_batch(there, self._metrics(values, 0), tags=tags)
        self._client.set_terminated(there, status)

    def close(self) -> None:
        for there in self._runs.values():  # Ctrl-C: they go on another time
            with suppress(Exception):
                self._client.set_terminated(there, "KILLED")

    def _metrics(self, values: Mapping[str, float], step: int) -> list:
        now = int(1000 * time.time())
        return [self._metric(name, value, now, step) for name, value in values.items()]
