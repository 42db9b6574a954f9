"""Which chips excite each unit of a layer most, and where on the chip.

What a unit looks for shows in what it answers to (Zeiler and Fergus 2014, arXiv:1311.2901; Zhou et al. 2015,
arXiv:1412.6856). A unit whose strongest chips are nearly all of one class is a detector of something in that class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from sarship.interpretation.drawing import Tile, draw_tiles
from sarship.interpretation.outputs import as_maps, layer_named, outputs_of

SHEET_UNITS = 12  # of a sheet, where nobody named units
CHANCE_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class TopChips:
    """The chips that excite each unit most, the strongest first: arrays (k, units), k chips or as many as there are.

    activations: the largest value of the unit's map. chips: index. rows, cols: the cell of the map that has it, the
    first of equal ones. cells: rows and columns of the map.
    constant: (units,) whether every chip excites the unit alike, so that its chips say nothing.
    """

    activations: np.ndarray
    chips: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    cells: tuple[int, int]
    constant: np.ndarray


class RunningTop:
    """Keeps k chips a unit while maps come in, so memory grows with k x units and not with the chips."""

    def __init__(self, k: int):
        self._k = k
        self._values = self._chips = self._places = None  # (at most k, units) each, the strongest first
        self._least = None  # (units,) of all chips
        self._cells = (0, 0)

    def add(self, maps: Tensor, first_chip: int) -> None:
        """Maps (chips, units, rows, cols) of the chips from number `first_chip` on; in the order of the chips.

        Of chips that excite a unit alike, the first keeps its rank.
        """
        self._cells = tuple(maps.shape[2:])
        flat = maps.flatten(2)
        places = flat.argmax(dim=2)  # (chips, units); the first of equal cells
        values = flat.gather(2, places[..., None])[..., 0].float()
        chips = torch.arange(first_chip, first_chip + len(maps), device=maps.device)[:, None].expand_as(places)
        least = values.amin(dim=0)
        if self._values is not None:
            least = torch.minimum(self._least, least)
            values, chips, places = (
                torch.cat(pair)
                for pair in ((self._values, values), (self._chips, chips), (self._places, places))
            )  # fmt: skip
        order = values.sort(dim=0, descending=True, stable=True).indices[: self._k]
        self._values, self._chips, self._places = (column.gather(0, order) for column in (values, chips, places))
        self._least = least

    def result(self) -> TopChips:
        values, chips, places = (column.cpu().numpy() for column in (self._values, self._chips, self._places))
        rows, cols = np.divmod(places, self._cells[1])
        return TopChips(values, chips, rows, cols, self._cells, values[0] == self._least.cpu().numpy())


def top_chips(network: nn.Module, layer_name: str, pixels: np.ndarray, k: int, batch_size: int) -> TopChips:
    """The k chips of (chips, rows, cols[, 3]) uint8 that excite each unit of a layer most. Raises NoSuchLayer."""
    layer, running = layer_named(network, layer_name), RunningTop(k)
    for first_chip, outputs in outputs_of(network, [layer_name], pixels, batch_size, layer_name):
        running.add(as_maps(outputs[layer_name], layer, layer_name), first_chip)
    return running.result()


def purities(top: TopChips, classes: Sequence[str]) -> np.ndarray:
    """(units,) share of the most common class among each unit's chips, NaN where the unit is constant.

    classes: of each chip. Of k chips, 1 / k is the least that can be.
    """
    numbers = pd.factorize(np.asarray(classes))[0][top.chips]  # (k, units)
    counts = np.stack([np.bincount(of_unit).max() for of_unit in numbers.T])
    return np.where(top.constant, np.nan, counts / len(numbers))


def chance_purity(classes: Sequence[str], k: int, seed: int = 0) -> float:
    """The mean purity of k chips drawn at random: what a unit that looks for nothing has."""
    counts = np.unique(np.asarray(classes), return_counts=True)[1]
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(counts, min(k, counts.sum()), CHANCE_DRAWS)
    return float(drawn.max(axis=1).mean() / min(k, counts.sum()))


def top_table(top: TopChips, chips: pd.DataFrame) -> pd.DataFrame:
    """One row a unit and rank: unit, rank, chip, dataset, class, activation, row, col, purity.

    chips: manifest rows, in the order of the chips. row, col: of the cell in the layer's map.
    """
    k, units = top.chips.shape
    chosen = chips.iloc[top.chips.T.ravel()]
    return pd.DataFrame(
        {
            "unit": np.repeat(np.arange(units), k),
            "rank": np.tile(np.arange(1, k + 1), units),
            **{name: chosen[name].to_numpy() for name in ("chip", "dataset", "class")},
            "activation": top.activations.T.ravel(),
            "row": top.rows.T.ravel(),
            "col": top.cols.T.ravel(),
            "purity": np.repeat(purities(top, chips["class"].tolist()), k),
        }
    )


def units_to_show(top: TopChips, count: int = SHEET_UNITS) -> np.ndarray:
    """`count` units spread evenly over those that are not constant; of a layer of constant units, over all."""
    able = np.flatnonzero(~top.constant)
    able = able if len(able) else np.arange(len(top.constant))
    return able[np.unique(np.linspace(0, len(able) - 1, min(count, len(able))).round().astype(int))]


def draw_top(
    top: TopChips, pixels: np.ndarray, classes: Sequence[str], units: Sequence[int], path: Path, title: str
) -> None:
    """A row a unit: its chips, the strongest first, each with the cell that answers. classes: of each chip."""
    shares = purities(top, classes)
    rows_of_map, cols_of_map = top.cells
    rows = []
    for unit in units:
        tiles = []
        for rank, chip in enumerate(top.chips[:, unit]):
            cell = (top.rows[rank, unit] / rows_of_map, top.cols[rank, unit] / cols_of_map)
            box = None if top.cells == (1, 1) else (*cell, 1 / rows_of_map, 1 / cols_of_map)
            tiles.append(Tile(pixels[chip], f"{classes[chip]}\n{top.activations[rank, unit]:.3g}", box=box))
        purity = "the same on all chips" if top.constant[unit] else f"purity {100 * shares[unit]:.0f} %"
        rows.append((f"unit {unit}\n{purity}", tiles))
    cell = "" if top.cells == (1, 1) else f"; square: the cell of the {rows_of_map} x {cols_of_map} map that has it"
    draw_tiles(path, rows, title, f"Under each chip: class and largest activation{cell}")


def summary_line(top: TopChips, classes: Sequence[str]) -> str:
    """Mean purity beside that of random chips, for the terminal."""
    shares = purities(top, classes)
    k, units = top.chips.shape
    found = f"mean purity {100 * np.nanmean(shares):.0f} %" if (~top.constant).any() else "no purity"
    return (
        f"{units} units, {k} chips each: {found} (random chips {100 * chance_purity(classes, k):.0f} %), "
        f"{int(top.constant.sum())} units the same on all chips"
    )
