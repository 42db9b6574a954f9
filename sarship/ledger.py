"""scores.csv, predictions.csv, history.csv and results.txt: what all model files below `out` say."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from sarship.command import UserError
from sarship.files import whole_file
from sarship.names import HISTORY_COLUMNS
from sarship.prepared import PreparedSet
from sarship.runs import Run, model_files, read_run
from sarship.scores import SetResult, score, write_predictions, write_scores

LARGEST_SHARE = 0.05  # of the time that writing tables may take, while runs are still being trained


@dataclass(frozen=True, eq=False)
class _Entry:
    """What one model file adds to the tables."""

    order: tuple
    rows: list[dict]
    results: list[SetResult]
    history: list[dict]
    lines: list[str]


@dataclass
class Ledger:
    """The tables below `out`, kept up to date with the model files there.

    data: fingerprint of each prepared set. views: settings of a run -> the prepared sets as that run split them.
    models: names in the order of the tables. header: first lines of results.txt.
    """

    out: Path
    data: Mapping[str, str]
    views: Callable[[Mapping], Mapping[str, PreparedSet]]
    models: Sequence[str]
    header: Sequence[str]
    path_by_key: dict[str, Path] = field(default_factory=dict)  # model file by what decides its weights
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _written_at: float = field(default=0.0)
    _writing_seconds: float = field(default=0.0)

    def read_all(self, replaced: Iterable[Run]) -> None:
        """Read every model file but those of `replaced`. UserError naming those that come from other data."""
        left_out = {run.path(self.out) for run in replaced}
        foreign = []
        for path in model_files(self.out):
            if path in left_out:
                continue
            if read_run(path)["meta"]["settings"]["data"] != self.data:
                foreign.append(path.stem)
            elif not foreign:
                self.add(path)
        if foreign:
            raise UserError(
                f"{self.out / 'trained_models'}: {', '.join(foreign)} {'was' if len(foreign) == 1 else 'were'} trained "
                "on other data than prepared/ holds; train again with --overwrite, remove them, or choose another --out"
            )

    def add(self, path: Path) -> None:
        """Take in one model file."""
        content = read_run(path)
        meta = content["meta"]
        results = results_of(content, self.views(meta["settings"]))
        rows = score_rows(meta, results)
        run = {"Trained": meta["trained"], "Model": meta["model"], "Seed": meta["seed"], "Variant": meta["variant"]}
        history = [run | _epoch_columns(epoch, meta["picked_epoch"]) for epoch in content["history"]]
        self._entries[path.stem] = _Entry(self._order(meta), rows, results, history, run_lines(content, rows))
        if meta["training_key"] and content["state"]:
            self.path_by_key[meta["training_key"]] = path

    def _order(self, meta: Mapping) -> tuple:
        datasets = list(self.data)
        trained = tuple(datasets.index(name) for name in meta["trained"].split("+"))
        return meta["variant"], meta["seed"], self.models.index(meta["model"]), len(trained), trained

    def rows(self, runs: Iterable[Run]) -> list[dict]:
        """The rows of scores.csv of these runs, as far as they are done."""
        return [row for run in runs if run.stem in self._entries for row in self._entries[run.stem].rows]

    def write_if_cheap(self) -> None:
        """Write the tables, unless they were written so recently that writing would take much of the time."""
        if self._writing_seconds <= LARGEST_SHARE * (time.monotonic() - self._written_at):
            self.write()

    def write(self) -> None:
        """Write the tables, if there is anything to write."""
        if not self._entries:
            return
        started = time.monotonic()
        entries = sorted(self._entries.values(), key=lambda entry: entry.order)
        write_scores(self.out / "scores.csv", [row for entry in entries for row in entry.rows])
        write_predictions(self.out / "predictions.csv", [result for entry in entries for result in entry.results])
        with whole_file(self.out / "history.csv") as path:
            epochs = [row for entry in entries for row in entry.history]
            pd.DataFrame(epochs, columns=list(HISTORY_COLUMNS)).to_csv(path, index=False, float_format="%.6g")
        with whole_file(self.out / "results.txt") as path:
            lines = [*self.header, *(line for entry in entries for line in ("", *entry.lines))]
            path.write_text("\n".join(lines) + "\n")
        self._written_at = time.monotonic()
        self._writing_seconds = self._written_at - started


def results_of(content: Mapping, view: Mapping[str, PreparedSet]) -> list[SetResult]:
    """What the run of a model file answered on each test set. view: the prepared sets as that run split them."""
    meta = content["meta"]
    results = []
    for tested, probabilities in content["tests"].items():
        rows = view[tested].rows("test")
        results.append(
            SetResult(
                trained=meta["trained"],
                tested=tested,
                model=meta["model"],
                seed=meta["seed"],
                classes=tuple(meta["classes"]),
                chips=rows["chip"].tolist(),
                vessels=rows["vessel"].tolist(),
                labels=view[tested].labels("test", meta["classes"]),
                probabilities=probabilities.numpy(),
                variant=meta["variant"],
            )
        )
    return results


def score_rows(meta: Mapping, results: Iterable[SetResult]) -> list[dict]:
    """Rows of scores.csv: the run's scores on each test set, and the columns that only the run knows."""
    return [
        {
            **score(result, own_rows="own-rows-scores" in meta["flaws"]),
            "Protocol": meta["protocol"],
            "Loss": meta["loss"],
            "Sampler": meta["sampler"],
            "Backbone": meta["backbone"],
            "Epochs": meta["epochs"],
            "Seconds": None if meta["seconds"] is None else round(meta["seconds"], 1),
            "Augment": meta["augment"],
            "Heads": meta["heads"],
            "Unfreeze": meta["unfreeze"],
            "LearningRate": meta["learning_rate"],
            "Flaws": " ".join(meta["flaws"]),
            "Changed": " ".join(meta["changed"]),
            "Stopped": meta.get("stopped", ""),
        }
        for result in results
    ]


