"""What the first layer looks for, as pictures of its kernels; and the size of every filter, to find dead ones."""

from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from sarship.figures import new_figure, save_figure
from sarship.interpretation.outputs import NoSuchLayer

# A filter that training has given up shrinks towards nothing under weight decay, and stays far below its neighbours. An
# own choice: a hundredth of the layer's median leaves room for every filter that does something.
DEAD_SHARE = 0.01
TILES_ACROSS = 1.6  # as many columns as rows times this
GAP = 1  # pixels of kernels, between kernels
LEAST_KERNEL_PIXELS = 4  # a gap of one pixel beside kernels of 1 x 1 would be half the picture


def first_kernels(network: nn.Module) -> tuple[str, np.ndarray]:
    """Name and weights (filters, bands, rows, cols) of the first convolution of the backbone; of ViT, its projection.

    Raises NoSuchLayer for a backbone without a convolution.
    """
    for name, layer in network.features.named_modules():
        if isinstance(layer, nn.Conv2d):
            return f"features.{name}", layer.weight.detach().cpu().numpy()
    raise NoSuchLayer("the backbone has no convolution whose filters could be shown")


def filter_norms(network: nn.Module) -> pd.DataFrame:
    """One row a filter of each convolution and dense layer: layer, type, filter, norm, of_median, dead.

    Of attention, the filters are queries, keys and values, in this order; its outputs are a dense layer of their own.
    norm: Euclidean, of the filter's weights without its bias. of_median: the norm as a share of its layer's median.
    dead: below DEAD_SHARE of it. In front of a batch norm a filter's size says nothing but this; whether a unit ever
    answers is for activations.py to say.
    """
    rows = []
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.MultiheadAttention):
            weight = layer.in_proj_weight if isinstance(layer, nn.MultiheadAttention) else layer.weight
            norms = weight.detach().float().flatten(1).norm(dim=1).cpu().numpy()
            median = float(np.median(norms))
            share = norms / median if median else np.zeros_like(norms)
            kind = type(layer).__name__
            of_layer = zip(norms, share, strict=True)
            rows += [(name, kind, i, norm, ratio, ratio < DEAD_SHARE) for i, (norm, ratio) in enumerate(of_layer)]
    return pd.DataFrame(rows, columns=["layer", "type", "filter", "norm", "of_median", "dead"])


def kernel_picture(kernels: np.ndarray, largest: float) -> np.ndarray:
    """All kernels side by side, 0..1, (rows, cols, 3) with white gaps; grey is no weight.

    kernels: (filters, 1 or 3, rows, cols). largest: the weight that is drawn as white, and as black with a minus: one
    for all, so that they can be compared.
    """
    across = int(np.ceil(np.sqrt(len(kernels) * TILES_ACROSS)))
    scaled = 0.5 + kernels.transpose(0, 2, 3, 1) / (2 * largest)
    times = -(-LEAST_KERNEL_PIXELS // min(kernels.shape[2:]))
    scaled = scaled.repeat(times, axis=1).repeat(times, axis=2)
    down, right = scaled.shape[1] + GAP, scaled.shape[2] + GAP
    picture = np.ones((-(-len(kernels) // across) * down - GAP, across * right - GAP, 3))
    for index, kernel in enumerate(scaled):
        top, left = index // across * down, index % across * right
        picture[top : top + down - GAP, left : left + right - GAP] = kernel  # one band fills all three
    return picture


def draw_filters(name: str, kernels: np.ndarray, path: Path, title: str) -> None:
    """The first layer's kernels in colour, and their sum over the bands, which is all that a grey chip gets to see."""
    filters, bands, rows, cols = kernels.shape
    kinds = [(kernels.sum(axis=1, keepdims=True), "sum over the bands: what a grey chip meets")]
    if bands == 3:
        kinds.insert(0, (kernels, "bands as red, green, blue: what a colour chip meets"))
    largest = [max(float(np.abs(shown).max()), np.finfo(np.float32).tiny) for shown, _ in kinds]
    pictures = [kernel_picture(shown, value) for (shown, _), value in zip(kinds, largest, strict=True)]
    figure = new_figure(1 + 5.5 * len(kinds), 1.1 + 5.5 * pictures[0].shape[0] / pictures[0].shape[1])
    places = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, picture, value, (_, meaning) in zip(places, pictures, largest, kinds, strict=True):
        axes.imshow(picture, interpolation="none")
        axes.set_title(f"{meaning}\nblack −{value:.3g}, grey 0, white {value:.3g} for all", fontsize="small")
        axes.set_axis_off()
    figure.suptitle(f"{title}: {filters} filters of {rows} x {cols} in {name}", fontsize="medium")
    save_figure(figure, path)


def summary_line(norms: pd.DataFrame) -> str:
    """How many filters are dead, and where, for the terminal."""
    dead = norms[norms["dead"]].groupby("layer", sort=False).size()
    found = ", ".join(f"{count} in {layer}" for layer, count in dead.items()) or "none"
    return f"{len(norms)} filters in {norms['layer'].nunique()} layers; below 1 % of their layer's median norm: {found}"
