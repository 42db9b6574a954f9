"""The training losses, and the one table of their names. A new loss is one function and one line in LOSSES."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, labels: Tensor, class_counts: Tensor) -> Tensor:
    """Mean cross-entropy of logits (chips, classes) against labels (chips,); every chip weighs the same."""
    return functional.cross_entropy(logits, labels)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, class_counts: Tensor) -> Tensor:
    """Cross-entropy with each chip weighted by the inverse frequency of its class in the training set.

    class_counts: (classes,) chips of each class in the training set. A class without chips gets no weight.
    The weighted mean is over the batch, as in King & Zeng 2001, "Logistic regression in rare events data", eq. 8.
    """
    weights = torch.where(class_counts > 0, class_counts.sum() / class_counts.clamp(min=1), 0.0)
    return functional.cross_entropy(logits, labels, weight=weights)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "weighted_cross_entropy": weighted_cross_entropy,
}
