"""Fit: what it learns, picks and resumes."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from models import build
from sarship import epochs, features, training
from sarship.augment import AUGMENTATIONS
from sarship.checkpoint import Checkpoint
from sarship.device import choose_device
from sarship.familiarity import fit_familiarity
from sarship.features import FeatureStore
from sarship.feeding import WholeNetwork
from sarship.losses import COSINE_LOSSES, LOSSES
from sarship.sampling import SAMPLERS
from sarship.training import (
    LabelledChips,
    Recipe,
    fit,
    predict,
    predict_sets,
)

CPU = choose_device("cpu", "float32")
SGD = {"optimizer": "sgd", "learning_rate": 1e-2, "final_learning_rate": 1e-3, "weight_decay": 0.01}


def recipe(**changes) -> Recipe:
    defaults = {"epochs": 4, "batch_size": 16, "learning_rate": 1e-3, "weight_decay": 0.0}
    defaults |= {"loss": "cross_entropy", "sampler": "none", "augment": "strict", "detached": False, "seed": 3}
    return Recipe(**{**defaults, **changes})


def bars(count: int, seed: int) -> LabelledChips:
    """Chips whose class is the length of a bright bar, whichever way it is flipped."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    pixels = generator.integers(0, 40, (count, 32, 32)).astype(np.uint8)
    for chip, label in zip(pixels, labels, strict=True):
        half = 2 + 5 * label
        chip[16 - half : 16 + half, 15:18] = 200
    return LabelledChips(pixels, labels, 3)


def test_it_learns_and_the_picked_epoch_is_the_best():
    network = build("CNN", 3, 32)
    val = bars(60, 2)
    progress = fit(network, bars(240, 1), val, recipe(epochs=6), CPU, None)
    best = max(row["val_macro_f1"] for row in progress.history)
    assert best > 0.9
    assert progress.history[progress.best_epoch - 1]["val_macro_f1"] == best
    assert (predict(network, val.pixels, CPU).argmax(1) == val.labels).mean() > 0.9


@pytest.mark.parametrize(
    ("val", "kept"),
    [
        ([(1.1, 0.3), (0.9, 0.6), (0.7, 0.6), (1.0, 0.5)], 3),  # of two equal scores, the lower loss
        ([(0.7, 0.6), (0.7, 0.6)], 1),  # of two equal epochs, the first
        ([(0.2, 0.3), (0.9, 0.4)], 2),  # the score comes before the loss
        ([(None, None), (None, None)], 2),  # without val the last
    ],
)
def test_which_epoch_is_kept(val, kept):
    progress = epochs.Progress()
    for epoch, (loss, score) in enumerate(val, start=1):
        progress.history.append({"epoch": epoch, "val_loss": loss, "val_macro_f1": score})
        if epochs.is_best(progress, training._rank):
            progress.best_epoch = epoch
    assert progress.best_epoch == kept


def test_sgd_learns_and_each_of_its_options_matters():
    def trained(epochs: int, chips: int, **changes) -> tuple[list[dict], torch.Tensor]:
        torch.manual_seed(0)
        network = build("CNN", 3, 32)
        wanted = recipe(**{**SGD, "epochs": epochs, "augment": "none", **changes})
        history = fit(network, bars(chips, 1), bars(60, 2), wanted, CPU, None).history
        return history, torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert max(row["val_macro_f1"] for row in trained(5, 240)[0]) > 0.9
    _, weights = trained(1, 32)
    for changes in ({"momentum": 0.0}, {"final_learning_rate": 0.0}, {"weight_decay": 0.0}, {"optimizer": "adam"}):
        assert not torch.equal(weights, trained(1, 32, **changes)[1]), changes


