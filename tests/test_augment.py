"""Random changes of training chips: what each does to a chip, how much at most, and that each chip has its own draw."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from sarship import augment
from sarship.augment import (
    AUGMENTATIONS,
    BLUR_LIMIT,
    CHANGED_SHARE,
    ERASED_AREA,
    FLIPS,
    GAIN_LIMIT_DB,
    KEPT_ECHO,
    ROTATION_LIMIT_DEG,
    SHIFT_LIMIT,
    SPECKLE_LOOKS,
    apply_flips,
    apply_steps,
    blur_rows,
    draw_flips,
    erasing,
    gain,
    land_use_rotation_and_shift,
    rotation_and_shift,
    speckle,
    speckle_intensity,
    sub_aperture_blur,
    turn_and_move,
)

SAR = AUGMENTATIONS["sar"]
STEPS = (*SAR.steps, land_use_rotation_and_shift)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sea(count: int, side: int = 64, level: float = 0.1, looks: float = 10.0, seed: int = 0) -> Tensor:
    """Chips (count, 1, side, side) of nothing but speckle."""
    chips = torch.empty(count, 1, side, side)
    return level * speckle_intensity(torch.tensor(looks), chips, generator(seed)).sqrt()


def ships(count: int, side: int = 64) -> Tensor:
    """Chips (count, 1, side, side) of a bright bar in the middle of the sea, half the middle long."""
    chips = sea(count, side)
    chips[:, :, side // 2 - 1 : side // 2 + 1, side * 3 // 8 : side * 5 // 8] = 0.8
    return chips


def spot(side: int = 65, spread_px: float = 2.0, length_px: float = 0.0) -> Tensor:
    """One chip (1, 1, side, side): a smooth spot in its middle, or a bar along the columns if length_px is larger."""
    offset = torch.arange(side) - (side - 1) / 2
    rows = torch.exp(-0.5 * (offset / spread_px) ** 2)
    cols = torch.exp(-0.5 * (offset / max(spread_px, length_px)) ** 2)
    return (rows[:, None] * cols)[None, None]


def moments(chips: Tensor) -> tuple[Tensor, Tensor]:
    """Of each chip's brightness: centre (chips, 2), rows and columns from the middle, and covariance (chips, 2, 2)."""
    pixels = chips.double().squeeze(1)  # (chips, side, side)
    offset = torch.arange(pixels.shape[-1]) - (pixels.shape[-1] - 1) / 2
    place = torch.stack(torch.meshgrid(offset, offset, indexing="ij"), dim=-1).flatten(0, 1).double()  # (pixels, 2)
    weight = pixels.flatten(1) / pixels.sum(dim=(1, 2))[:, None]  # (chips, pixels)
    center = weight @ place
    products = (place[:, :, None] * place[:, None, :]).flatten(1)  # (pixels, 4)
    return center, (weight @ products).view(-1, 2, 2) - center[:, :, None] * center[:, None, :]


def numbers(*values: float) -> Tensor:
    """(chips, 1, 1, 1), as the steps draw them."""
    return torch.tensor(values).view(-1, 1, 1, 1)


def is_changed(before: Tensor, after: Tensor) -> Tensor:
    """(chips,) bool."""
    return (before != after).flatten(1).any(dim=1)


# -- the table


@pytest.mark.parametrize(("name", "flips"), [("none", (0,)), ("strict", (0, 1, 2, 3)), ("published", (0, 2))])
def test_some_do_no_more_than_flip(name, flips):
    assert AUGMENTATIONS[name].flips == flips
    assert AUGMENTATIONS[name].is_flips_only
    chips = ships(3)
    assert torch.equal(apply_steps(chips, AUGMENTATIONS[name], generator()), chips)


def test_sar_flips_all_ways_and_has_steps():
    assert SAR.flips == tuple(range(FLIPS))
    assert not SAR.is_flips_only


def test_only_sar_needs_amplitude():
    assert [name for name, augmentation in AUGMENTATIONS.items() if augmentation.needs_amplitude] == ["sar"]


