"""What a set of ten times as many chips takes: no more memory, but for what is said of each chip."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sarship.arrays import new_array, seal
from sarship.prepared import CACHE, MANIFEST_COLUMNS, read_dataset, write_manifest
from tests.conftest import ROOT
from tests.small import write_chip

SIDE = 128
FEW, MANY = 1_500, 15_000
# Of the process that has done it all, shared pages of files included: what the kernel calls VmHWM.
USE = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from sarship import features
from sarship.device import Device
from sarship.prepared import read_dataset
from sarship.training import LabelledChips, Recipe, fit, predict_sets

class Tiny(nn.Module):
    is_constant_backbone = sys.argv[2] == "constant"
    def __init__(self):
        super().__init__()
        self.features = nn.AvgPool2d(2)
        self.classifier = nn.Sequential(nn.AvgPool2d(1), nn.Flatten(), nn.Linear(64 * 64, 2))
    def pooled_features(self, chips):
        return self.classifier[0](self.features(chips))
    def forward(self, chips):
        return self.classifier[1:](self.pooled_features(chips))

torch.set_num_threads(1)
features.HELD_BYTES = 1 << 24
store = features.FeatureStore(Path(sys.argv[1]) / "cache")
network, device, prepared = Tiny(), Device("cpu", torch.float32), read_dataset(Path(sys.argv[1]), "Fusar")
train, val = (LabelledChips(prepared.pixels(s), prepared.labels(s, ["a", "b"]), 2) for s in ("train", "val"))
mean, spread = train.input_scaling()
recipe = Recipe(1, 64, 1e-3, 0.0, "cross_entropy", "none", "none", False, 1)
fit(network, train, val, recipe, device, None, store)
answers = predict_sets(network, {"Fusar": prepared.pixels("test")}, device, store)
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(json.dumps({"chips": len(train), "mean": mean, "tested": len(answers["Fusar"]), "kB": int(status["VmHWM"][:-2])}))
"""


def set_with_cache(out: Path, chips: int) -> int:
    """A prepared set of which the chips are decoded already, dealt at random; returns the sum of its training chips."""
    generator = np.random.default_rng(1)
    splits = generator.choice(["train", "val", "test"], chips, p=[0.8, 0.1, 0.1])
    rows = pd.DataFrame({"chip": [f"{number:06d}" for number in range(chips)], "dataset": "Fusar", "split": splits})
    rows = rows.assign(**{"class": generator.choice(["a", "b"], chips)}).reindex(
        columns=MANIFEST_COLUMNS, fill_value=""
    )
    write_manifest_of(out, rows)
    prepared = read_dataset(out, "Fusar")
    write_chip(prepared.folder, "Fusar", dict(prepared.manifest.iloc[0]), np.zeros((SIDE, SIDE), np.uint8))
    path = out / CACHE / f"Fusar-{SIDE}-{prepared.fingerprint()[:16]}.npy"
    path.parent.mkdir()
    pixels = new_array(path, np.uint8, (chips, SIDE, SIDE))
    pixels[:] = generator.integers(0, 256, pixels.shape, np.uint8)
    seal(path)
    return int(pixels[prepared.manifest["split"] == "train"].sum(dtype=np.int64))


def write_manifest_of(out: Path, rows: pd.DataFrame) -> None:
    (out / "prepared" / "Fusar").mkdir(parents=True)
    write_manifest(out / "prepared" / "Fusar" / "manifest.csv", rows)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much memory was resident")
@pytest.mark.parametrize("backbone", ["trained", "constant"])
def test_memory_does_not_grow_with_the_chips(backbone, tmp_path):
    """13,500 further chips are 221 MB, and so are their features: a process that had either resident would show it."""
    peaks = {}
    for chips in (FEW, MANY):
        total = set_with_cache(tmp_path / str(chips), chips)
        command = [sys.executable, "-c", USE, str(tmp_path / str(chips)), backbone]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        assert said["mean"] == pytest.approx(total / 255 / said["chips"] / SIDE**2, rel=1e-6)
        assert 0.75 * chips < said["chips"] < 0.85 * chips and said["tested"] > 0.05 * chips
        peaks[chips] = said["kB"] * 1024
    assert peaks[MANY] - peaks[FEW] < 0.3 * (MANY - FEW) * SIDE**2
