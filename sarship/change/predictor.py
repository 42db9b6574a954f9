"""A trained U-Net and its file, change/models/UNet[_without-<condition>...][_seed<N>].pt, enough to predict with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from sarship.change.conditions import FEATURES, WEATHER, Acquisition
from sarship.change.unet import UNet
from sarship.command import UserError
from sarship.device import Device
from sarship.tensor_files import DamagedError, load_tensors, save_tensors

FORMAT = "predicted-image-1"


# Conditions that go by one name together.
GROUPS = {"weather": set(WEATHER), "conditions": set(FEATURES)}


def name_of(conditions: Sequence[str]) -> str:
    """Conditions in words: a key of GROUPS, or their names in the order of FEATURES."""
    group = next((name for name, members in GROUPS.items() if members == set(conditions)), None)
    return group or ", ".join(name for name in FEATURES if name in conditions)


def model_stem(without: Sequence[str], seed: int) -> str:
    """Name of a model's files without suffix."""
    words = ["UNet"]
    if without:
        name = name_of(without)
        words.append(f"no-{name}" if name in GROUPS else "without-" + name.replace(", ", "-"))
    if seed != 1:
        words.append(f"seed{seed}")
    return "_".join(words)


@dataclass(frozen=True, eq=False)
class Predictor:
    """A trained network. meta: settings that it was made with, patch and data fingerprint among them.

    withheld: conditions of which it is told the mean of the training samples.
    """

    stem: str
    network: UNet = field(repr=False)
    meta: Mapping = field(repr=False)
    device: Device = field(repr=False)
    withheld: tuple[str, ...] = ()

    @property
    def patch(self) -> int:
        return self.meta["settings"]["patch"]

    def batch(self, images: np.ndarray, elevation: np.ndarray, told: Sequence[Sequence[Acquisition]]) -> np.ndarray:
        """The newest images, (n, 2, patch, patch) float32 dB.

        images: (n, 4, 2, patch, patch) dB, oldest first; elevation: (n, patch, patch) m; told: n times five
        acquisitions, of the earlier images and the newest.
        """
        vectors = np.array([[each.vector() for each in five] for five in told], np.float32)
        parts = (np.ascontiguousarray(part, np.float32) for part in (images, elevation, vectors))
        with torch.no_grad(), self.device.autocast():
            return self.network(*(torch.from_numpy(part).to(self.device.name) for part in parts)).cpu().numpy()


def write_model(path: Path, network: UNet, meta: Mapping, history: Sequence[dict]) -> None:
    """Write a model file: tensors and plain values only, so that it loads with weights_only=True."""
    state = {key: value.cpu() for key, value in network.state_dict().items()}
    save_tensors(path, {"format": FORMAT, "state": state, "meta": dict(meta), "history": list(history)})


def read_model(path: Path) -> dict:
    """format, state, meta and history of a model file. Raises UserError if it is none; nothing in it is executed."""
    try:
        content = load_tensors(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such model; run detect_changes.py train") from error
    except (OSError, DamagedError) as error:
        raise UserError(
            f"{path}: is no model of this study, or damaged ({error}); remove it and run detect_changes.py train"
        ) from error
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: is no model of this study; run detect_changes.py train")
    return content


def build(settings: Mapping) -> UNet:
    """The network that these settings ask for, without trained weights."""
    names = ("patch", "width", "stochastic_depth", "dropout", "without")
    return UNet(**{name: settings[name] for name in names})


def load_predictor(path: Path, device: Device, withheld: Sequence[str] = ()) -> Predictor:
    """A trained network, ready to predict. withheld: conditions, keys of FEATURES, that it is not told."""
    content = read_model(path)
    network = build(content["meta"]["settings"])
    network.load_state_dict(content["state"])
    network.withhold(withheld)
    network.eval().to(device.name, memory_format=torch.channels_last)
    return Predictor(path.stem, network, content["meta"], device, tuple(withheld))