def test_published_mirrors_left_and_right_only():
    chips = torch.arange(6.0).view(1, 1, 2, 3).expand(50, 1, 2, 3)
    flipped = apply_flips(chips, draw_flips(50, generator(), AUGMENTATIONS["published"].flips))
    assert {tuple(chip.flatten().tolist()) for chip in flipped} == {(0, 1, 2, 3, 4, 5), (2, 1, 0, 5, 4, 3)}


# -- flips


@given(st.sets(st.integers(0, 3), min_size=1).filter(lambda flips: len(flips) != 3), st.integers(0, 100))
def test_flips_are_drawn_from_those_allowed_and_all_as_often(allowed, seed):
    drawn = draw_flips(2000, generator(seed), tuple(allowed))
    found, counts = drawn.unique(return_counts=True)
    assert drawn.dtype == torch.int64
    assert set(found.tolist()) == allowed
    assert counts.min() > 2000 / len(allowed) - 5 * math.sqrt(2000 / 4)  # five standard deviations, at most


def test_a_flip_number_says_which_axes_are_mirrored():
    chips = torch.rand(4, 1, 8, 8, generator=generator())
    flipped = apply_flips(chips, torch.arange(4))
    for flip, axes in enumerate([(), (1,), (2,), (1, 2)]):
        assert torch.equal(flipped[flip], chips[flip].flip(axes))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_flips_only_permute_pixels_and_undo_themselves(flips):
    chips, flips = torch.rand(len(flips), 1, 5, 7, generator=generator()), torch.tensor(flips)
    flipped = apply_flips(chips, flips)
    assert torch.equal(flipped.flatten(1).sort().values, chips.flatten(1).sort().values)
    assert torch.equal(apply_flips(flipped, flips), chips)


# -- what holds of every step


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("count", "side"), [(1, 32), (5, 33), (3, 64), (1, 512)])
@pytest.mark.parametrize("brightness", [0.0, 1.0, None])
def test_shape_type_layout_and_range_stay(step, count, side, brightness):
    """Of black chips, of white ones, and of ships."""
    chips = ships(count, side) if brightness is None else torch.full((count, 1, side, side), brightness)
    chips = chips.contiguous(memory_format=torch.channels_last)
    for seed in range(3):
        changed = step(chips, generator(seed))
        assert changed.shape == chips.shape
        assert changed.stride() == chips.stride()
        assert changed.dtype == torch.float32
        assert changed.min() >= 0
        assert changed.max() <= 1


@pytest.mark.parametrize("step", STEPS)
def test_the_generator_decides_and_each_chip_has_its_own_draw(step):
    chips = ships(1).expand(64, 1, 64, 64)
    first = step(chips, generator(1))
    assert torch.equal(first, step(chips, generator(1)))
    assert not torch.equal(first, step(chips, generator(2)))
    different = len(first[is_changed(chips, first)].flatten(1).unique(dim=0))
    assert different == is_changed(chips, first).sum() > 10


@pytest.mark.parametrize("step", [rotation_and_shift, speckle, sub_aperture_blur])
def test_the_documented_share_of_chips_is_left_alone(step):
    chips = ships(400, 128)
    changed = is_changed(chips, step(chips, generator()))
    assert changed.float().mean() == pytest.approx(CHANGED_SHARE, abs=5 * 0.5 / math.sqrt(400))


@pytest.mark.parametrize("step", STEPS)
def test_no_step_waits_for_the_device(step):
    """Meta tensors have no values: whatever asks for one, as for a branch or a mask's size, raises."""
    assert step(torch.empty(4, 1, 64, 64, device="meta"), generator()).shape == (4, 1, 64, 64)


def test_the_chips_passed_in_are_not_written_to():
    chips = ships(8)
    before = chips.clone()
    changed = apply_steps(chips, SAR, generator())
    assert torch.equal(chips, before)
    assert is_changed(chips, changed).all()