def test_sgd_takes_the_steps_of_its_formula():
    """v <- 0.9 v + g + decay w; w <- w - rate v: Sutskever et al. 2013, eq. 1 and 2, as PyTorch has them."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = training._optimizer([weight], recipe(**SGD))
    expected, velocity = weight.detach().clone(), torch.zeros(2)
    for gradient in (torch.tensor([0.5, 1.0]), torch.tensor([-1.0, 0.0])):
        weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.9 * velocity + gradient + 0.01 * expected
        expected = expected - 0.01 * velocity
    assert weight.detach().tolist() == pytest.approx(expected.tolist())
    assert optimizer.param_groups[0]["fused"]


@pytest.mark.parametrize(("final", "last"), [(0.0, 0.0), (1e-4, 1e-4), (1e-3, 1e-3)])
def test_the_learning_rate_ends_where_it_should(final, last):
    wanted = recipe(final_learning_rate=final, epochs=10)
    rates = [1e-3 * epochs.schedule(step / 100, 10, wanted.final_share) for step in range(1001)]
    assert rates[-1] == pytest.approx(last)
    assert rates[500] == pytest.approx((1e-3 + final) / 2)
    assert max(rates) <= 1e-3
    assert rates[0] == pytest.approx(1e-4)  # warming up
    assert all(later <= rate for rate, later in pairwise(rates[100:]))


def test_without_a_last_rate_the_schedule_is_what_it_was_to_the_last_bit():
    for step in range(1000):
        done = step / 100 / 10
        before = min(1.0, (done + 0.01) / 0.1) * 0.5 * (1 + math.cos(math.pi * done))
        assert epochs.schedule(step / 100, 10, 0.0) == before


def test_input_scaling_of_grey_chips_is_one_number_and_of_colour_one_a_band():
    pixels = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 3), np.uint8)
    pixels[..., 1] //= 3
    labels = np.zeros(7, np.int64)
    mean, spread = LabelledChips(pixels, labels, 1).input_scaling()
    assert mean == pytest.approx((pixels / 255).mean(axis=(0, 1, 2)).tolist())
    assert spread == pytest.approx((pixels / 255).std(axis=(0, 1, 2)).tolist())
    grey = pixels[..., 0]
    scaled = grey.astype(np.float32) / 255
    assert LabelledChips(grey, labels, 1).input_scaling() == (float(scaled.mean()), float(scaled.std()))


def test_colour_chips_are_learnt_by_their_colour():
    """The classes differ in nothing but which band is bright."""
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 3, 90)
    pixels = generator.integers(0, 40, (90, 32, 32, 3)).astype(np.uint8)
    for chip, label in zip(pixels, labels, strict=True):
        chip[..., label] += 60
    chips = LabelledChips(pixels, labels, 3)
    network = build("CNN", 3, 32)
    network.scale_input(*chips.input_scaling())
    fit(network, chips, chips, recipe(epochs=3, augment="land_use"), CPU, None)
    assert (predict(network, pixels, CPU).argmax(1) == labels).mean() > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    def trained(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        network = build("CNN", 3, 32)
        fit(network, bars(32, 1), bars(8, 2), recipe(epochs=1, seed=seed), CPU, None)
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


@pytest.mark.parametrize("killed_in", [2, 3])
@pytest.mark.parametrize("changes", [{}, SGD], ids=["adam", "sgd"])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path, monkeypatch, killed_in, changes):
    train, val = bars(48, 1), bars(12, 2)
    wanted = recipe(**changes)
    monkeypatch.setattr(epochs, "LARGEST_SAVING_SHARE", 1e9)  # keep the state of every epoch

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return build("CNN", 3, 32)

    whole = fresh()
    expected = fit(whole, train, val, wanted, CPU, None)
    run_epoch = training._Epochs.run

    def killed(self, epoch):
        if epoch == killed_in:
            raise KeyboardInterrupt
        return run_epoch(self, epoch)

    checkpoint = Checkpoint(tmp_path / "state.pt", {})
    monkeypatch.setattr(training._Epochs, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(fresh(), train, val, wanted, CPU, checkpoint)
    monkeypatch.setattr(training._Epochs, "run", run_epoch)
    resumed = fresh()
    progress = fit(resumed, train, val, wanted, CPU, checkpoint)
    assert [row["epoch"] for row in progress.history] == [1, 2, 3, 4]
    assert progress.history == expected.history
    for mine, theirs in zip(resumed.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", ["Fine_VGG", "Fine_ResNet"])
@pytest.mark.parametrize("augment", ["none", "published", "strict"])
def test_features_computed_once_give_the_weights_of_the_long_way(name, augment, monkeypatch):
    """The head alone on kept features, against backbone and head in every epoch: the same to rounding."""
    train, val = bars(24, 1), bars(6, 2)

    def trained() -> tuple[list[dict], torch.Tensor]:
        torch.manual_seed(0)
        network = build(name, 3, 32)
        progress = fit(network, train, val, recipe(epochs=2, augment=augment, learning_rate=1e-4), CPU, None)
        return progress.history, torch.cat([weight.flatten() for weight in network.classifier.parameters()])

    short_history, short = trained()
    the_long_way = partial(WholeNetwork, augmentation=AUGMENTATIONS[augment], device=CPU)
    monkeypatch.setattr(training, "training_feed", lambda network, pixels, *_: the_long_way(network, pixels))
    monkeypatch.setattr(training, "evaluation_feed", lambda network, pixels, *_: the_long_way(network, pixels))
    long_history, long = trained()
    assert torch.allclose(short, long, atol=1e-5)
    for column in ("train_loss", "val_loss", "val_macro_f1"):
        short_column, long_column = ([row[column] for row in history] for history in (short_history, long_history))
        assert short_column == pytest.approx(long_column, rel=1e-4)


def test_features_in_a_file_give_the_results_of_those_in_memory(tmp_path, monkeypatch):
    def results() -> tuple:
        torch.manual_seed(0)
        network, store = build("Fine_ResNet", 3, 32), FeatureStore(tmp_path)
        network.freeze(len(network.features))
        train, val = bars(24, 1), bars(9, 2)
        history = fit(network, train, val, recipe(epochs=2), CPU, None, store).history
        familiarity = fit_familiarity(network, train.pixels, val.pixels, CPU, 0, store)
        answers = predict(network, val.pixels, CPU, torch.arange(9) % 4, store)
        return history, answers.tolist(), familiarity.reference.tolist(), familiarity.threshold

    held = results()
    monkeypatch.setattr(features, "HELD_BYTES", 0)
    assert results() == held


def test_without_val_the_last_epoch_is_taken():
    nothing = LabelledChips(np.empty((0, 32, 32), np.uint8), np.empty(0, np.int64), 3)
    progress = fit(build("CNN", 3, 32), bars(16, 1), nothing, recipe(epochs=2), CPU, None)
    assert progress.best_epoch == 2


def test_predict_is_deterministic_and_normalised_and_leaves_chips_alone():
    network, pixels = build("CNN", 3, 32), bars(10, 1).pixels
    first = predict(network, pixels, CPU)
    assert np.array_equal(first, predict(network, pixels, CPU))
    assert first.sum(axis=1) == pytest.approx(1)
    one_by_one = np.concatenate([predict(network, pixels[i : i + 1], CPU) for i in range(10)])
    assert one_by_one == pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize("detached", [True, False])
def test_a_detached_optimizer_leaves_every_weight_as_it_was(detached):
    network = build("CNN", 3, 32)
    before = [parameter.clone() for parameter in network.parameters()]
    fit(network, bars(32, 1), bars(8, 2), recipe(epochs=2, detached=detached), CPU, None)
    same = [torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True)]
    assert all(same) if detached else not any(same)


def test_every_augmentation_sampler_and_loss_trains_and_repeats():
    train, val = bars(24, 1), bars(6, 2)
    for changes in (
        *({"augment": name} for name in AUGMENTATIONS),
        *({"sampler": name} for name in SAMPLERS),
        *({"loss": name} for name in LOSSES),
    ):
        histories = []
        for _ in range(2):
            torch.manual_seed(0)
            network = build("CNN", 3, 32, cosine=changes.get("loss") in COSINE_LOSSES)
            histories.append(fit(network, train, val, recipe(epochs=2, **changes), CPU, None).history)
        assert histories[0] == histories[1], changes
        assert all(np.isfinite(row["train_loss"]) for row in histories[0]), changes


def test_flips_of_test_chips_are_only_made_when_asked_for():
    network, pixels = build("CNN", 3, 32), np.random.default_rng(1).integers(0, 256, (12, 32, 32), np.uint8)
    flips = torch.arange(12) % 4
    mirrored = pixels.copy()
    for index, flip in enumerate(flips):
        mirrored[index] = mirrored[index][:: -1 if flip % 2 else 1, :: -1 if flip // 2 else 1]
    assert predict(network, pixels, CPU, flips) == pytest.approx(predict(network, mirrored, CPU), abs=1e-6)
    assert not np.allclose(predict(network, pixels, CPU, flips), predict(network, pixels, CPU))


@pytest.mark.parametrize(("name", "through_all_of_it"), [("CNN", 16), ("Fine_VGG", 0)])
def test_sets_evaluated_in_one_pass_have_the_answers_that_each_has_alone(name, through_all_of_it):
    network, fusar, opensarship = build(name, 3, 32), bars(9, 1).pixels, bars(7, 2).pixels
    network.scale_input(0.2, 0.2)
    sets = {"Fusar": fusar, "OpenSARShip": opensarship, "Mixed": np.concatenate([fusar, opensarship])}
    evaluated = []
    handle = network.register_forward_hook(lambda module, inputs, output: evaluated.append(len(output)))
    together = predict_sets(network, sets, CPU)
    handle.remove()
    assert sum(evaluated) == through_all_of_it  # each chip once; a frozen backbone's features go through the head
    for set_name, pixels in sets.items():
        assert together[set_name] == pytest.approx(predict(network, pixels, CPU), abs=1e-6)


def test_nothing_inside_an_epoch_waits_for_the_device():
    """Reading a number off a tensor, or asking which elements are true, would make the CPU wait for a GPU."""
    waiting = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero):
                waiting.append(function)
            return function(*args, **(kwargs or {}))

    network = build("CNN", 3, 32)
    several = ({"augment": "sar"}, {"augment": "land_use"}, {"optimizer": "sgd"})
    for changes in [*several, *({"loss": name} for name in LOSSES if name not in COSINE_LOSSES)]:
        wanted = recipe(**changes)
        optimizer = training._optimizer(list(network.parameters()), wanted)
        passes = training._Epochs(network, optimizer, bars(48, 1), wanted, CPU, training.IN_MEMORY)
        with Watch():
            passes.run(1)
        assert len(waiting) == 1, changes  # the loss, at the end
        waiting.clear()
