"""Change maps by a small network that learns from nothing but the pair's own confident pixels.

In the line of Gao, Dong, Li and Xu, Automatic change detection in synthetic aperture radar images based on PCANet, IEEE
GRSL 13(12), 2016, and Qu, Gao, Dong, Du and Li, Change detection in synthetic aperture radar images using a dual-domain
network, IEEE GRSL 19, 2022: clusterings sort pixels into changed, unchanged and unsure; a classifier of the patches
around pixels is trained on the first two and decides on all. What is different here:

    - confident is what PCA-k-means says alike of the log-ratio as it is and smoothed with two widths; they cluster one
      difference image by hierarchical fuzzy c-means;
    - the network is convolutional, so that all patches of an image share what they have in common, and sees the ratio
      of the two images, signed and as local means, not the images themselves;
    - several networks with different starting weights decide together, as one alone depends on them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.morphology import remove_small_objects
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sarship.change.pairs.clustering import pca_kmeans
from sarship.change.pairs.ratios import gauss_ratio, signed_log_ratio
from sarship.change.pairs.reading import Pair
from sarship.command import UserError

UNCHANGED, UNSURE, CHANGED = 0, 1, 2
# The clusterings that must agree: standard deviation of the smoothing, side of the neighbourhood. Wide ones are sure of
# areas; the narrow one leaves thin lines and edges to the network.
CLUSTERINGS_PX = ((0, 5), (1, 3), (1, 5), (2, 5))
WIDTH, LAYERS = 16, 3
REACH_PX = LAYERS  # to each side: a patch has 7 x 7 pixels
NETWORKS = 3
STEPS, LEARNING_RATE, WEIGHT_DECAY = 60, 1e-2, 1e-3
# Pixels each way that a step of training, or a call of the trained network, sees of a larger image: memory and time of
# a step then have a bound. The known pairs are smaller.
WINDOW_PX = 384
# One thread: how sums are split over threads is in the last bits of the result, and layers this small gain little from
# a second one, which waits five times as long as it works where other programs want the processor, too.
THREADS = 1


@dataclass(frozen=True)
class Learning:
    """What can be chosen. seed: of clusterings, weights and order; min_pixels: of a connected change that is kept."""

    seed: int = 1
    min_pixels: int = 21


def learned_map(pair: Pair, learning: Learning) -> np.ndarray:
    """(rows, cols) bool, True where there is change. The same pair and seed give the same map.

    Raises UserError if the clusterings agree on no changed pixel, or on no unchanged one.
    """
    classes = confident_classes(pair, learning.seed)
    for wanted, name in ((CHANGED, "changed"), (UNCHANGED, "unchanged")):
        if not (classes[pair.valid] == wanted).any():
            raise UserError(f"--method learned: no pixel is surely {name} in this pair; use --method pca-kmeans")
    inputs = torch.from_numpy(np.pad(features(pair), ((0, 0), (REACH_PX,) * 2, (REACH_PX,) * 2), mode="reflect"))
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        seeds = np.random.SeedSequence(learning.seed).generate_state(NETWORKS)
        chances = [_chances(_trained(inputs, classes, int(seed)), inputs) for seed in seeds]
    finally:
        torch.set_num_threads(before)
    changed = (np.mean(chances, axis=0) > 0.5) & pair.valid
    # 20 pixels and fewer are taken for speckle in the published code of the PCANet paper, too.
    return remove_small_objects(changed, max_size=learning.min_pixels - 1)


def confident_classes(pair: Pair, seed: int) -> np.ndarray:
    """(rows, cols) of CHANGED, UNCHANGED and UNSURE; where there is no data UNSURE."""
    ratio = signed_log_ratio(pair)
    votes = np.zeros(ratio.shape, int)
    for sigma, side in CLUSTERINGS_PX:
        smoothed = gaussian_filter(ratio, sigma) if sigma else ratio
        votes += pca_kmeans(np.abs(smoothed), pair.valid, seed, side)
    classes = np.where(votes == len(CLUSTERINGS_PX), CHANGED, np.where(votes == 0, UNCHANGED, UNSURE))
    return np.where(pair.valid, classes, UNSURE)


def features(pair: Pair) -> np.ndarray:
    """(2, rows, cols) float32: the signed log-ratio over its root mean square, the Gauss-ratio over its deviation."""
    ratio, local = signed_log_ratio(pair), gauss_ratio(pair)
    scaled = ratio / np.sqrt(np.mean(ratio[pair.valid] ** 2)), local / local[pair.valid].std()
    return np.stack(scaled).astype(np.float32)


class _PatchNetwork(nn.Sequential):
    """(n, 2, rows + 6, cols + 6) to logits of change, (n, rows, cols): each pixel from the 7 x 7 patch around it."""

    def __init__(self):
        layers, wide = [], 2
        for _ in range(LAYERS):
            layers += [nn.Conv2d(wide, WIDTH, 3, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()]
            wide = WIDTH
        super().__init__(*layers, nn.Conv2d(WIDTH, 1, 1), nn.Flatten(0, 1))


def _dates_swapped(inputs: Tensor) -> Tensor:
    """The features of the pair in the other order: (..., 2, rows, cols)."""
    return inputs * torch.tensor([-1.0, 1.0])[:, None, None]


def _trained(inputs: Tensor, classes: np.ndarray, seed: int) -> nn.Module:
    """A network that knows the confident pixels. inputs: (2, rows + 6, cols + 6); classes: (rows, cols)."""
    draws = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _PatchNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS, pct_start=0.2)
    labels, sure = torch.from_numpy(classes == CHANGED).float(), torch.from_numpy(classes != UNSURE).float()
    for step in range(STEPS):
        rows, cols = _window(classes, (CHANGED, UNCHANGED)[step % 2], draws)
        seen = inputs[:, rows.start : rows.stop + 2 * REACH_PX, cols.start : cols.stop + 2 * REACH_PX]
        turn = _random_turn(draws)
        logits = network(turn(_dates_swapped(seen) if draws.random() < 0.5 else seen)[None])[0]
        losses = binary_cross_entropy_with_logits(logits, turn(labels[rows, cols]), reduction="none")
        weights = turn(sure[rows, cols])
        optimizer.zero_grad()
        ((losses * weights).sum() / weights.sum()).backward()
        optimizer.step()
        schedule.step()
    return network


def _window(classes: np.ndarray, wanted: int, draws: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns to look at, around some pixel of the wanted class: all of an image that is small enough."""
    if max(classes.shape) <= WINDOW_PX:
        return slice(0, classes.shape[0]), slice(0, classes.shape[1])
    places = np.flatnonzero(classes == wanted)
    middle = np.unravel_index(places[draws.integers(len(places))], classes.shape)
    starts = [
        min(max(at - WINDOW_PX // 2, 0), max(n - WINDOW_PX, 0)) for at, n in zip(middle, classes.shape, strict=True)
    ]
    return tuple(
        slice(int(start), int(start) + min(WINDOW_PX, n)) for start, n in zip(starts, classes.shape, strict=True)
    )


def _random_turn(draws: np.random.Generator):
    """One of the eight rotations and reflections, as a function of (..., rows, cols)."""
    quarters, is_mirrored = int(draws.integers(4)), bool(draws.integers(2))

    def turn(image: Tensor) -> Tensor:
        turned = torch.rot90(image, quarters, (-2, -1))
        return turned.flip(-1) if is_mirrored else turned

    return turn


def _chances(network: nn.Module, inputs: Tensor) -> np.ndarray:
    """(rows, cols), 0..1: chance of change, the mean over both orders of the dates."""
    return np.mean([_chances_in_order(network, each) for each in (inputs, _dates_swapped(inputs))], axis=0)


@torch.no_grad()
def _chances_in_order(network: nn.Module, inputs: Tensor) -> np.ndarray:
    """(rows, cols), 0..1, with the statistics of the whole image in the batch norms.

    In training they are those of one order at a time, and the running ones lag behind: STEPS are few.
    """
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over the windows
    network.train()
    for _, _, seen in _tiles(inputs):
        network(seen[None])
    network.eval()
    chances = np.empty([side - 2 * REACH_PX for side in inputs.shape[1:]], np.float32)
    for rows, cols, seen in _tiles(inputs):
        chances[rows, cols] = torch.sigmoid(network(seen[None]))[0].numpy()
    return chances


def _tiles(inputs: Tensor):
    """Rows and columns of each window of the image, and what the network needs to see for it."""
    rows, cols = (side - 2 * REACH_PX for side in inputs.shape[1:])
    for top in range(0, rows, WINDOW_PX):
        for left in range(0, cols, WINDOW_PX):
            bottom, right = min(top + WINDOW_PX, rows), min(left + WINDOW_PX, cols)
            seen = inputs[:, top : bottom + 2 * REACH_PX, left : right + 2 * REACH_PX]
            yield slice(top, bottom), slice(left, right), seen
