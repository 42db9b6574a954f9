"""Which training chips an epoch shows, in which order: all of them once, or rare classes more often."""

import torch
from torch import Tensor

# The share of an epoch that a class gets goes with its chips to this power q: Kang et al. 2020, "Decoupling
# representation and classifier for long-tailed recognition", eq. 1. 0 is class-balanced sampling. 1/2 is square-root
# sampling: Mikolov et al. 2013, "Distributed representations of words and phrases", section 2.3, keep a word of
# frequency f with a probability that goes with f^-1/2; Mahajan et al. 2018, "Exploring the limits of weakly supervised
# pretraining", sample images by hashtag so.
_EXPONENTS = {"balanced": 0.0, "sqrt": 0.5}

SAMPLERS = ("none", *_EXPONENTS)


def epoch_order(labels: Tensor, sampler: str, generator: torch.Generator) -> Tensor:
    """Indices (chips,) int64 of the chips of one epoch, in order: as many as there are training chips.

    labels: (chips,) int64, at least one, on the CPU, as is the generator. sampler: one of SAMPLERS.

    none: every chip once. balanced: every class that has chips equally often. sqrt: classes in proportion to the square
    root of their chips. What does not come out whole is rounded up or down at random, so that the mean over epochs is
    exact. Within a class, chips differ by at most one in how often they are shown.
    """
    if sampler == "none":
        return torch.randperm(len(labels), generator=generator)
    places = _places(torch.bincount(labels), _EXPONENTS[sampler], generator)
    shown = [
        _take((labels == label).nonzero().squeeze(1), count, generator)
        for label, count in enumerate(places.tolist())
        if count
    ]
    order = torch.cat(shown)
    return order[torch.randperm(len(order), generator=generator)]


def _places(class_counts: Tensor, exponent: float, generator: torch.Generator) -> Tensor:
    """(classes,) int64: each class's places in an epoch of class_counts.sum() places.

    Systematic sampling (Madow 1949, Annals of Mathematical Statistics 20): classes lie end to end on a line, each as
    long as its share of the places, and a comb of teeth 1 apart, with a random offset, is laid on it. A class gets its
    share rounded up or down, and on average its share.
    """
    weights = torch.where(class_counts > 0, class_counts.double() ** exponent, 0.0)
    ends = weights.cumsum(0)
    ends = ends * class_counts.sum() / ends[-1]
    ends[-1] = class_counts.sum()  # free of rounding, so that no place is lost
    # A float32 offset is at most 1 - 2^-24: added to a float64, it cannot be rounded up to 1.
    teeth = torch.floor(ends + torch.rand(1, generator=generator))
    return torch.diff(teeth, prepend=torch.zeros(1)).long()


def _take(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of the indices `members`, in permutations one after another; the last one may be cut short."""
    rounds = -(-count // len(members))
    permutations = [members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)]
    return torch.cat(permutations)[:count]
