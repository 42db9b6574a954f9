"""How far labels can be told apart in a layer's outputs: k nearest neighbours, each chip judged by others.

A picture of t-SNE shows clusters where there are none and hides distances (Wattenberg, Viegas and Johnson, How to use
t-SNE effectively, Distill 2016). This figure looks at the outputs themselves: whether the chips nearest to a chip bear
its label (Cover and Hart, Nearest neighbor pattern classification, IEEE Trans. Inf. Theory 13, 1967).
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from sarship.scores import INTERVAL_PERCENT

NEIGHBOURS = 10
CHIPS_AT_ONCE = 256  # of the matrix of distances, a row each
NEARER_COUNTS = 1e-3  # beside a vote of 1: of labels with as many votes, the one with the nearer chips wins


def wilson(right: int, chips: int) -> tuple[float, float]:
    """95 % interval of a share, 0..1 (Wilson, Probable inference, JASA 22, 1927); NaN without chips."""
    if chips == 0:
        return np.nan, np.nan
    interval = binomtest(int(right), int(chips)).proportion_ci(INTERVAL_PERCENT / 100, method="wilson")
    return interval.low, interval.high


def neighbour_labels(
    features: np.ndarray, labels: np.ndarray, owners: Sequence[str], k: int = NEIGHBOURS
) -> np.ndarray:
    """(chips,) the label that most of the k nearest other chips bear; -1 where there are no others.

    features: (chips, width). labels: (chips,) from 0 on. owners: the vessel of each chip, "" where unknown: chips of
    one vessel are no neighbours of each other, for they look alike whatever the layer does. Distances are Euclidean.
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    squares = (centred**2).sum(axis=1)
    vessels = np.array([owner or f"\0{index}" for index, owner in enumerate(owners)])
    weights = 1 + NEARER_COUNTS * 0.5 ** np.arange(min(k, len(features)))
    answers = np.empty(len(features), np.int64)
    for start in range(0, len(features), CHIPS_AT_ONCE):
        block = slice(start, start + CHIPS_AT_ONCE)
        distances = squares[block, None] + squares - 2 * centred[block] @ centred.T
        distances[vessels[block, None] == vessels] = np.inf  # the chip itself is one of them
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
        counted = np.where(np.isinf(np.take_along_axis(distances, nearest, axis=1)), 0, weights)
        votes = np.zeros((len(nearest), labels.max() + 1))
        np.add.at(votes, (np.arange(len(nearest))[:, None], labels[nearest]), counted)
        answers[block] = np.where(votes.any(axis=1), votes.argmax(axis=1), -1)
    return answers


def told_apart(features: np.ndarray, names: Sequence[str], owners: Sequence[str]) -> dict[str, float] | None:
    """How far the labels `names` (chips,) can be told apart: groups, accuracy, low, high, balanced_accuracy, chance.

    balanced_accuracy: the mean over labels of the share of their chips that is right; it is 1 / labels (`chance`) where
    nothing tells them apart, however unequal they are, and 1 where everything does. Chips without any other vessel's
    are left out. None where all chips bear one label.
    """
    known, labels = np.unique(np.asarray(names), return_inverse=True)
    if len(known) < 2:
        return None
    answers = neighbour_labels(features, labels, owners)
    judged = answers >= 0
    right = (answers == labels)[judged]
    recalls = [right[labels[judged] == label].mean() for label in np.unique(labels[judged])]
    low, high = wilson(right.sum(), len(right))
    return {
        "groups": len(known),
        "accuracy": float(right.mean()) if len(right) else np.nan,
        "low": low,
        "high": high,
        "balanced_accuracy": float(np.mean(recalls)) if recalls else np.nan,
        "chance": 1 / len(known),
    }