def _epoch_columns(epoch: Mapping, picked_epoch: int) -> dict:
    macro_f1 = epoch["val_macro_f1"]
    return {
        "Epoch": epoch["epoch"],
        "TrainLoss": epoch["train_loss"],
        "ValLoss": epoch["val_loss"],
        "ValMacroF1": None if macro_f1 is None else 100 * macro_f1,
        "Picked": epoch["epoch"] == picked_epoch,
    }


def run_lines(content: Mapping, rows: list[dict]) -> list[str]:
    """The part of results.txt about one run: settings, each epoch, each test."""
    meta = content["meta"]
    name = f"{meta['model']} trained on {meta['trained']}" + (f", {meta['variant']}" if meta["variant"] else "")
    took = "" if meta["seconds"] is None else f", {meta['seconds']:.1f} s"
    lines = [f"{name}, seed {meta['seed']}, on {meta['device']}{took}"]
    lines += [f"  {name} = {value}" for name, value in sorted(meta["settings"].items())]
    for row in content["history"]:
        picked = "  <- picked" if row["epoch"] == meta["picked_epoch"] else ""
        if row["val_loss"] is None:
            lines.append(f"  epoch {row['epoch']:3d}  train loss {row['train_loss']:.4f}{picked}")
        else:
            lines.append(
                f"  epoch {row['epoch']:3d}  train loss {row['train_loss']:.4f}  val loss {row['val_loss']:.4f}  "
                f"val macro-F1 {100 * row['val_macro_f1']:.2f}{picked}"
            )
    if meta.get("stopped"):
        lines.append(f"  STOPPED: {meta['stopped']}")
    for row in rows:
        interval = f"[{row['MacroF1_low']:.2f}, {row['MacroF1_high']:.2f}]"
        collapsed = ", COLLAPSED to one class" if row["Collapsed"] else ""
        lines.append(
            f"  tested on {row['Tested']} ({row['TestChips']} chips): accuracy {row['Accuracy']:.2f}, "
            f"F1 {row['F1']:.2f}, macro-F1 {row['MacroF1']:.2f} {interval}{collapsed}"
        )
    return lines
