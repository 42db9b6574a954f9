"""Random changes of training chips, on the batch, each chip with its own draw. Test chips never pass through here.

The steps of `sar` take pixels for amplitude, as those of FUSAR-Ship and of OpenSARShip's Patch_Uint8 are; intensity is
its square. Chips are square, and nothing changes their scale: a ship's length in metres is what tells classes apart
best. Flips, rotation and shifts are for chips of any number of bands, which move together.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sarship.distributed import draw

FLIPS = 4  # neither, rows, columns, both

# A step that can be left out changes this share of the chips (Zhong et al. 2020 use it for erasing): every epoch also
# shows chips as they are in the test, not resampled and with their own speckle.
CHANGED_SHARE = 0.5

# Side lobes run along the axes in Sentinel-1 chips and some 10 degrees off them in FUSAR-Ship's: either can be turned
# into the other, and not far beyond what a sensor shows.
ROTATION_LIMIT_DEG = 15.0
SHIFT_LIMIT = 1 / 16  # of the side: 32 m of 512 m, so that 400 m, the longest ships there are, stay inside

# Of land-use scenes, as in the code of Bahri et al. 2020, "Remote sensing image classification via improved
# cross-entropy loss and transfer learning strategy based on deep convolutional neural networks", IEEE Geoscience and
# Remote Sensing Letters 17(6). Which of 0.18 and 0.19 goes with the height is certain for that code only.
LAND_USE_ROTATION_LIMIT_DEG = 22.0
LAND_USE_DOWN_LIMIT, LAND_USE_RIGHT_LIMIT = 0.18, 0.19  # of the height, of the width

# Sentinel-1 GRD has 4.4 equivalent looks. Speckle of 8 looks on top leaves 2.6 of them, that of 64 looks 4.1.
SPECKLE_LOOKS = (8.0, 64.0)
GAIN_LIMIT_DB = 3.0  # half to double the power
# Standard deviation as a share of the side: 8 m of 512 m, which makes a point 19 m wide at half its height. That is the
# step from Gaofen-3's 3 m to Sentinel-1's 22 m in azimuth.
BLUR_LIMIT = 1 / 64

ERASED_AREA = (0.02, 0.1)  # of the chip. Zhong et al. go to 0.4, but their objects fill the image
ERASED_ASPECT = (0.3, 1 / 0.3)  # rows over columns, as theirs
# Of the pixels in the middle that stand out of the sea. With 0.9, at most 1 rectangle in 1,000 takes more than a tenth
# of a ship's length (measured on 136 real and 280 simulated chips); with 0.8, 13 to 18 do.
KEPT_ECHO = 0.9
ECHO_SPREADS = 4.0  # above the sea's level; speckle of one look passes that in less than 1 pixel in 1,000

Step = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Augmentation:
    """What is done to training chips.

    flips: flip numbers that are drawn from, all equally likely; (0,) means none. steps: everything beyond, in order;
    each maps chips (chips, bands, rows, cols) in 0..1 to the same, with a generator on their device.
    needs_amplitude: whether pixels are taken for the amplitude of one band, so that nothing else will do.
    """

    flips: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    needs_amplitude: bool = False

    @property
    def is_flips_only(self) -> bool:
        return not self.steps


def draw_flips(count: int, generator: torch.Generator, flips: tuple[int, ...] = tuple(range(FLIPS))) -> Tensor:
    """One of `flips` for each of `count` chips, (count,) int64, all equally likely. The generator is on the CPU.

    flips: 1, 2 or 4 of them, so that two coins decide.
    """
    rows, cols = torch.rand(2, count, generator=generator) < 0.5
    return torch.tensor(flips)[(rows.long() + 2 * cols.long()) % len(flips)]


def apply_flips(chips: Tensor, flips: Tensor) -> Tensor:
    """Chips (chips, bands, rows, cols), each mirrored as its number in `flips` (chips,) says: bit 0 rows, 1 columns."""
    flips = flips.to(chips.device)[:, None, None, None]
    chips = torch.where(flips % 2 == 1, chips.flip(2), chips)
    return torch.where(flips // 2 == 1, chips.flip(3), chips)


def apply_steps(chips: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Chips (chips, bands, rows, cols) float32 in 0..1 after every step; the generator is on their device."""
    for step in augmentation.steps:
        chips = step(chips, generator)
    return chips


def rotation_and_shift(chips: Tensor, generator: torch.Generator) -> Tensor:
    """CHANGED_SHARE of the chips turned by up to ROTATION_LIMIT_DEG and moved by up to SHIFT_LIMIT of the side.

    A ship heads anywhere, and where its chip is centred depends on who marked it and on how far its motion displaced it
    in azimuth. Both in one resampling, as each one smooths. Ding, Chen, Liu & Huang 2016, "Convolutional neural network
    with data augmentation for SAR target recognition", IEEE Geoscience and Remote Sensing Letters 13(3).
    """
    angle = _uniform(chips, -ROTATION_LIMIT_DEG, ROTATION_LIMIT_DEG, generator)
    down, right = (_uniform(chips, -SHIFT_LIMIT, SHIFT_LIMIT, generator) for _ in range(2))
    return torch.where(_some(chips, generator), turn_and_move(chips, angle, down, right), chips)


