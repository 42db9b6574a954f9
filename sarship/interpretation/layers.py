"""What each layer of a network costs: output shape, parameters, multiply-adds, and memory there and back.

Names, types, output shapes and parameters are torchinfo's, which gets them right. Two things torchinfo 1.8 gets wrong
for networks of this project, so they are counted here:

multiply_adds    torchinfo takes every weight outside a convolution once for each chip. So a dense layer over tokens or
                 over a map (ViT, ConvNeXt) comes out too small by the number of tokens or cells, attention comes out as
                 nothing at all, and biases and the scales of normalisation count as products. Here every product of
                 matrices and every convolution is counted as PyTorch's own counter sees it computed, two operations as
                 one multiply-add. Additions alone (biases, sums), normalisation, activations and pooling are none.
bytes            torchinfo's "forward/backward pass size" is twice the outputs of the layers that have weights, whether
                 they are kept or not. Here one pass in training mode is watched:

    output_bytes      what the layer's output takes in memory of its own; 0 where the layer works in place, or where
                      its output is its input in another shape
    kept_bytes        what autograd holds on to from the layer until the way back has come to it: inputs, outputs,
                      masks, indices. Each block of memory is counted once, with the first layer that saves it. Weights
                      are not among it, and what is frozen keeps nothing
    recomputed_bytes  the same of layers at the input that `ShipNetwork.recomputed` names: they keep nothing but their
                      input, and these bytes come into being when the way back has nearly arrived and the others are
                      free again

Bytes are those of one chip in float32, as the CPU's kernels keep them (a dropout mask takes four bytes a number there,
one on CUDA): the difference between a batch of three and one of two, so that what does not grow with the batch (the
means of batch norm) is left out. The pass runs on tensors without data and takes no memory itself.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchinfo
from torch import Tensor, UntypedStorage, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode
from torchinfo.layer_info import LayerInfo

from sarship.figures import BLUE, GREEN, VERMILION, new_figure, save_figure

COLUMNS = (
    "layer", "type", "output_shape", "parameters", "multiply_adds", "output_bytes", "kept_bytes", "recomputed_bytes",
)  # fmt: skip
FIGURES = COLUMNS[3:]
MOST_BARS = 40


def layer_costs(network: nn.Module, image_size: int) -> pd.DataFrame:
    """One row a layer, in the order in which chips go through, with COLUMNS: counts and bytes of one chip.

    network: a ShipNetwork; it stays as it is. A layer is what has no layers in it, or does something besides them.
    """
    hollow = copy.deepcopy(network).to("meta")
    hollow.drifting = True  # frozen layers in training mode, too: in the other, attention is one block to every counter
    hollow.train()
    with torch.device("meta"):
        described = _described(hollow, image_size)
    # Tensors without data that pass for those of a CPU: on "meta", attention takes a kernel that no device takes.
    with FakeTensorMode(allow_non_fake_inputs=True):
        hollow.to_empty(device="cpu")
        few, more = (_pass_through(hollow, chips, image_size) for chips in (2, 3))
    rows = []
    for name, (kind, shape, parameters, is_leaf) in described.items():
        counted = [more[name][what] - few[name][what] for what in ("flop", *FIGURES[2:])]
        counted[0] //= 2
        if is_leaf or parameters or any(counted):
            rows.append((name, kind, " x ".join(map(str, shape)), parameters, *counted))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _described(network: nn.Module, image_size: int) -> dict[str, tuple[str, list[int], int, bool]]:
    """Type, output shape, parameters of its own, and whether it has no layers in it, of each layer that is used."""
    found: list[LayerInfo] = torchinfo.summary(
        network, input_data=_chips(2, image_size), mode="train", verbose=0
    ).summary_list
    names = {id(module): name for name, module in network.named_modules()}
    described = {}
    for info in found:
        name = names.get(info.layer_id, "")
        if name and name not in described and info.executed:  # a layer that is used twice is there once
            parameters = info.num_params if info.is_leaf_layer else max(info.leftover_params(), 0)
            described[name] = info.class_name, info.output_size[1:], parameters, info.is_leaf_layer
    return described


def _chips(count: int, image_size: int) -> Tensor:
    return torch.zeros(count, 1, image_size, image_size)


@dataclass
class _Frame:
    """A layer at work. flop: what was counted before it began; inner: what the layers in it did."""

    name: str
    flop: int
    inner: int = 0


@dataclass
class _Watched:
    """What was seen in a pass. saves: layer and block of memory, in the order in which autograd took hold of them.

    known: blocks by id; they are held here, so that no other gets their id.
    """

    counter: FlopCounterMode
    known: dict[int, UntypedStorage]
    own: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    frames: list[_Frame] = field(default_factory=lambda: [_Frame("", 0)])
    saves: list[tuple[str, UntypedStorage]] = field(default_factory=list)

    def enter(self, name: str) -> Callable:
        return lambda module, inputs: self.frames.append(_Frame(name, self.counter.get_total_flops()))

    def leave(self, name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple, output) -> None:
            frame = self.frames.pop()
            done = self.counter.get_total_flops() - frame.flop
            self.frames[-1].inner += done
            self.own[name]["flop"] += done - frame.inner
            for tensor in output if isinstance(output, tuple) else (output,):
                if isinstance(tensor, Tensor) and self.is_new(tensor.untyped_storage()):
                    self.own[name]["output_bytes"] += tensor.untyped_storage().nbytes()

        return hook

    def is_new(self, block: UntypedStorage) -> bool:
        is_new = _key(block) not in self.known
        self.known[_key(block)] = block
        return is_new

    def save(self, tensor: Tensor) -> None:
        self.saves.append((self.frames[-1].name, tensor.untyped_storage()))


def _key(block: UntypedStorage) -> int:
    return block._cdata  # the address of the block itself; what it holds has none here


def _pass_through(network: nn.Module, chips: int, image_size: int) -> dict[str, dict[str, int]]:
    """Operations and bytes of each layer for so many chips, without the layers in it."""
    weights = {_key(tensor.untyped_storage()) for tensor in (*network.parameters(), *network.buffers())}
    with FlopCounterMode(display=False) as counter:
        watched = _Watched(counter, {})
        with _hooks(network, watched), _nothing_recomputed(network):
            inputs: list[Tensor] = []
            handle = network.features[0].register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
            with saved_tensors_hooks(watched.save, _never):
                network(_chips(chips, image_size))
            handle.remove()
    saves = [(name, block) for name, block in watched.saves if _key(block) not in weights]
    _count_saves(watched.own, saves, _recomputed(network), inputs[0].untyped_storage())
    return watched.own


def _never(packed: None) -> Tensor:
    raise RuntimeError("there is no way back here")


@contextmanager
def _hooks(network: nn.Module, watched: _Watched) -> Iterator[None]:
    with ExitStack() as stack:
        for name, module in network.named_modules():
            if name:
                stack.callback(module.register_forward_pre_hook(watched.enter(name)).remove)
                stack.callback(module.register_forward_hook(watched.leave(name)).remove)
        yield


@contextmanager
def _nothing_recomputed(network: nn.Module) -> Iterator[None]:
    """Within, every layer keeps what it saves: what autograd's checkpoint would throw away is not to be seen."""
    recomputed, network.recomputed = network.recomputed, 0
    try:
        yield
    finally:
        network.recomputed = recomputed


