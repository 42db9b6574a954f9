"""The training losses, and the one table of their names. A new loss is one function and one line in LOSSES.

Every loss is a function of
    logits        (chips, classes) float32, of one batch
    labels        (chips,) int64 in 0..classes-1
    class_counts  (classes,) training chips of each class
    progress      0..1, the share of the run's epochs that lie before this one
and returns the mean loss of the batch, a scalar. None waits for the device. A class without training chips is no one's
label; each loss says what becomes of it where its formula has no answer.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

FOCAL_GAMMA = 2.0  # works best in Lin et al., table 1b
SMOOTHING = 0.1  # Szegedy et al., section 7
ADJUSTMENT_TAU = 1.0  # of Menon et al.: the one value for which the balanced error is what is minimised

# Cui et al. think of a class as N = 1 / (1 - beta) distinct prototypes. 0.999 is what their code takes for ImageNet and
# iNaturalist, whose classes have at most some 1,000 images each, as here: 2,114, 789 and 248 chips of FUSAR-Ship weigh
# as 879, 546 and 220. With 0.9999 they would weigh as 1,905, 759 and 245, which is weighted_cross_entropy again.
EFFECTIVE_BETA = 0.999

# Cao et al.'s code: scale, largest margin, first of 200 epochs that is re-weighted, and beta of the weights.
LDAM_SCALE = 30.0
LDAM_LARGEST_MARGIN = 0.5
DEFERRED_UNTIL = 160 / 200
DEFERRED_BETA = 0.9999

COSINE_LOSSES = ("ldam", "ldam_drw")  # they need logits that are LDAM_SCALE times a cosine

Loss = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, class_counts: Tensor, progress: float) -> Tensor:
    """Mean cross-entropy; every chip weighs the same."""
    return functional.cross_entropy(logits, labels)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, class_counts: Tensor, progress: float) -> Tensor:
    """Cross-entropy with each chip weighted by the inverse frequency of its class in the training set.

    A class without chips gets no weight. The weighted mean is over the batch, as in King & Zeng 2001, "Logistic
    regression in rare events data", eq. 8.
    """
    weights = torch.where(class_counts > 0, class_counts.sum() / class_counts.clamp(min=1), 0.0)
    return functional.cross_entropy(logits, labels, weight=weights)


def focal(logits: Tensor, labels: Tensor, class_counts: Tensor, progress: float, gamma: float = FOCAL_GAMMA) -> Tensor:
    """Mean of -(1 - p)^gamma log p, p the probability of the true class: chips already learned hardly count.

    Lin, Goyal, Girshick, He & Dollár 2017, "Focal loss for dense object detection", eq. 4 (without alpha).
    """
    log_likelihood = _log_likelihood(logits, labels)
    missed = -torch.expm1(log_likelihood)  # 1 - p, exact to rounding where p is near 1
    return -(missed**gamma * log_likelihood).mean()


def class_balanced(logits: Tensor, labels: Tensor, class_counts: Tensor, progress: float) -> Tensor:
    """Cross-entropy with each chip weighted by the inverse effective number of its class's chips.

    Cui, Jia, Lin, Song & Belongie 2019, "Class-balanced loss based on effective number of samples", section 4.1. The
    mean is over chips, as in the authors' code: a batch of frequent classes weighs less than one of rare ones.
    """
    weights = effective_number_weights(class_counts, EFFECTIVE_BETA)
    return -(weights[labels] * _log_likelihood(logits, labels)).mean()


def effective_number_weights(class_counts: Tensor, beta: float) -> Tensor:
    """Class weights (classes,) float32: (1 - beta) / (1 - beta^n) for n chips, scaled to a mean of 1.

    A class without chips weighs nothing and does not enter the mean.
    """
    effective_number = torch.expm1(class_counts.clamp(min=1) * math.log(beta)) / (beta - 1)
    weights = torch.where(class_counts > 0, 1 / effective_number, 0.0)
    return weights * (class_counts > 0).sum() / weights.sum()


def ldam(logits: Tensor, labels: Tensor, class_counts: Tensor, progress: float) -> Tensor:
    """Label-distribution-aware margin loss: the true class must win by a margin that is larger for rarer classes.

    Cross-entropy of s (cos - Delta), where Delta is taken off the true class only and falls with the fourth root of
    its chips; the rarest class that has chips gets LDAM_LARGEST_MARGIN. `logits` are s cos, with s = LDAM_SCALE.
    Cao, Wei, Gaidon, Arechiga & Ma 2019, "Learning imbalanced datasets with label-distribution-aware margin loss",
    section 3.2.
    """
    return functional.cross_entropy(_less_margin(logits, labels, class_counts), labels)


def ldam_drw(logits: Tensor, labels: Tensor, class_counts: Tensor, progress: float) -> Tensor:
    """ldam; from DEFERRED_UNTIL of the epochs on, with chips weighted by their class's inverse effective number.

    Deferred re-weighting: Cao et al. 2019, algorithm 1. The weighted mean is over the batch, as in the authors' code.
    """
    weights = effective_number_weights(class_counts, DEFERRED_BETA) if progress >= DEFERRED_UNTIL else None
    return functional.cross_entropy(_less_margin(logits, labels, class_counts), labels, weight=weights)


def _less_margin(logits: Tensor, labels: Tensor, class_counts: Tensor) -> Tensor:
    """LDAM's logits (chips, classes): those of the true classes less LDAM_SCALE times their margin."""
    fewest = torch.where(class_counts > 0, class_counts, math.inf).min()
    margins = LDAM_LARGEST_MARGIN * (fewest / class_counts.clamp(min=fewest)) ** 0.25  # (classes,)
    is_true = labels[:, None] == torch.arange(len(class_counts), device=labels.device)  # (chips, classes)
    return torch.where(is_true, logits - LDAM_SCALE * margins, logits)


