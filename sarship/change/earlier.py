"""Which earlier image the newest is compared with: the three published choices, and the mean of all.

Alatalo, Sipola and Rantonen, IEEE TGRS 61, 2023, section V and table II, call the first three methods 1, 2 and 3. The
mean is not theirs: it averages speckle as a prediction does, and knows nothing of conditions.
"""

from collections.abc import Sequence

import numpy as np

from sarship.change.conditions import Acquisition

CLOSEST, SAME_ORBIT, NEWEST = (
    "previous image: same orbit and closest incidence angle (method 1)",
    "previous image: most recent with the same orbit (method 2)",
    "previous image: most recent (method 3)",
)
MEAN = "mean of the four previous images"
CHOICES = (CLOSEST, SAME_ORBIT, NEWEST)


def choose_earlier(told: Sequence[Acquisition], max_angle_deg: float) -> dict[str, int] | None:
    """Number of the earlier image by choice; None if one of the choices has none.

    told: conditions of the earlier images, oldest first, then of the newest. max_angle_deg: by how much the incidence
    angle of CLOSEST may differ from the newest's; as published, samples with a larger difference are left out.
    """
    *earlier, newest = told
    same = [number for number, each in enumerate(earlier) if each.orbit == newest.orbit]
    if not same:
        return None
    apart = {number: abs(earlier[number].incidence_angle_deg - newest.incidence_angle_deg) for number in same}
    closest = min(reversed(same), key=apart.__getitem__)  # of two as close, the later
    if apart[closest] > max_angle_deg:
        return None
    return {CLOSEST: closest, SAME_ORBIT: same[-1], NEWEST: len(earlier) - 1}


def earlier_references(images: np.ndarray, choice: dict[str, int]) -> dict[str, np.ndarray]:
    """(2, p, p) dB that the newest is compared with, by choice, MEAN included; images: (4, 2, p, p) dB."""
    return {name: images[number] for name, number in choice.items()} | {MEAN: images.mean(axis=0)}
