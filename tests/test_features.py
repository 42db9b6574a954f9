"""Kept features of frozen backbones: computed once, to the bit, and for the right backbone."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from models import build
from sarship import features
from sarship.batches import Features, HeldFeatures, StreamedFeatures
from sarship.command import UserError
from sarship.device import Device
from sarship.features import FeatureStore, backbone_key, pooled
from tests.conftest import ROOT

CPU = Device("cpu", torch.float32)
FILL = """
import sys, numpy as np, torch
from pathlib import Path
from models import build
from sarship.device import Device
from sarship.features import FeatureStore
torch.manual_seed(0)
network = build("Fine_ResNet", 3, 32).eval()
pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32), np.uint8)
kept = FeatureStore(Path(sys.argv[1])).features(network, pixels, (0, 3), Device("cpu", torch.float32))
print(sum(kept.batch(torch.full((40,), place), torch.arange(40)).double().sum() for place in (0, 1)))
"""


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("Fine_ResNet", 3, 32).eval()


@pytest.fixture
def seen(network):
    """How many chips went through the backbone, batch by batch."""
    counts = []
    network.features.register_forward_hook(lambda module, inputs, output: counts.append(len(output)))
    return counts


def some_chips(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32), np.uint8)


def all_of(found: Features, flips: int, chips: int) -> torch.Tensor:
    """(flips, chips, ...)"""
    places, indices = torch.meshgrid(torch.arange(flips), torch.arange(chips), indexing="ij")
    return torch.stack([found.batch(*those) for those in zip(places, indices, strict=True)])


def directly(network, pixels, flip, device=CPU):
    return pooled(network, torch.from_numpy(pixels), flip, device)


@pytest.mark.parametrize(("folder", "held_bytes"), [("cache", 10**9), ("cache", 0), (None, 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_they_are_what_the_backbone_gives_to_the_bit(tmp_path, network, folder, held_bytes, dtype, monkeypatch):
    monkeypatch.setattr(features, "HELD_BYTES", held_bytes)
    device, pixels = Device("cpu", dtype), some_chips(5)
    store = FeatureStore(folder and tmp_path / folder)
    for _ in range(2):  # computed, then read
        kept = store.features(network, pixels, (0, 3), device)
        assert isinstance(kept, StreamedFeatures if folder and not held_bytes else HeldFeatures)
        found = all_of(kept, 2, 5)
        assert found.dtype == dtype
        assert found.shape[2:] == kept.chip_shape
        for values, flip in zip(found, (0, 3), strict=True):
            assert torch.equal(values, directly(network, pixels, flip, device))


def test_features_in_a_file_are_read_in_any_order_and_leave_no_file(tmp_path, network, monkeypatch):
    monkeypatch.setattr(features, "HELD_BYTES", 0)
    pixels = some_chips(9)
    kept = FeatureStore(tmp_path).features(network, pixels, (2, 0), CPU)
    places, chips = torch.tensor([1, 0, 0, 1]), torch.tensor([8, 3, 4, 0])
    values = torch.stack([directly(network, pixels, flip) for flip in (2, 0)])
    assert torch.equal(kept.batch(places, chips), values[places, chips])
    assert [path.suffix for path in tmp_path.iterdir()] == [".sqlite"]


def test_a_disk_too_full_for_the_file_is_one_line(tmp_path, network, monkeypatch):
    monkeypatch.setattr(features, "HELD_BYTES", 0)

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(features.tempfile, "TemporaryFile", full)
    with pytest.raises(UserError, match=r"sqlite: cannot be used \(No space left on device\); make room"):
        FeatureStore(tmp_path).features(network, some_chips(3), (0,), CPU)


def test_what_is_filled_in_before_is_not_computed_again(tmp_path, network, seen):
    pixels = some_chips(6)
    FeatureStore(None).fill(network, pixels, (0,), CPU)  # nowhere to keep it
    assert not seen
    FeatureStore(tmp_path).fill(network, pixels[:4], (0,), CPU)
    found = all_of(FeatureStore(tmp_path).features(network, pixels, (0,), CPU), 1, 6)
    assert sum(seen) == 6
    assert torch.equal(found[0], directly(network, pixels, 0))


def test_each_chip_and_flip_goes_through_once_whatever_set_asks_for_it(tmp_path, network, seen):
    store = FeatureStore(tmp_path)
    fusar, opensarship = some_chips(6), some_chips(4, seed=1)
    store.features(network, fusar, (0, 1), CPU)
    assert sum(seen) == 12
    store.features(network, fusar[::-1], (1, 0), CPU)  # another order
    assert sum(seen) == 12
    mixed = np.concatenate([opensarship, fusar])
    both = all_of(FeatureStore(tmp_path).features(network, mixed, (0,), CPU), 1, 10)
    assert sum(seen) == 16
    assert torch.equal(both[0], directly(network, mixed, 0))


def test_the_key_is_that_of_everything_that_decides(network):
    keys = {backbone_key(network, CPU), backbone_key(network, Device("cpu", torch.bfloat16))}
    network.classifier[-1].weight.data += 1  # the head does not decide
    assert backbone_key(network, CPU) in keys
    network.scale_input(0.2, 0.3)
    keys.add(backbone_key(network, CPU))
    network.features.bn1.running_mean += 1e-3
    keys.add(backbone_key(network, CPU))
    next(network.features.parameters()).data[0] += 1e-3
    keys.add(backbone_key(network, CPU))
    assert len(keys) == 5


def test_what_a_killed_command_had_written_stays(tmp_path, network, seen, monkeypatch):
    monkeypatch.setattr(features, "CHIPS_PER_COMMIT", 4)
    monkeypatch.setattr(Device, "chips_at_once", lambda self, pixels: 2)
    pixels, through = some_chips(12), features.pooled

    def killed(network, batch, flip, device):
        if sum(seen) >= 6:
            raise KeyboardInterrupt
        return through(network, batch, flip, device)

    monkeypatch.setattr(features, "pooled", killed)
    with pytest.raises(KeyboardInterrupt):
        FeatureStore(tmp_path).features(network, pixels, (0,), CPU)
    monkeypatch.setattr(features, "pooled", through)
    seen.clear()
    found = all_of(FeatureStore(tmp_path).features(network, pixels, (0,), CPU), 1, 12)
    assert sum(seen) == 8
    assert torch.equal(found[0], directly(network, pixels, 0))


def test_a_damaged_file_is_made_again_and_that_is_said(tmp_path, network, capsys):
    pixels = some_chips(3)
    FeatureStore(tmp_path).features(network, pixels, (0,), CPU)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"not what sqlite writes" * 100)
    found = all_of(FeatureStore(tmp_path).features(network, pixels, (0,), CPU), 1, 3)
    assert torch.equal(found[0], directly(network, pixels, 0))
    assert f"{path}: is damaged" in capsys.readouterr().err


def test_a_file_that_cannot_be_used_is_one_line(tmp_path, network):
    (tmp_path / f"features-{backbone_key(network, CPU)}.sqlite").mkdir()
    with pytest.raises(UserError, match="cannot be used"):
        FeatureStore(tmp_path).features(network, some_chips(3), (0,), CPU)


def test_backbones_asked_for_longest_ago_make_room(tmp_path, network, monkeypatch):
    store, paths = FeatureStore(tmp_path), []
    for age in range(3):
        network.scale_input(0.1 * age, 1.0)
        store.features(network, some_chips(3), (0,), CPU)
        paths.append(tmp_path / f"features-{backbone_key(network, CPU)}.sqlite")
        os.utime(paths[-1], (1000 + age, 1000 + age))
    monkeypatch.setattr(features, "LARGEST_BYTES", 2 * paths[0].stat().st_size)
    network.scale_input(0.0, 1.0)
    store.features(network, some_chips(3), (0,), CPU)  # the oldest is asked for again
    assert sorted(tmp_path.iterdir()) == sorted([paths[0], paths[2]])


def test_two_processes_may_fill_one_file(tmp_path, network):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([sys.executable, "-c", FILL, str(tmp_path)], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    answers = {process.communicate()[0] for process in both}
    assert len(answers) == 1 and b"tensor" in answers.pop()
    assert [path.suffix for path in tmp_path.iterdir()] == [".sqlite"]
