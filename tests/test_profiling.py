"""Where seconds go, and how operations are counted."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from models import build
from sarship.augment import AUGMENTATIONS
from sarship.device import Device
from sarship.feeding import WholeNetwork
from sarship.profiling import OFF, PARTS, Profile, flop_of, peak_rate


def test_operations_are_those_that_can_be_counted_by_hand():
    dense = nn.Linear(10, 5)
    assert flop_of(dense, (10,), backward=False) == 2 * 10 * 5
    assert flop_of(dense, (10,), backward=True) == 2 * 10 * 5 * 2  # no gradient of what comes in
    assert flop_of(nn.Sequential(dense, nn.Linear(5, 3)), (10,), backward=True) == 2 * 50 * 2 + 2 * 15 * 3
    assert flop_of(nn.Conv2d(3, 8, 3, padding=1), (3, 16, 16), backward=False) == 2 * 16 * 16 * 27 * 8


def test_vgg16_has_the_published_operations_and_a_frozen_backbone_no_way_back():
    # 15.47 G multiply-adds at 224 x 224 with three dense layers of 0.12 G; torchvision's table of VGG16_Weights.
    convolutions = flop_of(build("VGG", 3, 224).features, (3, 224, 224), backward=False) / 2
    assert convolutions == pytest.approx(15.47e9 - 0.124e9, rel=0.01)
    frozen = build("Fine_VGG", 3, 64)
    layers = nn.Sequential(frozen.features, frozen.classifier)
    forward, both = (flop_of(layers, (3, 64, 64), backward) for backward in (False, True))
    assert forward < both < 1.05 * forward


def test_layers_that_are_computed_again_count_once():
    network = build("VGG", 3, 32)
    assert network.recomputed
    profile = Profile(is_on=True)
    device = Device("cpu", torch.float32, profile)
    chips = np.zeros((2, 32, 32), np.uint8)
    with profile.run("VGG_Fusar"):
        feed = WholeNetwork(network.train(), chips, AUGMENTATIONS["none"], device)
        feed.train_logits(torch.arange(2), torch.zeros(2, dtype=torch.long), torch.Generator())
    counted = profile._runs[0][1]["flop"] / 2
    forward = flop_of(network.features, (3, 32, 32), backward=False)
    assert 2.5 * forward < counted < 3 * forward  # three times, but for the first layer, which passes nothing back


def test_counting_leaves_the_network_alone():
    network = build("CNN", 3, 32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    flop_of(network, (1, 32, 32), backward=True)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_part_within_a_part_counts_as_the_outer_one():
    profile = Profile(is_on=True)
    with profile.run("first"), profile.part("evaluation"):
        time.sleep(0.02)
        with profile.part("features"):
            time.sleep(0.02)
    ((_, counts),) = profile._runs
    assert counts["evaluation"] >= 0.04
    assert counts["features"] == 0
    assert counts["seconds"] >= counts["evaluation"]


def test_the_table_is_computed_from_what_was_counted(monkeypatch):
    monkeypatch.setattr("sarship.profiling.peak_rate", lambda *_: 1e12)
    profile, layer = Profile(is_on=True), nn.Linear(10, 5)
    with profile.run("CNN_Fusar"):
        profile.count(3, layer, (10,), backward=True)
        profile.count(4, layer, (10,), backward=False)
    counts = profile._runs[0][1]
    assert counts["flop"] == 3 * 200 + 4 * 100
    counts |= {"seconds": 10.0, "forward": 1.0, "backward": 2.0, "evaluation": 1.0, "writing": 4.0, "flop": 1e12}
    header, row, total, peak = profile.table("cpu", torch.float32).splitlines()
    shares = dict(zip(PARTS, row.split()[2 : 2 + 2 * len(PARTS) : 2], strict=True))
    assert {part: float(share) for part, share in shares.items() if float(share)} == {
        "forward": 10,
        "backward": 20,
        "evaluation": 10,
        "writing": 40,
    }
    assert row.split()[-4:] == ["1", "250", "25", "%"]  # 3 images in 3 seconds, 10^12 operations in 4
    assert total.split()[1:] == row.split()[1:]
    assert peak.endswith("1,000 GFLOP/s")
    assert all(part in header for part in PARTS)


def test_off_it_keeps_nothing():
    with OFF.run("run"), OFF.part("forward"):
        OFF.count(3, nn.Linear(2, 2), (2,), backward=False)
    assert not OFF._runs
    assert not OFF._counts


def test_the_peak_is_above_what_a_network_reaches():
    assert peak_rate("cpu", torch.float32) > 1e9
