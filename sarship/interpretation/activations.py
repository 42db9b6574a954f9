"""What layers make of chips: maps of a few, and over all of them how often each unit answers."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sarship.interpretation.drawing import Tile, draw_tiles
from sarship.interpretation.outputs import as_maps, layer_named, outputs_of

PASSING_ON = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Identity)  # show what came before, or less of it


def stage_layers(network: nn.Module, stages: Sequence[int]) -> list[str]:
    """The last layer of each stage of the backbone, the first stage first; layers that only pass on are passed over.

    stages: index of the layer with which each stage begins, as `Backbone` has it.
    """
    layers = list(network.features.named_children())
    names = []
    for begin, end in pairwise([*stages, len(layers)]):
        able = [name for name, layer in layers[begin:end] if not isinstance(layer, PASSING_ON)]
        names += [f"features.{able[-1]}"] if able else []
    return names


class UnitStatistics:
    """Sums over all chips and cells for each unit of a layer; memory does not grow with the chips."""

    def __init__(self):
        self._cells = 0
        self._sum, self._zeros = torch.zeros(()), torch.zeros(())
        self._least, self._largest = torch.tensor(torch.inf), torch.tensor(-torch.inf)

    def add(self, maps: Tensor) -> None:
        """Maps (chips, units, rows, cols) of more chips."""
        values = maps.detach().double().cpu()
        self._cells += values[:, 0].numel()
        self._sum = self._sum + values.sum(dim=(0, 2, 3))
        self._zeros = self._zeros + (values == 0).sum(dim=(0, 2, 3))
        self._least = torch.minimum(self._least, values.amin(dim=(0, 2, 3)))
        self._largest = torch.maximum(self._largest, values.amax(dim=(0, 2, 3)))

    def table(self, layer: str) -> pd.DataFrame:
        """One row a unit: layer, unit, mean, zero_share, least, largest, dead.

        dead: whether it gave the same value everywhere on every chip, which for a unit behind a ReLU is 0.
        """
        columns = {
            "mean": self._sum / self._cells,
            "zero_share": self._zeros / self._cells,
            "least": self._least,
            "largest": self._largest,
            "dead": self._least == self._largest,
        }
        table = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
        table.insert(0, "unit", np.arange(len(table)))
        table.insert(0, "layer", layer)
        return table


def unit_statistics(network: nn.Module, names: Sequence[str], pixels: np.ndarray, batch_size: int) -> pd.DataFrame:
    """The tables of `UnitStatistics` of the named layers, over all chips (chips, rows, cols[, 3]) uint8."""
    statistics = {name: UnitStatistics() for name in names}
    layers = {name: layer_named(network, name) for name in names}
    for _, outputs in outputs_of(network, names, pixels, batch_size, "units"):
        for name, output in outputs.items():
            statistics[name].add(as_maps(output, layers[name], name))
    return pd.concat([statistics[name].table(name) for name in names], ignore_index=True)


def maps_of(network: nn.Module, names: Sequence[str], pixels: np.ndarray, batch_size: int) -> dict[str, np.ndarray]:
    """Maps (chips, units, rows, cols) float32 of each layer: for a few chips, for they all stay in memory."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _, outputs in outputs_of(network, names, pixels, batch_size):
        for name, output in outputs.items():
            found[name].append(as_maps(output, layer_named(network, name), name).float().cpu().numpy())
    return {name: np.concatenate(maps) for name, maps in found.items()}


def most_varied(maps: np.ndarray, count: int) -> np.ndarray:
    """The `count` units whose maps (chips, units, rows, cols) vary most over chips and cells, the most varied first."""
    deviation = maps.std(axis=(0, 2, 3), dtype=np.float64)
    return np.argsort(-deviation, kind="stable")[:count]


def draw_maps(maps: np.ndarray, pixels: np.ndarray, labels: Sequence[str], count: int, path: Path, title: str) -> None:
    """A row a chip: the chip, and the maps of the units that vary most. maps: (chips, units, rows, cols).

    Each unit's maps are scaled alike on all chips, from its least value there to its largest.
    """
    units = most_varied(maps, count)
    least, largest = maps.min(axis=(0, 2, 3)), maps.max(axis=(0, 2, 3))
    extent = np.maximum(largest - least, np.finfo(np.float32).tiny)
    rows = []
    for chip, label, of_chip in zip(pixels, labels, maps, strict=True):
        scaled = (of_chip[units] - least[units, None, None]) / extent[units, None, None]
        maps_shown = zip(units, np.rint(255 * scaled).astype(np.uint8), strict=True)
        tiles = [Tile(shown, f"unit {unit}") for unit, shown in maps_shown]
        rows.append((label, [Tile(chip, "chip"), *tiles]))
    note = f"The {len(units)} of {maps.shape[1]} units that vary most; each from its least (black) to its largest value"
    draw_tiles(path, rows, title, note)


def summary_line(table: pd.DataFrame) -> str:
    """How many units are dead, and how often the others are zero, layer by layer, for the terminal."""
    parts = []
    for layer, units in table.groupby("layer", sort=False):
        zeros = 100 * units["zero_share"].mean()
        parts.append(f"{layer}: {int(units['dead'].sum())} of {len(units)} units dead, {zeros:.0f} % zeros")
    return "; ".join(parts)