def test_steps_change_a_small_share_of_the_ships_brightness_only():
    chips = ships(200)
    changed = apply_steps(chips, SAR, generator())
    brightest = changed.flatten(1).topk(16).values.mean(dim=1)  # half the bar's pixels
    assert brightest.min() > 0.8 * 10 ** (-GAIN_LIMIT_DB / 20) * 0.6
    assert (changed.flatten(1).median(dim=1).values < 0.2).all()


# -- rotation and shift


@pytest.mark.parametrize("angle_deg", [-90.0, -ROTATION_LIMIT_DEG, 0.0, 5.0, ROTATION_LIMIT_DEG, 30.0])
def test_a_bar_turns_clockwise_by_the_angle_and_keeps_its_length(angle_deg):
    bar = spot(length_px=8)
    center, covariance = moments(turn_and_move(bar, numbers(angle_deg), numbers(0.0), numbers(0.0)))
    lengths, axes = torch.linalg.eigh(covariance[0])
    turned_deg = math.degrees(math.atan2(axes[0, 1], axes[1, 1]))  # rows run downwards: clockwise is positive
    assert (turned_deg - angle_deg + 90) % 180 - 90 == pytest.approx(0, abs=0.1)
    assert center[0].tolist() == pytest.approx([0, 0], abs=0.02)
    assert lengths.sqrt().tolist() == pytest.approx(moments(bar)[1][0].diagonal().sqrt().tolist(), rel=0.03)


@pytest.mark.parametrize(("down", "right"), [(SHIFT_LIMIT, 0.0), (0.0, -SHIFT_LIMIT), (0.03, 0.05)])
@pytest.mark.parametrize("angle_deg", [0.0, 15.0])
def test_a_spot_moves_by_the_share_of_the_side_whatever_the_angle(down, right, angle_deg):
    center, _ = moments(turn_and_move(spot(), numbers(angle_deg), numbers(down), numbers(right)))
    assert center[0].tolist() == pytest.approx([65 * down, 65 * right], abs=0.02)


def test_each_chip_is_turned_by_its_own_angle():
    bars = spot(length_px=8).expand(3, 1, 65, 65)
    together = turn_and_move(bars, numbers(0.0, 10.0, -7.0), numbers(0.0, 0.05, 0.0), numbers(0.02, 0.0, 0.0))
    alone = turn_and_move(bars[1:2], numbers(10.0), numbers(0.05), numbers(0.0))
    assert torch.allclose(together[1:2], alone, atol=1e-6)
    assert torch.allclose(turn_and_move(bars, *[numbers(0.0, 0.0, 0.0)] * 3), bars, atol=1e-5)


def test_the_border_shows_sea_as_bright_as_before():
    chips = sea(20, level=0.3)
    turned = turn_and_move(chips, numbers(*[15.0] * 20), numbers(*[SHIFT_LIMIT] * 20), numbers(*[SHIFT_LIMIT] * 20))
    corners = torch.stack([turned[..., :8, :8], turned[..., :8, -8:], turned[..., -8:, :8], turned[..., -8:, -8:]])
    assert corners.mean() == pytest.approx(chips.mean().item(), rel=0.01)
    assert corners.min() > 0.05


def test_ships_are_turned_and_moved_up_to_the_limits():
    chips = spot(length_px=8).expand(400, 1, 65, 65)
    turned = rotation_and_shift(chips, generator())
    centers, covariances = moments(turned[is_changed(chips, turned)])
    shifts = centers / 65
    angles = 0.5 * torch.atan2(2 * covariances[:, 0, 1], covariances[:, 1, 1] - covariances[:, 0, 0]).rad2deg()
    for drawn, limit in ((shifts[:, 0], SHIFT_LIMIT), (shifts[:, 1], SHIFT_LIMIT), (angles, ROTATION_LIMIT_DEG)):
        assert 0.9 * limit < drawn.max() < 1.02 * limit
        assert -1.02 * limit < drawn.min() < -0.9 * limit


# -- speckle and gain


