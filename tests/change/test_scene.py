"""A whole area strip by strip: what comes out untiled, no seam, holes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from sarship.change.predictor import Predictor
from sarship.change.scene import blending_weights, earlier_of, lattice, predicted_strips
from sarship.change.series import read_area
from sarship.change.unet import UNet
from sarship.command import UserError
from sarship.device import choose_device
from tests.change.small_series import acquisitions, image_of, write_area, write_raster

PATCH = 16
SIZE = (61, 75)  # no multiple of anything


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    return read_area(write_area(tmp_path_factory.mktemp("scene") / "a", *SIZE, count=6))


def predictor(seed: int = 1) -> Predictor:
    torch.manual_seed(seed)
    network = UNet(PATCH, width=8).eval()
    network.image_mean.copy_(torch.tensor([-10.0, -17.0])[:, None, None])
    network.image_spread.fill_(3.0)
    return Predictor("UNet", network, {"settings": {"patch": PATCH}}, choose_device("cpu", "float32"))


def stitched(strips) -> np.ndarray:
    parts = list(strips)
    assert [row for row, _ in parts] == list(np.cumsum([0, *(part.shape[1] for _, part in parts[:-1])]))
    return np.concatenate([part for _, part in parts], axis=1)


def untiled(model: Predictor, area, newest, earlier) -> np.ndarray:
    """The whole area in memory: each square of the lattice is predicted on its own, and all are blended."""
    images, elevation = np.stack([area.image(each) for each in earlier]), area.elevation()
    total, said = np.zeros((2, area.rows, area.cols)), np.zeros((area.rows, area.cols))
    for row in lattice(area.rows, PATCH):
        for col in lattice(area.cols, PATCH):
            part = np.s_[..., row : row + PATCH, col : col + PATCH]
            square = model.batch(images[part][None], elevation[part][None], [[*earlier, newest]])[0]
            total[part] += blending_weights(PATCH) * square
            said[part] += blending_weights(PATCH)
    return total / said


def test_strips_are_what_comes_out_untiled(area):
    model, newest = predictor(), area.acquisitions[-1]
    earlier = earlier_of(area, newest)
    by_strips = stitched(predicted_strips(model, area, newest, earlier))
    assert by_strips.shape == (2, *SIZE)
    assert np.allclose(by_strips, untiled(model, area, newest, earlier), atol=1e-4)


@given(some.integers(4, 9).map(lambda power: 2**power), some.integers(0, 700))
def test_the_lattice_covers_every_pixel_with_some_weight(patch, beyond):
    length = patch + beyond
    corners = lattice(length, patch)
    assert corners[0] == 0
    assert corners[-1] == length - patch
    assert len(set(corners)) == len(corners)
    said = np.zeros(length)
    for corner in corners:
        said[corner : corner + patch] += blending_weights(patch)[patch // 2]
    assert said.min() > 0
    # In the inside of a regular lattice, weights of neighbours add up to the same everywhere.
    regular = said[patch // 2 : corners[-2]] if len(corners) > 3 else np.ones(1)
    assert np.allclose(regular, regular[0])


class Disagreeing:
    """A predictor whose squares each have a level of their own: the worst that a seam could show."""

    patch = PATCH
    network = predictor().network

    def batch(self, images: np.ndarray, elevation: np.ndarray, told) -> np.ndarray:
        levels = 50 * (images[:, 0, 0].mean(axis=(1, 2)) + 10)
        return np.broadcast_to(levels[:, None, None, None], (len(images), 2, PATCH, PATCH)).astype(np.float32)


def test_there_is_no_seam_between_strips_or_squares(area):
    """Even where squares disagree, no step between neighbouring pixels is larger at a border than between borders."""
    newest = area.acquisitions[-1]
    earlier = earlier_of(area, newest)
    image = stitched(predicted_strips(Disagreeing(), area, newest, earlier))
    for axis, length in ((1, SIZE[0]), (2, SIZE[1])):
        steps = np.abs(np.diff(image, axis=axis)).mean(axis=(0, 3 - axis))
        borders = [place - 1 for corner in lattice(length, PATCH) for place in (corner, corner + PATCH)]
        borders = sorted({place for place in borders if 0 <= place < length - 1})
        inside = np.delete(steps, borders)
        assert steps[borders].max() <= inside.max()
        assert steps[borders].mean() < inside.mean()
        assert inside.max() < np.ptp(image) / 4  # nor is there one anywhere else


def test_holes_are_nan_where_nothing_is_known_and_filled_where_others_know(tmp_path):
    folder = write_area(tmp_path / "a", *SIZE, count=5)
    own = acquisitions(5)
    for number, each in enumerate(own):
        values = image_of(each, *SIZE)
        values[:, 20:24, 20:24] = np.nan  # in all
        if number == 1:
            values[:, 40:50, 40:50] = np.nan  # in one
        write_raster(folder / each.file, values, ("VV", "VH"))
    heights = np.zeros((1, *SIZE), np.float32)
    heights[0, 5, 6] = np.nan
    write_raster(folder / "elevation.tif", heights)
    area = read_area(folder)
    image = stitched(predicted_strips(predictor(), area, own[4], own[:4]))
    wanted = np.zeros(SIZE, bool)
    wanted[20:24, 20:24] = wanted[5, 6] = True
    assert np.array_equal(np.isnan(image), np.stack([wanted, wanted]))


def test_an_area_that_is_too_small_and_a_date_that_is_too_early(tmp_path, area):
    small = read_area(write_area(tmp_path / "a", 12, 40, count=5))
    with pytest.raises(UserError, match="has 12 x 40 pixels, and the model needs 16 x 16"):
        next(predicted_strips(predictor(), small, small.acquisitions[4], small.acquisitions[:4]))
    with pytest.raises(UserError, match="has 3 images before it, and 4 are needed"):
        earlier_of(area, area.acquisitions[3])
