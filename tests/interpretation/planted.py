"""A network one of whose units answers to a pattern, and chips that have it at known places."""

import numpy as np
import torch
from torch import nn

from models import ShipNetwork

SIDE, UNITS, DETECTOR = 20, 4, 2
PATTERN = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])  # an x, bright on dark
PLANTED = {3: (5, 7), 11: (14, 2), 12: (9, 9), 26: (1, 17)}  # chip: row and column of its centre


def detector_network() -> ShipNetwork:
    """Unit DETECTOR looks for PATTERN; unit 0 never answers; the others answer to brightness, well or badly."""
    convolution = nn.Conv2d(3, UNITS, 3, padding=1)
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.bias.zero_()
        convolution.bias[0] = -1
        convolution.weight[1] = 1 / 27
        matched = torch.tensor(PATTERN - PATTERN.mean(), dtype=torch.float32)
        convolution.weight[DETECTOR] = matched / 3  # of three bands that are one
        convolution.weight[3, :, 1, 1] = 1 / 3
    features = nn.Sequential(convolution, nn.ReLU(inplace=True))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(UNITS, 2))
    network = ShipNetwork(features, head, "features.1")
    network.scale_input(0.0, 1.0)
    return network.eval()


def planted_chips(count: int = 30, seed: int = 0) -> np.ndarray:
    """(count, SIDE, SIDE) uint8 of dark noise; those of PLANTED have the pattern, each of its own brightness."""
    chips = np.random.default_rng(seed).integers(0, 60, (count, SIDE, SIDE)).astype(np.uint8)
    for rank, (chip, (row, col)) in enumerate(PLANTED.items()):
        chips[chip, row - 1 : row + 2, col - 1 : col + 2] = PATTERN * (250 - 20 * rank)
    return chips