@pytest.mark.parametrize("looks", [1.5, *SPECKLE_LOOKS])
def test_speckle_is_the_gamma_law_of_that_many_looks(looks):
    intensity = speckle_intensity(torch.tensor(looks), torch.empty(4, 1, 256, 256), generator()).flatten().double()
    error = 1 / math.sqrt(looks * len(intensity))  # standard error of the mean
    assert intensity.mean().item() == pytest.approx(1, abs=4 * error + 1 / (729 * looks**3))
    assert intensity.var().item() == pytest.approx(1 / looks, rel=0.03)
    shares = torch.tensor([0.01, 0.1, 0.5, 0.9, 0.99])
    expected = stats.gamma.ppf(shares.numpy(), looks, scale=1 / looks)
    assert intensity[:200_000].quantile(shares.double()).tolist() == pytest.approx(expected, rel=0.03, abs=0.02)


def test_speckle_keeps_the_mean_intensity_and_is_white():
    chips = torch.full((100, 1, 64, 64), 0.3)
    changed = speckle(chips, generator())
    intensity = changed[is_changed(chips, changed)].square() / 0.09
    assert intensity.mean() == pytest.approx(1, abs=0.003)
    looks = 1 / intensity.var(dim=(1, 2, 3))
    assert SPECKLE_LOOKS[0] * 0.85 < looks.min() < SPECKLE_LOOKS[0] * 1.5
    assert SPECKLE_LOOKS[1] * 0.67 < looks.max() < SPECKLE_LOOKS[1] * 1.15
    fluctuation = (intensity - 1) * looks.sqrt()[:, None, None, None]
    for neighbour in (fluctuation.roll(1, 2), fluctuation.roll(1, 3)):
        assert (fluctuation * neighbour).mean() == pytest.approx(0, abs=0.012)  # five standard errors


def test_gain_is_one_factor_a_chip_evenly_in_decibel():
    chips = sea(500, 32, level=0.2)
    factors = gain(chips, generator()) / chips
    assert torch.allclose(factors, factors[:, :, :1, :1].expand_as(factors), rtol=1e-5)
    decibel = 20 * factors[:, 0, 0, 0].log10()
    assert decibel.min() == pytest.approx(-GAIN_LIMIT_DB, abs=0.1)
    assert decibel.max() == pytest.approx(GAIN_LIMIT_DB, abs=0.1)
    assert decibel.mean() == pytest.approx(0, abs=5 * GAIN_LIMIT_DB / math.sqrt(3 * 500))


def test_gain_saturates():
    chips = torch.full((50, 1, 4, 4), 0.9)
    assert (gain(chips, generator()) == 1).all(dim=(1, 2, 3)).any()


# -- blur


@pytest.mark.parametrize("spread_px", [0.6, 1.0, 3.0])
def test_a_point_becomes_a_gaussian_along_rows_only(spread_px):
    point = torch.zeros(1, 1, 65, 65)
    point[0, 0, 32, 32] = 1
    blurred = blur_rows(point, numbers(spread_px))
    assert blurred[..., :32].sum() + blurred[..., 33:].sum() == 0
    assert blurred.sum().item() == pytest.approx(1)
    assert moments(blurred)[1][0, 0, 0].item() == pytest.approx(spread_px**2, rel=0.05)


def test_without_spread_and_at_the_border_the_level_stays():
    chips = sea(2)
    assert torch.equal(blur_rows(chips, numbers(0.0, 0.0)), chips)
    flat = torch.full((2, 1, 32, 32), 0.4)
    assert torch.allclose(blur_rows(flat, numbers(0.5, 5.0)), flat)


def test_blur_lowers_the_variance_along_its_axis_only():
    """Chips that vary along one axis alone: blur along it smooths them, blur along the other leaves them."""
    profile = 0.2 + 0.6 * torch.rand(64, generator=generator())
    row_pattern = profile[:, None].expand(200, 1, 64, 64)
    for pattern in (row_pattern, row_pattern.mT):
        blurred = sub_aperture_blur(pattern, generator(3))
        smoother = blurred.var(dim=(2, 3)) < pattern.var(dim=(2, 3)) * 0.999
        same = (blurred - pattern).abs().amax(dim=(2, 3)) < 1e-5
        assert (smoother | same).all()
        assert smoother.float().mean() == pytest.approx(CHANGED_SHARE / 2, abs=0.15)


