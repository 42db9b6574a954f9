"""PCA-k-means finds planted change, the same each time, and knows nothing of pixels without data."""

import numpy as np
import pytest

from sarship.change.pairs.clustering import pca_kmeans
from sarship.change.pairs.ratios import log_ratio
from sarship.change.pairs.reading import nearest_valid
from tests.change.pairs.speckled import as_pair, kappa_by_hand, planted


@pytest.fixture
def levels():
    before, after, changed = planted()
    return log_ratio(as_pair(before, after)), changed


def test_planted_change_is_found_whichever_the_seed(levels):
    difference, changed = levels
    everywhere = np.ones(changed.shape, bool)
    for seed in (1, 2, 3):
        assert kappa_by_hand(pca_kmeans(difference, everywhere, seed), changed) > 0.9
    assert np.array_equal(pca_kmeans(difference, everywhere, 1), pca_kmeans(difference, everywhere, 1))


def test_a_wider_neighbourhood_smooths_more(levels):
    difference, _ = levels
    everywhere = np.ones(difference.shape, bool)
    edges = [np.count_nonzero(np.diff(pca_kmeans(difference, everywhere, 1, side))) for side in (3, 7)]
    assert edges[1] < edges[0]


def test_pixels_without_data_are_never_changed(levels):
    difference, changed = levels
    valid = np.ones(changed.shape, bool)
    valid[:, 20:30] = False
    found = pca_kmeans(nearest_valid(difference, valid), valid, 1)
    assert not found[~valid].any()
    assert kappa_by_hand(found[valid], changed[valid]) > 0.85


def test_data_in_few_pixels_is_enough():
    before, after, _ = planted()
    valid = np.zeros(before.shape, bool)
    valid[10:14, 10:14] = valid[0:4, 0:4] = True  # no block is whole
    found = pca_kmeans(nearest_valid(log_ratio(as_pair(before, after)), valid), valid, 1)
    assert found[10:14, 12:14].all() and not found[0:4, 0:4].any()
