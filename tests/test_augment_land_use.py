"""The augmentation of land-use scenes, and colour: bands move together."""

import math

import pytest
import torch
from torch import Tensor

from sarship.augment import (
    AUGMENTATIONS,
    LAND_USE_DOWN_LIMIT,
    LAND_USE_RIGHT_LIMIT,
    LAND_USE_ROTATION_LIMIT_DEG,
    apply_flips,
    apply_steps,
    draw_flips,
    land_use_rotation_and_shift,
    rotation_and_shift,
)
from tests.test_augment import generator, is_changed, moments, spot


def of_land_use(chips: Tensor, seed: int = 1) -> Tensor:
    """The chips as they are shown in training."""
    augmentation, draws = AUGMENTATIONS["land_use"], generator(seed)
    flipped = apply_flips(chips, draw_flips(len(chips), draws, augmentation.flips))
    return apply_steps(flipped, augmentation, draws)


def test_every_scene_is_turned_and_moved_up_to_the_limits():
    assert (LAND_USE_ROTATION_LIMIT_DEG, LAND_USE_DOWN_LIMIT, LAND_USE_RIGHT_LIMIT) == (22, 0.18, 0.19)
    chips = spot(97, 3.0, 9.0).expand(600, 1, 97, 97)
    turned = land_use_rotation_and_shift(chips, generator())
    assert is_changed(chips, turned).all()
    centers, covariances = moments(turned)
    angles = 0.5 * torch.atan2(2 * covariances[:, 0, 1], covariances[:, 1, 1] - covariances[:, 0, 0]).rad2deg()
    for drawn, limit in ((centers[:, 0] / 97, 0.18), (centers[:, 1] / 97, 0.19), (angles, 22.0)):
        assert 0.9 * limit < drawn.max() < 1.03 * limit
        assert -1.03 * limit < drawn.min() < -0.9 * limit


def test_scenes_are_mirrored_left_and_right_half_the_time_and_never_turned_over():
    """Of chips that grow brighter along one axis; no rotation or shift within the limits reverses that."""
    slope = torch.linspace(0, 1, 64).expand(400, 1, 64, 64)

    def rise(chips: Tensor, axis: int) -> Tensor:
        near, far = of_land_use(chips)[:, 0, 16:48, 16:48].split(16, dim=axis)
        return (far - near).mean(dim=(1, 2))

    assert (rise(slope.mT, 1) > 0).all()
    assert (rise(slope, 2) < 0).float().mean() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(400))
    assert rise(slope, 2).abs().min() > 0.1


@pytest.mark.parametrize("step", [rotation_and_shift, land_use_rotation_and_shift])
def test_the_bands_of_a_colour_chip_move_together(step):
    """Each band of a colour chip comes out as it would alone."""
    colour = torch.rand(6, 3, 33, 33, generator=generator()).contiguous(memory_format=torch.channels_last)
    moved = step(colour, generator(2))
    assert moved.stride() == colour.stride()
    for band in range(3):
        assert torch.allclose(moved[:, band : band + 1], step(colour[:, band : band + 1], generator(2)), atol=1e-6)
    flips = torch.arange(6) % 4
    flipped = apply_flips(colour, flips)
    assert flipped.stride() == colour.stride()
    assert torch.equal(flipped[:, 1:2], apply_flips(colour[:, 1:2], flips))


def test_what_comes_in_from_beyond_the_border_is_the_scene_mirrored():
    """Nothing that the chip does not have: of one with two levels, nothing darker or brighter, and no black corner."""
    chips = torch.full((50, 3, 32, 32), 0.4)
    chips[..., 16:] = 0.7
    moved = land_use_rotation_and_shift(chips, generator())
    assert moved.min() > 0.4 - 1e-6
    assert moved.max() < 0.7 + 1e-6