@pytest.mark.parametrize("side", [64, 128])
def test_blur_widens_a_ship_by_the_limit_at_most(side):
    """Along one axis; intensity keeps its sum."""
    chips = spot(side).expand(200, 1, side, side)
    blurred = sub_aperture_blur(chips, generator())
    intensity = blurred.square()
    assert intensity.sum(dim=(1, 2, 3)).tolist() == pytest.approx([chips[0].square().sum().item()] * 200, rel=1e-3)
    variances = moments(intensity)[1].diagonal(dim1=1, dim2=2)  # (chips, 2), along rows and along columns
    added = variances - moments(chips[:1].square())[1][0].diagonal()
    assert added.min() > -1e-3
    assert added.amin(dim=1).max() < 1e-3  # one axis stays
    assert 0.8 * BLUR_LIMIT * side < added.max().sqrt() < 1.02 * BLUR_LIMIT * side


# -- erasing


def test_erasing_fills_one_rectangle_of_the_documented_size_with_sea():
    chips = ships(300)
    erased = erasing(chips, generator())
    changed = is_changed(chips, erased)
    assert 0.3 < changed.float().mean() <= CHANGED_SHARE + 0.1
    for before, after in zip(chips[changed, 0], erased[changed, 0], strict=True):
        touched = before != after
        rows, cols = touched.any(dim=1).nonzero(), touched.any(dim=0).nonzero()
        box = (rows.max() - rows.min() + 1) * (cols.max() - cols.min() + 1)
        assert touched.sum() > 0.98 * box
        assert ERASED_AREA[0] * 0.75 < box / 64**2 < ERASED_AREA[1] * 1.25  # whole pixels only
        assert after[touched].median() == pytest.approx(0.1, rel=0.15)
        assert after[touched].std() == pytest.approx(0.1 / (2 * math.sqrt(10)), rel=0.4)


def test_erasing_keeps_the_documented_share_of_the_ship():
    chips = ships(1000)
    for seed in range(3):
        erased = erasing(chips, generator(seed))
        kept = ((erased > 0.5).sum(dim=(1, 2, 3)) / (chips > 0.5).sum(dim=(1, 2, 3))).min()
        assert kept >= KEPT_ECHO


def test_erasing_does_take_parts_of_ships():
    """A ship of half the chip: there is room for a rectangle that takes some of it and not too much."""
    chips = sea(500)
    chips[:, :, 20:44, 20:44] = 0.8
    kept = (erasing(chips, generator()) > 0.5).sum(dim=(1, 2, 3)) / 24**2
    assert ((kept < 1) & (kept >= KEPT_ECHO)).float().mean() > 0.1
    assert kept.min() >= KEPT_ECHO


def test_side_lobes_and_neighbours_do_not_excuse_the_loss_of_the_ship():
    chips = ships(500)
    chips[:, :, :12] = chips[:, :, -12:] = 0.8
    middle = erasing(chips, generator())[:, :, 16:48, 16:48]
    assert (middle > 0.5).sum(dim=(1, 2, 3)).min() >= KEPT_ECHO * 32


def test_a_chip_without_echo_is_left_alone():
    for chips in (torch.full((50, 1, 32, 32), 0.3), torch.zeros(50, 1, 32, 32)):
        assert torch.equal(erasing(chips, generator()), chips)


def test_rectangles_lie_anywhere():
    covered = augment._rectangle(torch.empty(4000, 1, 32, 32), generator()).float()
    assert covered.mean(dim=(1, 2, 3)).mean() == pytest.approx(sum(ERASED_AREA) / 2, rel=0.05)
    for axis in (2, 3):
        assert covered.mean(dim=(0, 1, axis)).min() > 0
    height, width = (covered.amax(dim=axis).sum(dim=(1, 2)) for axis in (3, 2))
    assert 0.2 < (height / width).min() < 0.5
    assert 2 < (height / width).max() < 5
