"""What is drawn and said of a run when it is done."""

import argparse
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from sarship.command import log
from sarship.device import Device
from sarship.figures import confusion_matrix, learning_curve
from sarship.ledger import results_of
from sarship.prepared import PreparedSet
from sarship.runs import Run, read_run


def title_of(run: Run) -> str:
    return f"{run.model} trained on {run.trained}" + (f", {run.variant}" if run.variant else "")


def draw(run: Run, out: Path, view: Mapping[str, PreparedSet]) -> None:
    """Learning curve and confusion matrices of a run, beside its model file."""
    content = read_run(run.path(out))
    title = title_of(run)
    if content["history"]:
        path = run.path(out).with_suffix(".learning.png")
        learning_curve(content["history"], content["meta"]["picked_epoch"], path, title)
    for result in results_of(content, view):
        path = run.path(out).with_suffix(f".confusion_{result.tested}.png")
        confusion_matrix(result.labels, result.predictions, result.classes, path, f"{title}, tested on {result.tested}")


def warn_if_collapsed(run: Run, rows: list[dict]) -> None:
    own = [row for row in rows if row["Tested"] == run.target and row["Collapsed"]]
    if own and run.model != "Majority":
        log(f"warning: {run.stem} collapsed, it answers one class only; try a lower --learning-rate")


def header(chosen: argparse.Namespace, device: Device) -> list[str]:
    """First lines of results.txt: what ran."""
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, NumPy {np.__version__}"
    lines = [versions, f"device {device.name}, {device.autocast_dtype}, {torch.get_num_threads()} threads"]
    given = vars(chosen) | {"mlflow": _without_password(chosen.mlflow)}
    return lines + [f"--{name.replace('_', '-')} {value}" for name, value in sorted(given.items())]


def _without_password(uri: str | None) -> str | None:
    return uri and re.sub(r"//[^/@]*@", "//", uri)
