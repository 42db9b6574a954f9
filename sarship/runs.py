"""Runs and what they leave behind: trained_models/<Model>_<Trained>[_<Variant>][_seed<N>].pt.

A model file holds everything about its run: weights, settings, history, and the probabilities it gave on every test
set. The tables (`ledger.py`) are written anew from the model files, so they are complete after any kill.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sarship.checkpoint import Checkpoint, refuse_other_settings
from sarship.command import UserError
from sarship.names import run_stem
from sarship.tensor_files import DamagedError, check_tensors, load_tensors, save_tensors

FORMAT = 2  # of model files; older ones cannot say which flaws their runs had


@dataclass(frozen=True)
class Run:
    """One model on one training set with one seed, and the settings that decide what comes out.

    trained: a data set, or "<base>+<target>" for a transfer chain. variant, flaws, changed: of `protocols.Variant`.
    training_key: digest of what decides the weights; runs that differ in testing only have the same one.
    """

    model: str
    trained: str
    seed: int
    settings: dict
    variant: str = ""
    flaws: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    training_key: str = ""

    @property
    def stem(self) -> str:
        """Name of the run's files without suffix."""
        return run_stem(self.model, self.trained, self.variant, self.seed)

    @property
    def target(self) -> str:
        """The data set that the run trains on, the last of a chain."""
        return self.trained.rpartition("+")[2]

    @property
    def is_chain(self) -> bool:
        return "+" in self.trained

    def path(self, out: Path) -> Path:
        return model_path(out, self.stem)

    def checkpoint(self, out: Path) -> Checkpoint:
        """Where the run keeps its state between epochs."""
        return Checkpoint.beside(self.path(out), self.settings)


def model_path(out: Path, stem: str) -> Path:
    return out / "trained_models" / f"{stem}.pt"


def digest(settings: Mapping) -> str:
    """Twelve hexadecimal digits that stand for settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def is_done(run: Run, out: Path) -> bool:
    """Whether the run's model file is there. UserError if it was made with other settings or data."""
    path = run.path(out)
    if not path.exists():
        return False
    refuse_other_settings(path, read_run(path)["meta"]["settings"], run.settings)
    return True


def write_run(
    path: Path,
    state: Mapping,
    meta: Mapping,
    history: list[dict],
    tests: Mapping[str, np.ndarray],
    familiarity: Mapping | None = None,
) -> None:
    """Write a model file: tensors and plain values only, so that it loads with weights_only=True.

    tests: class probabilities (chips, classes) by test set, in the order of its manifest. familiarity: state of a
    `familiarity.Familiarity`, to tell chips unlike the training data.
    """
    probabilities = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in tests.items()}
    content = {"format": FORMAT, "state": dict(state), "meta": dict(meta), "history": history, "tests": probabilities}
    if familiarity is not None:
        content["familiarity"] = dict(familiarity)
    save_tensors(path, content)


def read_run(path: Path) -> dict:
    """state, meta, history and tests of a model file; weights stay on disk until `state_of` is asked for them.

    Raises UserError if it is none, one that is damaged, or one of an older form.
    """
    try:
        content = load_tensors(path, mapped=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such model file; train it with test_models.py") from error
    except (OSError, DamagedError) as error:
        raise UserError(
            f"{path}: is no trained model of this project, or damaged ({error}); remove it and train it again"
        ) from error
    if not {"state", "meta", "history", "tests"} <= content.keys():
        raise UserError(f"{path}: is no trained model of this project")
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: is of an older form; train it again with --overwrite, or remove it")
    return content


def state_of(content: Mapping, path: Path) -> dict:
    """The weights in a model file's content. Raises UserError if they were not kept, or are damaged."""
    try:
        check_tensors(path)
    except (OSError, DamagedError) as error:
        raise UserError(f"{path}: its weights cannot be used ({error}); remove it, and train it again") from error
    if not content["state"]:
        raise UserError(f"{path}: was made with --no-weights; train it again with --weights --overwrite")
    return content["state"]


def has_state(path: Path) -> bool:
    """Whether a model file has kept its weights."""
    return bool(read_run(path)["state"])


def drop_state(path: Path) -> None:
    """Write a model file again without its weights, if it has any."""
    content = read_run(path)
    if content["state"]:
        write_run(path, {}, content["meta"], content["history"], {k: v.numpy() for k, v in content["tests"].items()})


def model_files(out: Path) -> list[Path]:
    """All model files below `out`, in the order of their names; unfinished ones are hidden and no part of it."""
    return sorted(path for path in (out / "trained_models").glob("*.pt") if not path.name.startswith("."))


def trained_networks(
    out: Path, models: Sequence[str], trained: Sequence[str] | None, variants: Sequence[str] | None
) -> list[Path]:
    """The model files below `out` of these networks, training sets and variants; None stands for any.

    Baselines leave model files too, which hold no network. Raises UserError if there is none.
    """
    found = []
    for path in model_files(out):
        meta = read_run(path)["meta"]
        fits = (trained is None or meta["trained"] in trained) and (variants is None or meta["variant"] in variants)
        if meta["model"] in models and fits:
            found.append(path)
    if not found:
        folder = out / "trained_models"
        raise UserError(f"{folder}: holds no such trained network; run test_models.py, or ask for other --models")
    return found
