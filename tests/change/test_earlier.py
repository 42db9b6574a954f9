"""Which earlier image the newest is compared with."""

from dataclasses import replace

import numpy as np
import pytest

from sarship.change.earlier import CLOSEST, MEAN, NEWEST, SAME_ORBIT, choose_earlier, earlier_references
from tests.change.small_series import acquisitions


def told(*passes: tuple[str, float]) -> list:
    return [replace(each, orbit=orbit, incidence_angle_deg=angle)
            for each, (orbit, angle) in zip(acquisitions(len(passes)), passes, strict=True)]  # fmt: skip


@pytest.mark.parametrize(
    ("passes", "wanted"),
    [
        (
            [("ascending", 33), ("descending", 38), ("ascending", 41), ("descending", 44), ("ascending", 33.2)],
            (0, 2, 3),
        ),
        ([("ascending", 33), ("ascending", 33), ("descending", 33), ("descending", 44), ("ascending", 33)], (1, 1, 3)),
        (
            [("descending", 30), ("descending", 31), ("ascending", 40), ("ascending", 41), ("ascending", 40.5)],
            (3, 3, 3),
        ),
    ],
)
def test_the_published_choices(passes, wanted):
    choice = choose_earlier(told(*passes), 1.0)
    assert (choice[CLOSEST], choice[SAME_ORBIT], choice[NEWEST]) == wanted


def test_samples_without_a_comparable_earlier_image_are_left_out():
    other = told(*[("descending", 38)] * 4, ("ascending", 38))
    assert choose_earlier(other, 1.0) is None
    far = told(*[("ascending", 33)] * 4, ("ascending", 34.5))
    assert choose_earlier(far, 1.0) is None
    assert choose_earlier(far, 2.0) is not None


def test_references_are_the_chosen_images_and_the_mean():
    images = np.random.default_rng(1).normal(size=(4, 2, 3, 3))
    references = earlier_references(images, {CLOSEST: 1, SAME_ORBIT: 2, NEWEST: 3})
    assert np.array_equal(references[CLOSEST], images[1])
    assert np.array_equal(references[NEWEST], images[3])
    assert np.allclose(references[MEAN], images.mean(axis=0))