def land_use_rotation_and_shift(chips: Tensor, generator: torch.Generator) -> Tensor:
    """Every chip turned and moved by up to the LAND_USE limits, as Bahri et al. 2020 do with every training image.

    Where they repeat the pixel at the border, the scene is mirrored here.
    """
    angle = _uniform(chips, -LAND_USE_ROTATION_LIMIT_DEG, LAND_USE_ROTATION_LIMIT_DEG, generator)
    down = _uniform(chips, -LAND_USE_DOWN_LIMIT, LAND_USE_DOWN_LIMIT, generator)
    right = _uniform(chips, -LAND_USE_RIGHT_LIMIT, LAND_USE_RIGHT_LIMIT, generator)
    return turn_and_move(chips, angle, down, right)


def turn_and_move(chips: Tensor, angle_deg: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Chips (chips, bands, side, side) turned about their centre, clockwise as displayed, then moved; bilinear.

    angle_deg, down, right: (chips, 1, 1, 1); down and right are shares of the side. What comes in from beyond the
    border is the chip's mirror image: sea where there was sea, no black corner that would give the change away.
    """
    cosine, sine = angle_deg.deg2rad().cos().flatten(), angle_deg.deg2rad().sin().flatten()
    x, y = 2 * right.flatten(), 2 * down.flatten()  # grid_sample's coordinates run from -1 to 1
    to_source = torch.stack(
        [
            torch.stack([cosine, sine, -cosine * x - sine * y], dim=1),
            torch.stack([-sine, cosine, sine * x - cosine * y], dim=1),
        ],
        dim=1,
    )  # (chips, 2, 3): where a pixel of the result lies in the chip
    grid = functional.affine_grid(to_source, list(chips.shape), align_corners=False)
    moved = functional.grid_sample(chips, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    moved = moved.clamp(0, 1)  # weights add up to 1 only to rounding
    return moved.contiguous(memory_format=torch.channels_last)  # which grid_sample does not keep of colour chips


def speckle(chips: Tensor, generator: torch.Generator) -> Tensor:
    """CHANGED_SHARE of the chips under further speckle of SPECKLE_LOOKS looks, drawn evenly in their logarithm.

    The next pass over the same ship has the same reflectivity and other speckle. Multilook intensity is
    gamma-distributed round the reflectivity (Goodman 1976, "Some fundamental properties of speckle", Journal of the
    Optical Society of America 66), so amplitude is multiplied by the root of such a variable of mean 1, drawn for each
    pixel by itself. What passes 1 is saturated.
    """
    low, high = (math.log(looks) for looks in SPECKLE_LOOKS)
    looks = _uniform(chips, low, high, generator).exp()
    factor = speckle_intensity(looks, chips, generator).sqrt()
    return torch.where(_some(chips, generator), (chips * factor).clamp(max=1), chips)


def speckle_intensity(looks: Tensor, chips: Tensor, generator: torch.Generator) -> Tensor:
    """Multilook intensity of mean 1 and variance 1 / looks, gamma-distributed, of the shape and device of `chips`.

    looks: (chips, 1, 1, 1), at least 1, whole or not. The cube root of a gamma variable is nearly normal (Wilson &
    Hilferty 1931, Proceedings of the National Academy of Sciences 17): the mean is off by 1 / (729 looks^3). PyTorch
    has no public gamma generator that takes a torch.Generator.
    """
    normal = draw(torch.randn, chips.shape, generator=generator, device=chips.device)
    variance = 1 / (9 * looks)
    return (1 - variance + variance.sqrt() * normal).clamp(min=0) ** 3


def gain(chips: Tensor, generator: torch.Generator) -> Tensor:
    """Every chip brighter or darker by up to GAIN_LIMIT_DB, evenly in dB; what passes 1 is saturated.

    The level of an 8-bit chip says little of the ship: it goes with incidence and processor, and Patch_Uint8 is scaled
    by the chip's own maximum.
    """
    decibel = _uniform(chips, -GAIN_LIMIT_DB, GAIN_LIMIT_DB, generator)
    return (chips * 10 ** (decibel / 20)).clamp(max=1)


def sub_aperture_blur(chips: Tensor, generator: torch.Generator) -> Tensor:
    """CHANGED_SHARE of the chips seen less sharply along rows or along columns.

    Azimuth resolution goes inversely with the Doppler bandwidth that is processed (Cumming & Wong 2005, "Digital
    processing of synthetic aperture radar data"); a chip made of part of it is blurred along one axis. Rows run along
    azimuth in one source and roughly so in the other, but a chip may come from elsewhere, and range resolution differs
    between sensors, too: each chip draws its axis, and a Gaussian of up to BLUR_LIMIT. Intensity is averaged: the
    phases that would interfere are not in the chip.
    """
    spread = _uniform(chips, 0, BLUR_LIMIT, generator) * chips.shape[-1]  # pixels
    is_row_axis = _some(chips, generator, share=0.5)
    intensity = torch.where(is_row_axis, chips, chips.mT).square()
    blurred = blur_rows(intensity, spread).sqrt().clamp(max=1)
    blurred = torch.where(is_row_axis, blurred, blurred.mT)
    return torch.where(_some(chips, generator), blurred, chips)


def blur_rows(chips: Tensor, spread_px: Tensor) -> Tensor:
    """Each row (chips, 1, rows, cols) a mean of rows, Gaussian of standard deviation spread_px (chips, 1, 1, 1).

    At the border, the mean is over the rows there are.
    """
    row = torch.arange(chips.shape[-2], device=chips.device)
    distance = row[:, None] - row  # (rows, rows)
    weights = torch.exp(-0.5 * (distance / spread_px.clamp(min=1e-3)) ** 2)  # (chips, 1, rows, rows)
    return weights / weights.sum(dim=-1, keepdim=True) @ chips


def erasing(chips: Tensor, generator: torch.Generator) -> Tensor:
    """CHANGED_SHARE of the chips with a random rectangle turned into sea, unless the ship would lose too much.

    So that a network does not rest on one scatterer, one neighbour or one patch of sea. Zhong, Zheng, Kang, Li & Yang
    2020, "Random erasing data augmentation", AAAI; there the rectangle is filled with values over the whole range,
    which no sea shows. Here it gets the level and the speckle of the chip's own sea, but not its correlation. A chip
    that would not keep KEPT_ECHO of its echo, or shows none, is left alone.
    """
    rectangle = _rectangle(chips, generator)
    level, spread = _sea(chips)
    echo = (chips > level + ECHO_SPREADS * spread) & _middle(chips)
    lost, present = (pixels.sum(dim=(2, 3), keepdim=True) for pixels in (echo & rectangle, echo))
    is_bearable = (lost <= (1 - KEPT_ECHO) * present) & (present > 0)
    looks = (level / (2 * spread.clamp(min=1e-3))).square().clamp(min=1)  # of amplitude with that level and spread
    sea = (level * speckle_intensity(looks, chips, generator).sqrt()).clamp(max=1)
    return torch.where(rectangle & is_bearable & _some(chips, generator), sea, chips)


def _middle(chips: Tensor) -> Tensor:
    """(rows, cols) bool: the middle half of rows and columns, where the ship is; side lobes and neighbours go on."""
    in_rows, in_cols = ((_share_of_side(count, chips.device) - 0.5).abs() < 0.25 for count in chips.shape[2:])
    return in_rows[:, None] & in_cols


def _rectangle(chips: Tensor, generator: torch.Generator) -> Tensor:
    """(chips, 1, rows, cols) bool: a rectangle of ERASED_AREA and ERASED_ASPECT in each chip, anywhere inside it."""
    area = _uniform(chips, *ERASED_AREA, generator)
    aspect = _uniform(chips, *(math.log(limit) for limit in ERASED_ASPECT), generator).exp()
    height, width = (area * aspect).sqrt(), (area / aspect).sqrt()  # as shares of the side
    top, left = (_uniform(chips, 0, 1, generator) * (1 - extent) for extent in (height, width))
    row, col = (_share_of_side(count, chips.device) for count in chips.shape[2:])
    in_rows = (row[:, None] >= top) & (row[:, None] < top + height)  # (chips, 1, rows, 1)
    in_cols = (col >= left) & (col < left + width)  # (chips, 1, 1, cols)
    return in_rows & in_cols


def _share_of_side(count: int, device: torch.device) -> Tensor:
    """(count,) centres of pixels, 0..1 from border to border."""
    return (torch.arange(count, device=device) + 0.5) / count


def _sea(chips: Tensor) -> tuple[Tensor, Tensor]:
    """Median and normalised median absolute deviation of each chip, both (chips, 1, 1, 1): ships hardly move them."""
    pixels = chips.flatten(1)
    level = pixels.median(dim=1, keepdim=True).values
    spread = 1.4826 * (pixels - level).abs().median(dim=1, keepdim=True).values  # 1.4826: as a normal's deviation
    return level[:, :, None, None], spread[:, :, None, None]


def _uniform(chips: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """(chips, 1, 1, 1) float32, evenly between low and high."""
    return low + (high - low) * draw(torch.rand, (len(chips), 1, 1, 1), generator=generator, device=chips.device)


def _some(chips: Tensor, generator: torch.Generator, share: float = CHANGED_SHARE) -> Tensor:
    """(chips, 1, 1, 1) bool, true for `share` of the chips on average."""
    return _uniform(chips, 0, 1, generator) < share


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(flips=(0,)),
    "strict": Augmentation(flips=(0, 1, 2, 3)),
    "published": Augmentation(flips=(0, 2)),  # left and right
    "sar": Augmentation(
        flips=(0, 1, 2, 3),
        steps=(rotation_and_shift, speckle, gain, sub_aperture_blur, erasing),
        needs_amplitude=True,
    ),
    "land_use": Augmentation(flips=(0, 2), steps=(land_use_rotation_and_shift,)),
}
