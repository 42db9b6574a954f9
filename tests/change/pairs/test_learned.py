"""The network that learns from the pair alone: what it finds, and that it is repeatable."""

import numpy as np
import pytest
import torch

from sarship.change.pairs import learned
from sarship.change.pairs.learned import CHANGED, UNCHANGED, UNSURE, Learning, confident_classes, features, learned_map
from sarship.command import UserError
from tests.change.pairs.speckled import as_pair, kappa_by_hand, planted


@pytest.fixture(scope="module")
def simulated():
    before, after, changed = planted()
    return as_pair(before, after), changed, learned_map(as_pair(before, after), Learning())


def test_planted_change_is_found(simulated):
    _, changed, found = simulated
    assert kappa_by_hand(found, changed) > 0.9


def test_a_seed_gives_the_same_map_and_leaves_the_generators_and_threads_alone(simulated):
    pair, _, found = simulated
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert np.array_equal(learned_map(pair, Learning()), found)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


def test_the_order_of_the_dates_matters_little(simulated):
    pair, _, found = simulated
    swapped = learned_map(as_pair(pair.after, pair.before), Learning())
    assert (swapped == found).mean() > 0.97


def test_confident_pixels_are_mostly_right():
    before, after, changed = planted()
    classes = confident_classes(as_pair(before, after), 1)
    assert changed[classes == CHANGED].mean() > 0.95 and changed[classes == UNCHANGED].mean() < 0.05
    assert 0 < (classes == UNSURE).mean() < 0.3


def test_pixels_without_data_teach_nothing():
    before, after, _ = planted()
    valid = np.ones(before.shape, bool)
    valid[:10] = False
    pair = as_pair(before, after, valid)
    assert (confident_classes(pair, 1)[~valid] == UNSURE).all()
    assert not learned_map(pair, Learning())[~valid].any()


def test_features_have_one_scale_whatever_the_pair(simulated):
    pair, _, _ = simulated
    before, after = pair.before, pair.after
    np.testing.assert_allclose(features(as_pair(50 * before, 50 * after)), features(pair), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features(as_pair(after, before))[0], -features(pair)[0], rtol=1e-5)


def test_small_changes_are_dropped_as_asked(simulated):
    pair, changed, found = simulated
    assert found.any() and not learned_map(pair, Learning(min_pixels=changed.sum() + 1)).any()


def test_a_larger_image_goes_through_in_windows(simulated, monkeypatch):
    pair, changed, _ = simulated
    monkeypatch.setattr(learned, "WINDOW_PX", 40)
    assert kappa_by_hand(learned_map(pair, Learning()), changed) > 0.85


def test_windows_do_not_show_in_what_the_network_says(simulated, monkeypatch):
    pair, _, _ = simulated
    inputs = torch.from_numpy(np.pad(features(pair), ((0, 0), (3, 3), (3, 3)), mode="reflect"))
    network = learned._PatchNetwork().eval()
    with torch.no_grad():
        whole = network(inputs[None])[0]
        monkeypatch.setattr(learned, "WINDOW_PX", 24)
        for rows, cols, seen in learned._tiles(inputs):
            torch.testing.assert_close(network(seen[None])[0], whole[rows, cols], rtol=1e-4, atol=1e-5)


def test_a_pair_without_sure_change_is_refused(monkeypatch):
    before, after, _ = planted()
    votes = iter(np.eye(4, dtype=bool))  # each clustering finds change where no other one does
    monkeypatch.setattr(learned, "pca_kmeans", lambda levels, *_: np.resize(next(votes), levels.shape))
    with pytest.raises(UserError, match="no pixel is surely changed in this pair; use --method pca-kmeans"):
        learned_map(as_pair(before, after), Learning())