def logit_adjusted(logits: Tensor, labels: Tensor, class_counts: Tensor, progress: float) -> Tensor:
    """Cross-entropy of logits plus the log of each class's share of the training set; the shares are gone in the test.

    What is learned is the logits for classes of equal size. Menon, Jayasumana, Rawat, Jain, Veit & Kumar 2021,
    "Long-tail learning via logit adjustment", eq. 10, tau = 1.

    A class without chips competes as the most frequent one does. Its own share, none, would take it out of the sum:
    nothing would ever push its logit down, and it could win in the test.
    """
    shares = torch.where(class_counts > 0, class_counts, class_counts.max()) / class_counts.sum()
    return functional.cross_entropy(logits + ADJUSTMENT_TAU * shares.log(), labels)


def label_smoothing(logits: Tensor, labels: Tensor, class_counts: Tensor, progress: float) -> Tensor:
    """Cross-entropy against targets of which the share SMOOTHING is spread evenly over all classes.

    Szegedy, Vanhoucke, Ioffe, Shlens & Wojna 2016, "Rethinking the inception architecture for computer vision",
    section 7. A class without chips gets its part of that share, too.
    """
    return functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)


def improved_cross_entropy(logits: Tensor, labels: Tensor, class_counts: Tensor, progress: float) -> Tensor:
    """Cross-entropy plus the gap between the largest probability and that of the true class, both means of the batch.

    Bahri, Ghofrani Majelan, Mohammadi, Noori & Mohammadi 2020, "Remote sensing image classification via improved
    cross-entropy loss and transfer learning strategy based on deep convolutional neural networks", IEEE Geoscience and
    Remote Sensing Letters 17(6), doi:10.1109/LGRS.2019.2937872; the formula is that of the authors' code. It is the
    loss of the NASNet-Mobile figures on AID, UC Merced and NWPU-RESISC45.
    """
    log_probabilities = functional.log_softmax(logits, dim=1)
    likelihood = _log_likelihood(logits, labels).exp()
    gap = log_probabilities.amax(dim=1).exp() - likelihood
    return functional.nll_loss(log_probabilities, labels) + gap.mean()


def _log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """(chips,) log of the probability of each chip's true class; never above 0."""
    return -functional.cross_entropy(logits, labels, reduction="none")


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "weighted_cross_entropy": weighted_cross_entropy,
    "focal": focal,
    "class_balanced": class_balanced,
    "ldam": ldam,
    "ldam_drw": ldam_drw,
    "logit_adjusted": logit_adjusted,
    "label_smoothing": label_smoothing,
    "improved_cross_entropy": improved_cross_entropy,
}