def _recomputed(network: nn.Module) -> tuple[str, ...]:
    """Names of the layers that are computed again on the way back."""
    if network.frozen_layers >= network.recomputed:
        return ()  # as `ShipNetwork` has it: what learns lies behind them
    return tuple(f"features.{name}" for name, _ in list(network.features.named_children())[: network.recomputed])


def _count_saves(
    own: dict[str, dict[str, int]],
    saves: list[tuple[str, UntypedStorage]],
    recomputed: tuple[str, ...],
    taken_in: UntypedStorage,
) -> None:
    """Add kept_bytes and recomputed_bytes to each layer; taken_in: what goes into the first layer."""
    again = [(name, block) for name, block in saves if _is_in(name, recomputed)]
    kept = [(name, block) for name, block in saves if not _is_in(name, recomputed)]
    if recomputed:
        kept.insert(0, (recomputed[0], taken_in))
    counted: set[int] = set()
    for column, of_column in (("kept_bytes", kept), ("recomputed_bytes", again)):
        for name, block in of_column:
            if _key(block) not in counted:
                counted.add(_key(block))
                own[name][column] += block.nbytes()


def _is_in(name: str, layers: tuple[str, ...]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def grouped(costs: pd.DataFrame, most: int = MOST_BARS) -> pd.DataFrame:
    """The figures summed over layers whose names begin alike, with as many parts of the name as `most` groups allow.

    Groups that cost nothing are left out. index: what the names have in common, and the type of a layer by itself.
    """
    parts = costs["layer"].str.split(".")
    for depth in range(parts.str.len().max(), 0, -1):
        names = parts.str[:depth].str.join(".")
        summed = costs.groupby(names, sort=False)[list(FIGURES)].sum()
        summed = summed[(summed > 0).any(axis=1)]
        if len(summed) <= most:
            break
    alone = costs[(names == costs["layer"]) & ~names.duplicated(keep=False)]
    return summed.rename(index={row.layer: f"{row.layer} {row.type}" for row in alone.itertuples()})


def draw_costs(costs: pd.DataFrame, path: Path, title: str) -> None:
    """Bars of where parameters, multiply-adds and memory are, the layer next to the chip on top."""
    groups = grouped(costs)
    places = np.arange(len(groups))
    figure = new_figure(12, 1.6 + 0.21 * len(groups))
    parameters, products, memory = figure.subplots(1, 3, sharey=True)
    for axes, column, colour, name in (
        (parameters, "parameters", BLUE, "Parameters (million)"),
        (products, "multiply_adds", VERMILION, "Multiply-adds a chip (million)"),
    ):
        bars = axes.barh(places, groups[column] / 1e6, color=colour)
        axes.bar_label(bars, _percentages(groups[column]), fontsize="x-small", padding=2)
        axes.set_xlabel(name)
    kept, again = groups["kept_bytes"] / 2**20, groups["recomputed_bytes"] / 2**20
    memory.barh(places - 0.2, groups["output_bytes"] / 2**20, 0.4, color=BLUE, label="outputs, on the way there")
    memory.barh(places + 0.2, kept, 0.4, color=VERMILION, label="kept for the way back")
    if again.any():
        memory.barh(places + 0.2, again, 0.4, left=kept, color=GREEN, hatch="////", label="computed again instead")
    memory.set_xlabel("Memory a chip, float32 (MiB)")
    parameters.set_yticks(places, groups.index, fontsize="small")
    parameters.set_ylim(len(groups) - 0.4, -0.6)
    for axes in (parameters, products, memory):
        axes.margins(x=0.15)
        axes.grid(axis="x", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*memory.get_legend_handles_labels(), loc="outside lower right", ncols=3, frameon=False)
    figure.suptitle(title)
    save_figure(figure, path)


def _percentages(values: pd.Series) -> list[str]:
    shares = 100 * values / max(values.sum(), 1)
    return [f"{share:.0f} %" if share >= 1 else "" for share in shares]


def summary_line(costs: pd.DataFrame) -> str:
    """The sums over all layers, for the terminal."""
    total = costs[list(FIGURES)].sum()
    kept, again = total["kept_bytes"] / 2**20, total["recomputed_bytes"] / 2**20
    return (
        f"{total['parameters']:,} parameters, {total['multiply_adds'] / 1e9:.2f} G multiply-adds; a chip's outputs "
        f"{total['output_bytes'] / 2**20:.1f} MiB, kept for the way back {kept:.1f} MiB, computed again {again:.1f} MiB"
    )
