"""Is a chip unlike the training data? How far its features lie from those of training chips.

A network answers for whatever it is shown, noise and photographs too, and often with much confidence. So a sample of
the training chips' features stays in the model file, and a new chip whose features lie further from its nearest ones
than those of almost all held-out chips is marked.

Sun, Ming, Zhu & Li, "Out-of-distribution detection with deep nearest neighbors", ICML 2022, arXiv:2204.06507. Other
than there, features are those behind the backbone's pooling, which every network here has and which frozen backbones
have kept, and the distance is the mean over the nearest neighbours, which one odd training chip moves less than the
distance to the last of them.

What the mark is not: a chip without it can be answered wrongly, and one with it rightly. By construction BEYOND of the
chips that are like the training data have it, too.
"""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sarship.device import Device
from sarship.features import FeatureStore, pooled
from sarship.stored_chips import Chips

REFERENCE_CHIPS = 512  # a sample: Sun et al. find 1 % of ImageNet's training images enough
NEIGHBOURS = 5
BEYOND = 0.05  # share of chips like the training data beyond the threshold, as in Sun et al.
LEFT_OUT_SHARE = 0.2  # of the training chips, for the threshold, where there is no val split
WIDEST = 4096  # numbers kept of a chip, so that 512 chips take 4 MB at most


@dataclass(frozen=True, eq=False)
class Familiarity:
    """Where training chips lie, and how far from them is unlike them.

    reference: (chips, width) float16, features of training chips, each of length one. threshold: the largest distance
    that is not marked. split, chips: of how many chips of which split it is the percentile: "val", or "train" where
    there was no val split.
    """

    reference: Tensor
    threshold: float
    split: str
    chips: int

    def distances(self, features: Tensor) -> np.ndarray:
        """(chips,) float64, 0 (the same) to 2 (opposite): mean cosine distance to the NEIGHBOURS nearest references.

        features: (chips, width, ...) as a network's `pooled_features` gives them.
        """
        return _distances(unit_vectors(features), self.reference)

    def is_unlike(self, distances: np.ndarray) -> np.ndarray:
        """(chips,) bool of (chips,) distances."""
        return distances > self.threshold

    @property
    def expected_share(self) -> float:
        """Share of new chips, drawn as those of the threshold were, that lie beyond it: BEYOND, more if those were few.

        Of n + 1 chips in random order, the last is the farthest one time in n + 1, whatever their distances are.
        """
        return max(BEYOND, 1 / (self.chips + 1))

    @property
    def caveat(self) -> str:
        """A sentence to go with every mark."""
        share = f"{100 * self.expected_share:.3g} %"
        if self.split == "val":
            return f"By construction, {share} of chips that are like the training data are marked as well."
        return (
            f"By construction, {share} of chips that are like the training data are marked as well, and likely more: "
            "there was no val split, and the network has seen the chips that the threshold comes from."
        )

    def to_state(self) -> dict:
        """Tensors and plain values only, for a model file."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict) -> "Familiarity":
        return cls(**state)


def fit_familiarity(
    network: nn.Module,
    train_pixels: Chips,
    val_pixels: Chips,
    device: Device,
    seed: int,
    store: FeatureStore | None = None,
) -> Familiarity:
    """Pass REFERENCE_CHIPS training chips, drawn by `seed`, and all val chips through the network, once.

    network: a ShipNetwork on `device`, in evaluation mode afterwards. train_pixels, val_pixels: (chips, rows,
    cols[, 3]) uint8, as no augmentation has touched them; without val chips, training chips that are left out of the
    reference set the threshold. store: where the features of a constant backbone are kept, if they are. Raises
    ValueError for fewer than two training chips without val chips, and for none at all.
    """
    network.eval()
    order = np.random.default_rng(seed).permutation(len(train_pixels))
    left_out = 0 if len(val_pixels) else max(1, round(LEFT_OUT_SHARE * len(order)))
    count = min(REFERENCE_CHIPS, len(order) - left_out)
    if count < 1:
        raise ValueError(f"{len(order)} training chips, {len(val_pixels)} val chips: no reference to be had")
    reference = _vectors_of(network, train_pixels[np.sort(order[:count])], device, store).half()
    others = train_pixels[np.sort(order[count : count + REFERENCE_CHIPS])] if left_out else val_pixels
    distances = _distances(_vectors_of(network, others, device, store), reference)
    # Of the usual quantiles, only Weibull's (the kth of n at k / (n + 1)) leaves BEYOND of further chips above it.
    threshold = float(np.quantile(distances, 1 - BEYOND, method="weibull"))
    return Familiarity(reference, threshold, "train" if left_out else "val", len(others))


def unit_vectors(features: Tensor) -> Tensor:
    """(chips, width) float32 of length one on the CPU, of pooled features (chips, width[, rows, cols]).

    What a pooling has left of an extent is averaged; so are neighbours in vectors of more than WIDEST numbers, which
    only the published CNN's head has: a flattened map.
    """
    vectors = features.float().cpu()
    if vectors.dim() > 2:
        vectors = vectors.flatten(2).mean(2)
    if vectors.shape[1] > WIDEST:
        vectors = nn.functional.adaptive_avg_pool1d(vectors, WIDEST)
    return nn.functional.normalize(vectors)


def _vectors_of(network: nn.Module, pixels: Chips, device: Device, store: FeatureStore | None) -> Tensor:
    """Unit vectors (chips, width) of chips (chips, rows, cols[, 3]) uint8."""
    at_once = device.chips_at_once(pixels.shape[1] * pixels.shape[2])
    if store is not None and network.is_constant_backbone:
        kept = store.features(network, pixels, (0,), device)
        indices = torch.arange(len(pixels), device=kept.indices_on).split(at_once)
        return torch.cat([unit_vectors(kept.batch(torch.zeros_like(some), some)) for some in indices])
    batches = (torch.from_numpy(pixels[start : start + at_once]) for start in range(0, len(pixels), at_once))
    return torch.cat([unit_vectors(pooled(network, batch, 0, device)) for batch in batches])


def _distances(vectors: Tensor, reference: Tensor) -> np.ndarray:
    """(chips,) of unit vectors (chips, width) to references (references, width) float16."""
    cosines = vectors @ nn.functional.normalize(reference.float()).T  # (chips, references); float16 rounds lengths
    nearest = cosines.topk(min(NEIGHBOURS, len(reference)), dim=1).values
    return (1 - nearest.double().mean(dim=1)).clamp(min=0).numpy()
