"""Training sets made smaller or unequal on purpose, to see what that does. Validation and test sets stay whole."""

import numpy as np


def thinned(
    labels: np.ndarray, classes: int, seed: int, train_chips: int | None = None, imbalance: float | None = None
) -> np.ndarray:
    """Indices of the chips to train on, in their order; without a limit, of all.

    labels: (chips,) 0..classes-1. train_chips: keep at most so many of each class. imbalance: of what is left, the
    first class keeps all, the last 1/imbalance, and the shares between fall geometrically: the long tail of Cui, Jia,
    Lin, Song & Belongie 2019, "Class-balanced loss based on effective number of samples", section 5.1, and of Cao, Wei,
    Gaidon, Arechiga & Ma 2019, "Learning imbalanced datasets with label-distribution-aware margin loss", section 4.
    Rounded; a class that has chips keeps one.

    Each class has one order, which the seed draws, and keeps the first chips of it: the fewer are among the more.
    """
    kept = []
    for label in range(classes):
        members = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        count = len(members) if train_chips is None else min(train_chips, len(members))
        if imbalance is not None and count:
            count = max(1, round(count * tail_share(label, classes, imbalance)))
        kept.append(members[:count])
    return np.sort(np.concatenate(kept))


def tail_share(label: int, classes: int, imbalance: float) -> float:
    """The share of its chips that class number `label` of `classes` keeps: 1 of the first, 1/imbalance of the last."""
    return imbalance ** (-label / max(1, classes - 1))
