"""Losses: each by hand, what they are equal to where theory says so, and classes without chips."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship import losses
from sarship.losses import (
    COSINE_LOSSES,
    DEFERRED_BETA,
    EFFECTIVE_BETA,
    LDAM_LARGEST_MARGIN,
    LDAM_SCALE,
    LOSSES,
    effective_number_weights,
)

LOGITS = [[2.0, 0.0, -1.0], [0.5, 1.5, 0.0], [1.0, 1.0, 3.0], [0.0, -2.0, 0.5]]
LABELS = [0, 0, 2, 1]
COUNTS = [80, 16, 5]


def loss(name: str, logits=LOGITS, labels=LABELS, counts=COUNTS, progress: float = 0.0, **options) -> float:
    values = torch.tensor(logits), torch.tensor(labels), torch.tensor(counts, dtype=torch.float32)
    return getattr(losses, name)(*values, progress, **options).item()


def nll(row: list[float], label: int) -> float:
    return -math.log(math.exp(row[label]) / sum(math.exp(logit) for logit in row))


def mean_nll(logits: list[list[float]], labels: list[int]) -> float:
    return sum(map(nll, logits, labels)) / len(labels)


def weighted_mean_nll(weights: list[float], logits: list[list[float]], labels: list[int]) -> float:
    return sum(weights[label] * nll(row, label) for row, label in zip(logits, labels, strict=True)) / sum(
        weights[label] for label in labels
    )


def inverse_effective_numbers(beta: float) -> list[float]:
    weights = [(1 - beta) / (1 - beta**count) for count in COUNTS]
    return [weight * len(weights) / sum(weights) for weight in weights]


def less_margins() -> list[list[float]]:
    """LOGITS, those of the true classes less 30 times a margin; the rarest class, of 5 chips, has a margin of 0.5."""
    rows = [list(row) for row in LOGITS]
    for row, label in zip(rows, LABELS, strict=True):
        row[label] -= 30 * 0.5 * 5**0.25 / COUNTS[label] ** 0.25
    return rows


def test_cross_entropy_by_hand():
    assert loss("cross_entropy") == pytest.approx(mean_nll(LOGITS, LABELS), rel=1e-6)


def test_weighted_cross_entropy_by_hand():
    weights = [101 / 80, 101 / 16, 101 / 5]
    assert loss("weighted_cross_entropy") == pytest.approx(weighted_mean_nll(weights, LOGITS, LABELS), rel=1e-6)


def test_focal_by_hand():
    likelihoods = [math.exp(-nll(row, label)) for row, label in zip(LOGITS, LABELS, strict=True)]
    expected = sum(-((1 - likelihood) ** 2) * math.log(likelihood) for likelihood in likelihoods) / 4
    assert loss("focal") == pytest.approx(expected, rel=1e-6)


def test_class_balanced_by_hand():
    weights = inverse_effective_numbers(0.999)
    assert EFFECTIVE_BETA == 0.999
    expected = sum(weights[label] * nll(row, label) for row, label in zip(LOGITS, LABELS, strict=True)) / 4
    assert loss("class_balanced") == pytest.approx(expected, rel=1e-5)


def test_ldam_by_hand():
    assert (LDAM_SCALE, LDAM_LARGEST_MARGIN) == (30, 0.5)
    assert loss("ldam") == pytest.approx(mean_nll(less_margins(), LABELS), rel=1e-6)


def test_ldam_is_the_papers_scale_times_cosine_less_margin():
    cosines = [[0.3, -0.2, 0.1], [0.9, 0.8, -1.0]]
    margins = [0.5 * (5 / count) ** 0.25 for count in COUNTS]
    logits = [[30 * cosine for cosine in row] for row in cosines]
    shifted = [[30 * (cosines[0][0] - margins[0]), -6, 3], [27, 30 * (cosines[1][1] - margins[1]), -30]]
    assert loss("ldam", logits, [0, 1]) == pytest.approx(mean_nll(shifted, [0, 1]), rel=1e-5)


def test_ldam_drw_by_hand():
    weights = inverse_effective_numbers(0.9999)
    assert DEFERRED_BETA == 0.9999
    assert loss("ldam_drw", progress=0.79) == pytest.approx(mean_nll(less_margins(), LABELS), rel=1e-6)
    late = weighted_mean_nll(weights, less_margins(), LABELS)
    assert loss("ldam_drw", progress=0.8) == pytest.approx(late, rel=1e-5)
    assert late != pytest.approx(mean_nll(less_margins(), LABELS), rel=0.01)


@pytest.mark.parametrize("epochs", [5, 10, 15, 50, 200])
def test_reweighting_starts_after_80_percent_of_the_epochs(epochs):
    plain = loss("ldam")
    is_reweighted = [loss("ldam_drw", progress=(epoch - 1) / epochs) != plain for epoch in range(1, epochs + 1)]
    assert is_reweighted == [False] * (epochs * 4 // 5) + [True] * (epochs // 5)


def test_logit_adjusted_by_hand():
    shares = [80 / 101, 16 / 101, 5 / 101]
    adjusted = [[logit + math.log(share) for logit, share in zip(row, shares, strict=True)] for row in LOGITS]
    assert loss("logit_adjusted") == pytest.approx(mean_nll(adjusted, LABELS), rel=1e-6)


def test_label_smoothing_by_hand():
    expected = sum(
        0.9 * nll(row, label) + 0.1 / 3 * sum(nll(row, other) for other in range(3))
        for row, label in zip(LOGITS, LABELS, strict=True)
    )
    assert loss("label_smoothing") == pytest.approx(expected / 4, rel=1e-6)


def test_improved_cross_entropy_by_hand():
    def gap(row: list[float], label: int) -> float:
        return (math.exp(max(row)) - math.exp(row[label])) / sum(math.exp(logit) for logit in row)

    expected = mean_nll(LOGITS, LABELS) + sum(map(gap, LOGITS, LABELS)) / 4
    assert loss("improved_cross_entropy") == pytest.approx(expected, rel=1e-6)


def test_improved_cross_entropy_of_two_chips_on_paper():
    """Probabilities 1/4, 3/4 and label 0: log 4, and a gap of 3/4 - 1/4; 2/3, 1/3 and label 0: log 3/2, and no gap."""
    logits = [[0.0, math.log(3)], [math.log(2), 0.0]]
    assert loss("improved_cross_entropy", logits, [0, 0]) == pytest.approx((math.log(4) + 0.5 + math.log(1.5)) / 2)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_gradients_are_those_of_finite_differences(name, progress):
    """In double precision; no two logits of a chip are equal, where the largest one has no derivative."""
    logits = torch.tensor(LOGITS, dtype=torch.float64) + torch.tensor([0.0, 0.1, 0.3])
    labels, counts = torch.tensor(LABELS), torch.tensor(COUNTS, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, labels, counts, progress), logits.requires_grad_())


@st.composite
def batches(draw, chips: int = 6) -> tuple[list[list[float]], list[int]]:
    """Logits of 1 to `chips` chips in 2 to 5 classes, and labels."""
    classes = draw(st.integers(2, 5))
    row = st.lists(st.floats(-20, 20, width=32), min_size=classes, max_size=classes)
    logits = draw(st.lists(row, min_size=1, max_size=chips))
    label = st.integers(0, classes - 1)
    return logits, draw(st.lists(label, min_size=len(logits), max_size=len(logits)))


@settings(max_examples=50)
@given(batches(), st.integers(1, 10**5))
def test_with_classes_of_equal_size_balancing_changes_nothing(batch, count):
    logits, labels = batch
    plain = loss("cross_entropy", logits, labels)
    counts = [count] * len(logits[0])
    for name in ("weighted_cross_entropy", "class_balanced", "logit_adjusted"):
        assert loss(name, logits, labels, counts) == pytest.approx(plain, rel=1e-4, abs=1e-5), name
    late = loss("ldam_drw", logits, labels, counts, progress=0.9)
    assert late == pytest.approx(loss("ldam", logits, labels, counts), rel=1e-4, abs=1e-5)


@settings(max_examples=50)
@given(batches())
def test_focal_is_cross_entropy_at_gamma_0_and_less_above(batch):
    logits, labels = batch
    plain = loss("cross_entropy", logits, labels, [])
    assert loss("focal", logits, labels, [], gamma=0.0) == pytest.approx(plain, rel=1e-5, abs=1e-6)
    assert 0 <= loss("focal", logits, labels, []) <= plain * (1 + 1e-5) + 1e-6


@settings(max_examples=50)
@given(batches())
def test_improved_cross_entropy_is_cross_entropy_where_the_true_class_wins_and_at_most_1_more_elsewhere(batch):
    logits, labels = batch
    plain = loss("cross_entropy", logits, labels, [])
    assert plain <= loss("improved_cross_entropy", logits, labels, []) <= plain + 1 + 1e-5
    winners = [row.index(max(row)) for row in logits]
    assert loss("improved_cross_entropy", logits, winners, []) == loss("cross_entropy", logits, winners, [])


@settings(max_examples=50)
@given(batches(), st.lists(st.integers(1, 10**5), min_size=5, max_size=5))
def test_a_margin_makes_it_harder_and_the_rarest_class_hardest(batch, counts):
    logits, labels = batch
    counts = counts[: len(logits[0])]
    assert loss("ldam", logits, labels, counts) >= loss("cross_entropy", logits, labels) - 1e-6
    level = [[0.0] * len(counts)]
    alone = [loss("ldam", level, [label], counts) for label in range(len(counts))]
    assert max(alone) == alone[counts.index(min(counts))]


@given(st.lists(st.integers(1, 10**5), min_size=1, max_size=6), st.sampled_from([EFFECTIVE_BETA, DEFERRED_BETA]))
def test_effective_number_weights(counts, beta):
    weights = effective_number_weights(torch.tensor([*counts, 0], dtype=torch.float32), beta).tolist()
    unscaled = [(1 - beta) / (1 - beta**count) for count in counts]
    assert weights[:-1] == pytest.approx([weight * len(counts) / sum(unscaled) for weight in unscaled], rel=1e-4)
    assert weights[-1] == 0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("progress", [0.0, 0.9])
@pytest.mark.parametrize("size", [1.0, 100.0])
def test_a_class_without_chips_leaves_loss_and_gradient_finite(name, progress, size):
    logits = (torch.tensor(LOGITS) * size).requires_grad_()
    counts = torch.tensor([80.0, 0.0, 5.0])
    value = LOSSES[name](logits, torch.tensor([0, 0, 2, 2]), counts, progress)
    value.backward()
    assert value.shape == ()
    assert value.isfinite()
    assert value >= 0
    assert logits.grad.isfinite().all()
    assert logits.grad.any()
    absent = logits.grad[:, 1]
    # Nothing draws the network towards the absent class but label smoothing, which does so where its logit is tiny.
    assert (absent >= -1e-6).all() or name == "label_smoothing"


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "focal"])
def test_a_class_without_chips_is_pushed_away(name):
    logits = torch.zeros(1, 3, requires_grad=True)
    LOSSES[name](logits, torch.tensor([2]), torch.tensor([80.0, 0.0, 5.0]), 0.9).backward()
    assert logits.grad[0, 1] > 0.1
    assert logits.grad[0, 1] == pytest.approx(logits.grad[0, 0].item())  # as the most frequent class is


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_waits_for_the_device(name):
    """Meta tensors have no values: whatever asks for one, as for a branch or an .item(), raises."""
    logits = torch.empty(4, 3, device="meta", requires_grad=True)
    labels, counts = torch.empty(4, dtype=torch.int64, device="meta"), torch.empty(3, device="meta")
    LOSSES[name](logits, labels, counts, 0.9).backward()
    assert logits.grad.shape == (4, 3)


@pytest.mark.parametrize("name", LOSSES)
def test_counts_may_be_whole_numbers(name):
    logits, labels, counts = torch.tensor(LOGITS), torch.tensor(LABELS), torch.tensor(COUNTS)
    assert LOSSES[name](logits, labels, counts, 0.9).item() == pytest.approx(
        LOSSES[name](logits, labels, counts.float(), 0.9).item(), rel=1e-6
    )


def test_the_table_names_every_loss_by_its_function():
    assert all(name == function.__name__ for name, function in LOSSES.items())
    assert set(COSINE_LOSSES) < set(LOSSES)
