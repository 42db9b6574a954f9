"""The U-Net learns from samples, and a killed training ends as one that was not killed."""

import math

import numpy as np
import pytest
import torch

from sarship import epochs
from sarship.change import fitting
from sarship.change.conditions import FEATURES, VECTOR_LENGTH
from sarship.change.fitting import ChangeRecipe, SampleReader, error_db, fit
from sarship.change.unet import UNet
from sarship.checkpoint import Checkpoint
from sarship.device import choose_device
from tests.change.small_series import cut_area

CPU = choose_device("cpu", "float32")
RECIPE = ChangeRecipe(epochs=8, batch_size=8, learning_rate=3e-3, weight_decay=0.01, epoch_samples=0, seed=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return cut_area(tmp_path_factory.mktemp("fitting"))


def trained(samples, checkpoint=None, **changes) -> tuple[UNet, epochs.Progress]:
    torch.manual_seed(1)
    network = UNet(samples.patch, width=8, stochastic_depth=0.1, dropout=0.1)
    recipe = ChangeRecipe(**{**vars(RECIPE), **changes})
    return network, fit(network, samples, recipe, CPU, checkpoint)


def test_it_learns_the_pattern_and_what_the_rain_does(samples):
    network, progress = trained(samples, epochs=20, batch_size=16)
    val = samples.of_split("val")
    usual = np.stack([samples.earlier_images(each).mean(axis=0) - samples.image(each, each.newest) for each in val])
    errors = [row["val_rmse_db"] for row in progress.history]
    assert errors[progress.best_epoch - 1] == min(errors)
    assert min(errors) < 0.8 * np.sqrt(np.square(usual).mean())  # than the mean of the earlier images, blind to rain
    assert math.isclose(error_db(network, SampleReader(samples, val), 16, CPU), min(errors))
    images, elevation, conditions, _ = SampleReader(samples, samples.of_split("test")).__getitems__([0, 1, 2])
    dry, wet = conditions.clone(), conditions.clone()
    first_day = FEATURES["precipitation"].start
    dry[:, 4, first_day], wet[:, 4, first_day] = 0.0, 10.0
    with torch.no_grad():
        raised = network(images, elevation, wet) - network(images, elevation, dry)
    assert raised.mean() > 1  # 2 dB in truth


def test_scaling_is_that_of_the_training_samples(samples):
    network = UNet(samples.patch, width=8)
    fitting.fit_scaling(network, samples, samples.of_split("train"), 1)
    values = np.stack([samples.earlier_images(each) for each in samples.of_split("train")])
    for band in range(2):
        assert math.isclose(network.image_mean[band].item(), values[:, :, band].mean(), rel_tol=1e-3)
        assert math.isclose(network.image_spread[band].item(), values[:, :, band].std(), rel_tol=1e-2)
    assert (network.condition_spread > 0).all()
    assert network.condition_spread[FEATURES["snow"]] == 1  # there is no snow: it is told, and tells nothing


@pytest.mark.parametrize("killed_in", [2, 5])
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(samples, tmp_path, monkeypatch, killed_in):
    monkeypatch.setattr(epochs, "LARGEST_SAVING_SHARE", 1e9)  # keep the state of every epoch
    whole, progress = trained(samples)
    run_epoch, ran = fitting._run_epoch, []

    def killed(*args):
        if args[-1] == killed_in and len(ran) < killed_in:
            raise KeyboardInterrupt
        ran.append(args[-1])
        return run_epoch(*args)

    monkeypatch.setattr(fitting, "_run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(samples, Checkpoint(tmp_path / "state.pt", {}))
    ran += [0] * killed_in  # from here on, it is not killed
    resumed, again = trained(samples, Checkpoint(tmp_path / "state.pt", {}))
    assert [epoch for epoch in ran if epoch] == list(range(1, 9))  # no epoch ran twice
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    assert again.history == progress.history


def test_an_epoch_shows_as_many_samples_as_asked_for_and_others_each_time(samples, monkeypatch):
    shown = []
    batches = fitting.batches

    def watched(reader, order, size, device):
        if len(reader) == len(samples.of_split("train")):
            shown.append(order.tolist())
        return batches(reader, order, size, device)

    monkeypatch.setattr(fitting, "batches", watched)
    trained(samples, epochs=2, epoch_samples=17)  # 8 + 8 + 1: a batch of one has no variance
    assert [len(order) for order in shown] == [16, 16]
    assert len(set(shown[0])) == 16
    assert set(shown[0]) != set(shown[1])


def test_another_seed_gives_other_weights_and_the_same_the_same(samples):
    first, again, other = (trained(samples, epochs=1, seed=seed)[0].last.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_noise_is_on_what_is_measured_only_and_as_large_as_asked_for():
    torch.manual_seed(1)
    spread = torch.arange(1.0, VECTOR_LENGTH + 1)
    noise = fitting._noisy(torch.zeros(4000, 5, VECTOR_LENGTH), 0.2 * spread).flatten(0, 1)
    assert torch.allclose(noise[:, :7].std(dim=0), 0.2 * spread[:7], rtol=0.05)
    assert not noise[:, FEATURES["orbit"]].any()
    assert not noise[:, FEATURES["satellite"]].any()


def test_training_with_noise_is_another_and_repeats(samples):
    plain, noisy, again = (trained(samples, epochs=1, condition_noise=each)[0].last.weight for each in (0.0, 0.5, 0.5))
    assert not torch.equal(plain, noisy)
    assert torch.equal(noisy, again)
