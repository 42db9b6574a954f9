"""The state that a killed run goes on from: .<run>.partial.pt beside the model file, gone once that is there.

It says what it was begun with. A run with another option, other data or another version of the code does not go on
from it but starts anew, and says why.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

from sarship.command import UserError, log
from sarship.tensor_files import DamagedError, load_tensors, save_tensors

_PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Checkpoint:
    """Where a run keeps its state, and the settings that decide what comes out of it."""

    path: Path
    settings: Mapping = field(repr=False)

    @staticmethod
    def beside(model_file: Path, settings: Mapping) -> "Checkpoint":
        return Checkpoint(model_file.with_name(f".{model_file.stem}.partial.pt"), settings)

    @property
    def _run(self) -> str:
        return self.path.name.removeprefix(".").removesuffix(".partial.pt")

    def save(self, state: Mapping) -> None:
        """Keep the state, in place of an earlier one. Raises as `files.whole_file` does."""
        save_tensors(self.path, {"made_by": made_by(), "settings": json.dumps(self.settings), "state": dict(state)})

    def load(self) -> dict | None:
        """The state that was kept; None if there is none that this run can go on from, and why is said."""
        try:
            content = load_tensors(self.path)
            made_with, settings, state = content["made_by"], json.loads(content["settings"]), content["state"]
        except FileNotFoundError:
            return None
        except (OSError, DamagedError, KeyError, ValueError) as error:
            return self._refuse(f"what it left behind is damaged ({error})")
        if made_with != made_by():
            return self._refuse("it was begun by another version of the code or of PyTorch")
        wanted = json.loads(json.dumps(self.settings))
        for name in sorted(settings.keys() | wanted.keys()):
            if settings.get(name) != wanted.get(name):
                return self._refuse(f"it was begun with {describe_difference(name, settings, wanted)}")
        return state

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _refuse(self, why: str) -> None:
        log(f"{self._run} starts anew: {why}")


def describe_difference(name: str, found: Mapping, wanted: Mapping) -> str:
    """A setting that is another, in words that fit on a line."""
    return f"{name} = {_short(found.get(name))}, not {_short(wanted.get(name))}"


def refuse_other_settings(path: Path, found: Mapping, wanted: Mapping) -> None:
    """UserError if a finished run's settings are not those that are wanted: it is for the user to say what goes."""
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise UserError(
                f"{path}: was made with {describe_difference(name, found, wanted)}; "
                "replace it with --overwrite or choose another --out"
            )


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:36]}..."


@cache
def made_by() -> str:
    """Digest of all code that may decide what comes out of a run: this project's, and the version of PyTorch."""
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted([_PROJECT / "models.py", *(_PROJECT / "sarship").rglob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
