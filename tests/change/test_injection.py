"""Simulated change: where it falls, and what it does to pixels."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from sarship.change.cover import FIELD, FOREST
from sarship.change.injection import (
    OPEN_PIXELS,
    Injection,
    change_mask,
    inject,
    mapped_to_open_land,
    open_values,
    random_polygon,
    read_changed,
    shifted,
)
from sarship.change.sample_set import read_samples
from sarship.change.samples import Cutting, cut
from sarship.change.series import read_area
from sarship.command import UserError
from tests.change.small_series import cut_area, write_area

SHIFT = Injection("shift", -2.5, 5, 0.5, 1)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return cut_area(tmp_path_factory.mktemp("injection"))


@given(some.integers(0, 2**32), some.integers(16, 128), some.floats(8, 60))
def test_a_polygon_is_no_wider_than_asked_for(seed, size, across):
    rows, cols = np.nonzero(random_polygon(size, across, np.random.default_rng(seed)))
    if len(rows):
        assert max(np.ptp(rows), np.ptp(cols)) <= across


@given(some.integers(0, 2**32))
def test_change_is_in_the_forest_only(seed):
    generator = np.random.default_rng(seed)
    forest = generator.random((32, 32)) < 0.5
    mask = change_mask(forest, SHIFT, generator)
    assert not (mask & ~forest).any()


@given(some.floats(-10, 10), some.integers(0, 99))
def test_a_shift_is_added_where_the_mask_is_and_nowhere_else(shift, seed):
    generator = np.random.default_rng(seed)
    image, mask = generator.normal(-15, 3, (2, 8, 8)), generator.random((8, 8)) < 0.5
    difference = shifted(image, mask, shift) - image
    assert np.allclose(difference[:, mask], shift)
    assert not difference[:, ~mask].any()


def test_the_statistical_change_has_the_distribution_of_open_land():
    generator = np.random.default_rng(1)
    image = generator.normal(-10, 1, (2, 64, 64))
    image[1] -= 6
    mask = np.zeros((64, 64), bool)
    mask[10:50, 10:50] = True
    open_land = np.stack([generator.gamma(9, 0.7, 4000) - 20, generator.normal(-22, 2, 4000)])
    changed = mapped_to_open_land(image, mask, np.ones((64, 64), bool), open_land)
    assert np.array_equal(changed[:, ~mask], image[:, ~mask])
    for band in range(2):
        wanted, got = (np.quantile(each, [0.1, 0.5, 0.9]) for each in (open_land[band], changed[band][mask]))
        assert np.allclose(wanted, got, atol=0.25)
        order = np.argsort(image[band][mask])
        assert (np.diff(changed[band][mask][order]) >= 0).all()  # darker stays darker


def test_open_land_is_that_of_the_day_and_of_the_place_first(samples):
    sample = samples.of_split("test")[0]
    values = open_values(samples, sample)
    assert values.shape[1] >= OPEN_PIXELS
    # A place has 128 pixels of field or none: its own come first, in whichever order they lie there.
    own = samples.image(sample, sample.newest)[:, samples.cover(sample) == FIELD]
    assert np.array_equal(values[:, : own.shape[1]], own)


@pytest.mark.parametrize("kind", ["shift", "statistical"])
def test_the_same_seed_gives_the_same_bytes_and_the_masks_are_kept(samples, tmp_path, kind):
    injection = Injection(kind, -2.5, 5, 0.5, 1)
    options = {"kind": kind, "shift_db": -2.5, "data": samples.fingerprint()}
    counts = inject(samples, injection, tmp_path / "one", options)
    inject(samples, injection, tmp_path / "two", options)
    for name in ("images.npy", "masks.npy", "samples.csv", "options.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    changed = read_changed(samples, tmp_path / "one")
    assert counts["changed"] == len(changed.samples) > 10
    for sample, image, mask in zip(changed.samples, changed.images, changed.masks, strict=True):
        assert sample.split == "test"
        assert mask.any()
        assert (samples.cover(sample)[mask] == FOREST).all()
        difference = image.astype(float) - samples.image(sample, sample.newest)
        assert not difference[:, ~mask].any()
        if kind == "shift":
            assert np.allclose(difference[:, mask], -2.5, atol=0.02)


def test_a_change_depends_on_its_own_sample_only(samples, tmp_path):
    options = {"kind": "shift", "shift_db": -2.5, "data": samples.fingerprint()}
    inject(samples, SHIFT, tmp_path / "all", options)
    some_only = SimpleNamespace(
        of_split=lambda split: samples.of_split(split)[::3], cover=samples.cover, image=samples.image
    )
    inject(some_only, SHIFT, tmp_path / "some", options)
    masks = [dict(zip(names(tmp_path / part), np.load(tmp_path / part / "masks.npy"), strict=True))
             for part in ("all", "some")]  # fmt: skip
    assert 3 < len(masks[1]) < len(masks[0])
    for name, mask in masks[1].items():
        assert np.array_equal(mask, masks[0][name])


def names(folder: Path) -> list[str]:
    return [line.split(",")[0] for line in (folder / "samples.csv").read_text().splitlines()[1:]]


def test_without_land_cover_nothing_can_be_changed(tmp_path):
    area = write_area(tmp_path / "a")
    (area / "land_cover.tif").unlink()
    cut([read_area(area)], Cutting(16, 0, 4, 4, 0.3, 0.1, 60, 1), tmp_path / "samples", {"patch": 16})
    with pytest.raises(UserError, match="no test sample has forest to change"):
        inject(read_samples(tmp_path / "samples"), SHIFT, tmp_path / "changed", {})
    assert not (tmp_path / "changed").exists()


def test_changed_samples_that_are_missing_damaged_or_of_others_are_refused(samples, tmp_path):
    with pytest.raises(UserError, match=r"run detect_changes\.py inject"):
        read_changed(samples, tmp_path / "none")
    inject(samples, SHIFT, tmp_path / "one", {"kind": "shift", "shift_db": -2.5, "data": "other"})
    with pytest.raises(UserError, match="was injected into other samples"):
        read_changed(samples, tmp_path / "one")
    options = {"kind": "shift", "shift_db": -2.5, "data": samples.fingerprint()}
    (tmp_path / "one" / "options.json").write_text(json.dumps(options))
    (tmp_path / "one" / "masks.npy").write_bytes(b"no array")
    with pytest.raises(UserError, match="is damaged"):
        read_changed(samples, tmp_path / "one")
