"""Fit: what it learns, picks and resumes."""

import numpy as np
import pytest
import torch
from torch import nn

from models import build
from sarship import training
from sarship.augment import apply_flips, draw_flips
from sarship.command import UserError
from sarship.losses import LOSSES
from sarship.training import (
    LabelledChips,
    Progress,
    Recipe,
    _is_best,
    _WholeNetwork,
    choose_device,
    fit,
    predict,
    to_float,
)

CPU = choose_device("cpu", "float32")


def recipe(**changes) -> Recipe:
    defaults = {"epochs": 4, "batch_size": 16, "learning_rate": 1e-3, "weight_decay": 0.0}
    return Recipe(**{**defaults, "loss": "cross_entropy", "flips": True, "seed": 3, **changes})


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
    progress = Progress()
    for epoch, (loss, score) in enumerate(val, start=1):
        progress.history.append({"epoch": epoch, "val_loss": loss, "val_macro_f1": score})
        if _is_best(progress):
            progress.best_epoch = epoch
    assert progress.best_epoch == kept


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    def trained(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        network = build("CNN", 3, 32)
        fit(network, bars(32, 1), bars(8, 2), recipe(epochs=1, seed=seed), CPU, None)
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


@pytest.mark.parametrize("killed_in", [2, 3])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path, monkeypatch, killed_in):
    train, val = bars(48, 1), bars(12, 2)
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1)  # keep the state of every epoch

    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return build("CNN", 3, 32)

    whole = fresh()
    expected = fit(whole, train, val, recipe(), CPU, None)
    run_epoch = training._train_epoch

    def killed(network, *args):
        if args[-2] == killed_in:
            raise KeyboardInterrupt
        return run_epoch(network, *args)

    checkpoint = tmp_path / "state.pt"
    monkeypatch.setattr(training, "_train_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(fresh(), train, val, recipe(), CPU, checkpoint)
    monkeypatch.setattr(training, "_train_epoch", run_epoch)
    resumed = fresh()
    progress = fit(resumed, train, val, recipe(), CPU, checkpoint)
    assert [row["epoch"] for row in progress.history] == [1, 2, 3, 4]
    assert progress.history == expected.history
    for mine, theirs in zip(resumed.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", ["Fine_VGG", "Fine_ResNet"])
@pytest.mark.parametrize("flips", [True, False])
def test_features_computed_once_give_the_weights_of_the_long_way(name, flips, monkeypatch):
    """The head alone on kept features, against backbone and head in every epoch: the same to rounding."""
    train, val = bars(24, 1), bars(6, 2)

    def trained() -> tuple[list[dict], torch.Tensor]:
        torch.manual_seed(0)
        network = build(name, 3, 32)
        progress = fit(network, train, val, recipe(epochs=2, flips=flips, learning_rate=1e-4), CPU, None)
        return progress.history, torch.cat([weight.flatten() for weight in network.classifier.parameters()])

    short_history, short = trained()
    monkeypatch.setattr(
        training, "_HeadOnly", lambda network, pixels, device, _: _WholeNetwork(network, pixels, device)
    )
    long_history, long = trained()
    assert torch.allclose(short, long, atol=1e-5)
    assert [row["train_loss"] for row in short_history] == pytest.approx(
        [row["train_loss"] for row in long_history], rel=1e-4
    )


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


def test_each_chip_has_its_own_flip():
    chips = torch.arange(4.0).view(1, 1, 2, 2).expand(200, 1, 2, 2)
    flipped = apply_flips(chips, draw_flips(200, torch.Generator().manual_seed(1)))
    kinds, counts = flipped.flatten(1).unique(dim=0, return_counts=True)
    assert len(kinds) == 4
    assert counts.min() > 25


def test_to_float_scales_to_one():
    assert to_float(torch.tensor([[[0, 255]]], dtype=torch.uint8)).flatten().tolist() == [0, 1]


def test_weighted_cross_entropy_by_hand():
    logits = torch.log(torch.tensor([[0.8, 0.2], [0.6, 0.4]]))
    labels, counts = torch.tensor([0, 1]), torch.tensor([3.0, 1.0])
    plain = LOSSES["cross_entropy"](logits, labels, counts)
    weighted = LOSSES["weighted_cross_entropy"](logits, labels, counts)
    assert plain.item() == pytest.approx(-(np.log(0.8) + np.log(0.4)) / 2)
    assert weighted.item() == pytest.approx(-(1 / 3 * np.log(0.8) + np.log(0.4)) / (1 / 3 + 1))


def test_a_class_without_chips_gets_no_weight():
    loss = LOSSES["weighted_cross_entropy"](torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([5.0, 5.0, 0.0]))
    assert torch.isfinite(loss)


def test_cuda_that_is_absent_is_said():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(UserError, match="--device cuda"):
        choose_device("cuda", "auto")
