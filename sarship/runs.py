"""Runs and what they leave behind: trained_models/<Model>_<Dataset>.pt, scores.csv, predictions.csv, results.txt.

A model file holds everything about its run: weights, settings, history, and the probabilities it gave on every test
set. The three tables are written anew from the model files, so they are complete at any moment and after any kill.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from sarship.command import UserError
from sarship.files import whole_file
from sarship.prepared import PreparedSet
from sarship.scores import SetResult, score, write_predictions, write_scores

FIRST_SEED = 1  # its files bear no suffix


@dataclass(frozen=True)
class Run:
    """One model on one training set with one seed, and the settings that decide what comes out."""

    model: str
    trained: str
    seed: int
    settings: dict

    @property
    def stem(self) -> str:
        """Name of the run's files without suffix: VGG_Fusar, VGG_Fusar_seed2."""
        return f"{self.model}_{self.trained}" + (f"_seed{self.seed}" if self.seed != FIRST_SEED else "")

    def path(self, out: Path) -> Path:
        return out / "trained_models" / f"{self.stem}.pt"

    def checkpoint(self, out: Path) -> Path:
        """Where the run keeps its state between epochs; other settings have another file."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:12]
        return out / "trained_models" / f".{self.stem}-{digest}.partial.pt"


def is_done(run: Run, out: Path) -> bool:
    """Whether the run's model file is there. UserError if it was made with other settings or data."""
    path = run.path(out)
    if not path.exists():
        return False
    found = read_run(path)["meta"]["settings"]
    for name in sorted(found.keys() | run.settings.keys()):
        if found.get(name) != run.settings.get(name):
            raise UserError(
                f"{path}: was made with {name} = {_short(found.get(name))}, not {_short(run.settings.get(name))}; "
                "replace it with --overwrite or choose another --out"
            )
    return True


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:36]}..."


def write_run(path: Path, state: Mapping, meta: Mapping, history: list[dict], tests: Mapping[str, np.ndarray]) -> None:
    """Write a model file: tensors and plain values only, so that it loads with weights_only=True.

    tests: class probabilities (chips, classes) by test set, in the order of its manifest.
    """
    probabilities = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in tests.items()}
    content = {"state": dict(state), "meta": dict(meta), "history": history, "tests": probabilities}
    with whole_file(path) as written:
        torch.save(content, written)


def read_run(path: Path) -> dict:
    """state, meta, history and tests of a model file; weights stay on disk until they are used.

    Raises UserError if it is none.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such model file; train it with test_models.py") from error
    except Exception as error:  # torch.load raises many unrelated types for a damaged or foreign file
        raise UserError(f"{path}: is no trained model of this project ({type(error).__name__})") from error
    if not isinstance(content, dict) or not {"state", "meta", "history", "tests"} <= content.keys():
        raise UserError(f"{path}: is no trained model of this project")
    return content


def results_of(content: Mapping, prepared: Mapping[str, PreparedSet]) -> list[SetResult]:
    """What the run of a model file answered on each test set it was tested on."""
    meta = content["meta"]
    results = []
    for tested, probabilities in content["tests"].items():
        rows = prepared[tested].rows("test")
        results.append(
            SetResult(
                trained=meta["trained"],
                tested=tested,
                model=meta["model"],
                seed=meta["seed"],
                classes=tuple(meta["classes"]),
                chips=rows["chip"].tolist(),
                vessels=rows["vessel"].tolist(),
                labels=prepared[tested].labels("test", meta["classes"]),
                probabilities=probabilities.numpy(),
            )
        )
    return results


def score_rows(content: Mapping, results: Iterable[SetResult]) -> list[dict]:
    """Rows of scores.csv: the run's scores on each test set, and the columns that only the run knows."""
    meta = content["meta"]
    return [
        {
            **score(result),
            "Protocol": meta["protocol"],
            "Loss": meta["loss"],
            "Sampler": meta["sampler"],
            "Backbone": meta["backbone"],
            "Epochs": meta["epochs"],
            "Seconds": round(meta["seconds"], 1),
        }
        for result in results
    ]


@dataclass
class Tables:
    """scores.csv, predictions.csv and results.txt below `out`: what all done runs of `runs` say, in their order.

    header: first lines of results.txt.
    """

    out: Path
    runs: Sequence[Run]
    prepared: Mapping[str, PreparedSet]
    header: Sequence[str]
    _parts: dict[str, tuple[list[dict], list[SetResult], list[str]]] = field(default_factory=dict)

    def update(self, changed: Iterable[Run]) -> None:
        """Read `changed` anew, and write the tables if there is anything to write."""
        for run in changed:
            if run.path(self.out).exists():
                content = read_run(run.path(self.out))
                results = results_of(content, self.prepared)
                rows = score_rows(content, results)
                self._parts[run.stem] = rows, results, run_lines(run, content, rows)
        parts = [self._parts[run.stem] for run in self.runs if run.stem in self._parts]
        if parts:
            write_scores(self.out / "scores.csv", self.rows)
            write_predictions(self.out / "predictions.csv", [result for _, results, _ in parts for result in results])
            with whole_file(self.out / "results.txt") as path:
                path.write_text("\n".join([*self.header, *(line for part in parts for line in ("", *part[2]))]) + "\n")

    @property
    def rows(self) -> list[dict]:
        """The rows of scores.csv."""
        return [row for run in self.runs if run.stem in self._parts for row in self._parts[run.stem][0]]


def run_lines(run: Run, content: Mapping, rows: list[dict]) -> list[str]:
    """The part of results.txt about one run: settings, each epoch, each test."""
    meta = content["meta"]
    lines = [f"{run.model} trained on {run.trained}, seed {run.seed}, on {meta['device']}, {meta['seconds']:.1f} s"]
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
    for row in rows:
        interval = f"[{row['MacroF1_low']:.2f}, {row['MacroF1_high']:.2f}]"
        collapsed = ", COLLAPSED to one class" if row["Collapsed"] else ""
        lines.append(
            f"  tested on {row['Tested']} ({row['TestChips']} chips): accuracy {row['Accuracy']:.2f}, "
            f"F1 {row['F1']:.2f}, macro-F1 {row['MacroF1']:.2f} {interval}{collapsed}"
        )
    return lines
