"""The land: hills that water runs off, and covers that lie where they would."""

from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from sarship.change.cover import BOG, BUILT_UP, COVERS, FIELD, FOREST, WATER
from sarship.change.simulator.geometry import static_gain
from sarship.change.simulator.land import Land, make_land
from sarship.change.simulator.noise import smooth_field
from sarship.change.simulator.terrain import PIXEL_M

SEEDS = range(4)


@lru_cache
def land(seed: int = 0) -> Land:
    return make_land(320, np.random.SeedSequence(seed))


def slope(each: Land) -> np.ndarray:
    return np.hypot(*np.gradient(each.elevation_m, PIXEL_M))


def shares(each: Land) -> dict[int, float]:
    return {code: float((each.cover == code).mean()) for code in COVERS.values()}


def test_a_smooth_field_is_normal_and_smooth():
    field = smooth_field((500, 400), 8, np.random.default_rng(0))
    assert field.shape == (500, 400)
    assert field.mean() == pytest.approx(0, abs=0.1)
    assert field.std() == pytest.approx(1, abs=0.1)
    assert np.abs(np.diff(field, axis=0)).mean() < 0.15
    assert abs(np.corrcoef(field[:-40].ravel(), field[40:].ravel())[0, 1]) < 0.15


@pytest.mark.parametrize("seed", SEEDS)
def test_hills_are_boreal(seed):
    elevation = land(seed).elevation_m
    assert elevation.min() > 50
    assert elevation.max() < 450
    assert 30 < np.ptp(elevation) < 250
    gradient = slope(land(seed))
    assert 0.02 < np.median(gradient) < 0.12
    assert np.quantile(gradient, 0.999) < 0.7


@pytest.mark.parametrize("seed", SEEDS)
def test_every_lake_is_level_and_no_shore_is_below_it(seed):
    each = land(seed)
    labels, count = ndimage.label(each.cover == WATER)
    assert count > 0
    for lake in range(1, count + 1):
        level = each.elevation_m[labels == lake]
        assert np.ptp(level) < 0.6
        shore = ndimage.binary_dilation(labels == lake) & (labels == 0)
        assert each.elevation_m[shore].min() > level.min() - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_covers_lie_where_they_would(seed):
    each, gradient = land(seed), slope(land(seed))
    mean_slope = {code: gradient[each.cover == code].mean() for code in COVERS.values()}
    assert mean_slope[BOG] < 0.7 * mean_slope[FOREST]
    assert mean_slope[FIELD] < mean_slope[FOREST]
    far = ndimage.distance_transform_edt(each.cover != BUILT_UP) * PIXEL_M
    assert far[each.cover == FIELD].mean() < far[each.cover == FOREST].mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_forest_prevails_and_every_cover_is_there(seed):
    share = shares(land(seed))
    assert 0.45 < share[FOREST] < 0.85
    assert 0.03 < share[FIELD] < 0.15
    assert 0.02 < share[BOG] < 0.2
    assert 0.02 < share[WATER] < 0.12
    assert 0.005 < share[BUILT_UP] < 0.03


def test_cut_outs_mostly_have_forest_and_often_open_land():
    cuts = [
        land(seed).cover[r : r + 64, c : c + 64] for seed in SEEDS for r in range(0, 320, 64) for c in range(0, 320, 64)
    ]
    forest = np.array([(cut == FOREST).mean() for cut in cuts])
    field = np.array([np.isin(cut, (FIELD, BOG)).mean() for cut in cuts])
    assert (forest > 0.3).mean() > 0.8
    assert (field > 0.1).mean() > 0.35


def test_a_patch_has_one_cover_and_the_size_of_a_stand():
    each = land()
    np.testing.assert_array_equal(each.patches.cover[each.patch], each.cover)
    assert each.patch.max() + 1 == len(each.patches.cover)
    hectares = np.bincount(each.patch.ravel()) * PIXEL_M**2 / 1e4
    grown = hectares[(each.patches.cover == FOREST) & (each.patches.stock_m3_ha != 2.0)]
    assert 0.7 < np.average(grown, weights=grown) < 4
    fields = hectares[each.patches.cover == FIELD]
    assert 0.7 < np.average(fields, weights=fields) < 6


def test_trees_stand_in_forests_and_hardly_on_bogs():
    each = land()
    assert 8 < each.canopy_m[each.cover == FOREST].mean() < 20
    assert each.canopy_m[each.cover == BOG].mean() < 5
    for code in (FIELD, WATER, BUILT_UP):
        assert each.canopy_m[each.cover == code].max() == 0
    cleared = each.patches.stock_m3_ha[each.patch] == 2.0
    assert 0.002 < cleared.mean() < 0.05  # roads and a power line


def test_maps_are_as_small_as_they_can_be():
    each = land()
    types = {name: getattr(each, name).dtype for name in ("elevation_m", "canopy_m", "texture", "patch", "cover")}
    assert types == {"elevation_m": "f4", "canopy_m": "f4", "texture": "f4", "patch": "i4", "cover": "u1"}
    assert static_gain(each, "ascending", 38.0).dtype == "f4"


def test_texture_keeps_the_mean_and_water_has_none():
    each = land()
    assert (each.texture[:, each.cover == WATER] == 1).all()
    for code in (FOREST, FIELD, BOG):
        assert 10 * np.log10(each.texture[:, each.cover == code]).mean() == pytest.approx(0, abs=0.15)
    spread = {code: (10 * np.log10(each.texture[0, each.cover == code])).std() for code in (FOREST, FIELD)}
    assert spread[FIELD] < spread[FOREST]


def test_the_seed_decides_the_land():
    same, other = (make_land(96, np.random.SeedSequence(seed)) for seed in (5, 6))
    again = make_land(96, np.random.SeedSequence(5))
    for name in ("elevation_m", "cover", "patch", "canopy_m", "texture", "house", "house_gain"):
        np.testing.assert_array_equal(getattr(same, name), getattr(again, name))
    assert (same.cover != other.cover).mean() > 0.1
    assert np.abs(same.elevation_m - other.elevation_m).mean() > 5


def test_the_smallest_areas_are_land_too():
    for seed in range(8):
        tiny = make_land(64, np.random.SeedSequence(seed))
        assert np.isfinite(tiny.elevation_m).all()
        assert set(np.unique(tiny.cover)) <= set(COVERS.values())
