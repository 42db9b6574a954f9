"""Intervals hold what they say, differences are even-handed, p-values are neither lucky nor zero."""

from dataclasses import replace

import numpy as np
import pytest

from sarship.comparison.statistics import (
    Answers,
    Bootstrap,
    common_seeds,
    figure_names,
    figures_of,
    holm,
    mcnemar,
    same_answers,
    same_chips,
    seed_interval,
    two_sided_p,
)
from sarship.scores import SetResult, macro_f1_interval, macro_f1_of_confusions, score

SHIPS = ("Cargo", "Fishing", "Tanker")
SHARES = (0.6, 0.15, 0.25)


def make_result(labels, predictions, vessels=None, seed=1, classes=SHIPS, tested="Fusar") -> SetResult:
    return SetResult(
        trained="Fusar",
        tested=tested,
        model="CNN",
        seed=seed,
        classes=classes,
        chips=[f"chip{index}" for index in range(len(labels))],
        vessels=[str(index) for index in range(len(labels))] if vessels is None else vessels,
        labels=np.asarray(labels),
        probabilities=np.eye(len(classes))[np.asarray(predictions)],
    )


class World:
    """Test chips, two a vessel, with a difficulty that every network meets; networks differ by seed and by chip."""

    def __init__(self, generator: np.random.Generator, vessels: int = 60):
        self.generator = generator
        self.labels = np.repeat(generator.choice(3, size=vessels, p=SHARES), 2)
        self.vessels = np.repeat(np.arange(vessels), 2).astype(str).tolist()
        self.difficulty = np.repeat(generator.normal(size=vessels), 2)

    def answers(self, name: str, seeds: int, quality: float = 1.0, seed_spread: float = 0.6) -> Answers:
        return Answers(name, [self._result(seed, quality, seed_spread) for seed in range(1, seeds + 1)])

    def _result(self, seed: int, quality: float, seed_spread: float) -> SetResult:
        count = len(self.labels)
        margin = quality + self.generator.normal(0, seed_spread, 3)[self.labels] + self.difficulty
        logits = self.generator.gumbel(size=(count, 3))
        logits[np.arange(count), self.labels] += margin + self.generator.normal(size=count)
        return make_result(self.labels, logits.argmax(axis=1), self.vessels, seed)


def random_answers(seed: int, seeds: int = 3, name: str = "any") -> Answers:
    return World(np.random.default_rng(seed), vessels=30).answers(name, seeds)


def test_figures_are_those_of_scores_csv():
    answers = random_answers(0, seeds=2)
    for result, figures in zip(answers.results, answers.by_seed, strict=True):
        row, named = score(result), dict(zip(figure_names(SHIPS), figures, strict=True))
        for figure in ("MacroF1", "Accuracy", "F1", "BalancedAccuracy"):
            assert named[figure] == pytest.approx(row[figure], abs=0.00501)
        for name, prefix in zip(SHIPS, "CFT", strict=True):
            for figure in ("Recall", "Precision", "F1"):
                assert named[f"{figure} {name}"] == pytest.approx(row[f"{prefix}-{figure}"], abs=0.00501)


def test_figures_of_classes_and_draws_without_chips():
    # One class right, one answered but not there, one neither; then a draw of nothing at all.
    named = dict(zip(figure_names(SHIPS), figures_of([2, 0, 0, 3, 0, 0, 2, 1, 0]), strict=True))
    assert named["Recall Cargo"] == pytest.approx(200 / 3) and np.isnan(named["Recall Fishing"])
    assert (named["Precision Fishing"], named["F1 Fishing"], named["F1 Tanker"]) == (0, 0, 0)
    assert named["BalancedAccuracy"] == named["Recall Cargo"]
    assert named["MacroF1"] == pytest.approx(
        100 * macro_f1_of_confusions(np.array([[2.0, 1, 0], [0, 0, 0], [0, 0, 0]]))
    )
    assert np.isnan(figures_of(np.zeros(9))).all()


def test_vessel_interval_of_one_seed_is_the_one_of_scores_csv():
    answers = random_answers(1, seeds=1)
    expected = 100 * np.array(macro_f1_interval(answers.results[0]))
    assert Bootstrap(100).vessel_interval(answers, "MacroF1") == pytest.approx(tuple(expected))


def test_vessels_are_drawn_whole_and_for_all_seeds_at_once():
    """The interval is the one of a plain loop that copies the chips of each vessel drawn."""
    answers, draws = random_answers(2, seeds=2), 2000
    vessels = np.array(answers.results[0].vessels)
    order = list(dict.fromkeys(vessels))
    times = np.random.default_rng(0).multinomial(len(order), np.full(len(order), 1 / len(order)), size=draws)
    looped = []
    for row in times[:150]:
        chips = np.concatenate(
            [np.tile(np.flatnonzero(vessels == name), n) for name, n in zip(order, row, strict=True)]
        )
        drawn = [make_result(result.labels[chips], result.predictions[chips]) for result in answers.results]
        looped.append(Answers("drawn", drawn).mean("MacroF1"))
    assert Bootstrap(draws)._over_vessels(answers)[:150, 0] == pytest.approx(np.array(looped))


def test_more_chips_of_the_same_vessels_say_nothing_new():
    once = random_answers(3)
    fourfold = Answers(
        once.name,
        [
            make_result(np.tile(r.labels, 4), np.tile(r.predictions, 4), list(np.tile(r.vessels, 4)), r.seed)
            for r in once.results
        ],
    )
    bootstrap = Bootstrap(500)
    assert bootstrap.interval(fourfold, "MacroF1") == pytest.approx(bootstrap.interval(once, "MacroF1"))


def test_interval_over_vessels_and_seeds_holds_the_truth():
    """120 studies of three seeds on 60 vessels: the 95 % interval of the method's macro-F1 holds it in 88 to 100 %.

    Over vessels alone it holds the truth far less often, for it is about the three networks.
    """
    generator = np.random.default_rng(0)
    truth = np.mean([World(generator, vessels=2000).answers("truth", 1).mean("MacroF1") for _ in range(25)])
    held, held_over_vessels = 0, 0
    for study in range(120):
        answers, bootstrap = World(generator).answers(f"study {study}", 3), Bootstrap(400)
        low, high = bootstrap.interval(answers, "MacroF1")
        held += low <= truth <= high
        low, high = bootstrap.vessel_interval(answers, "MacroF1")
        held_over_vessels += low <= truth <= high
    assert 0.88 <= held / 120 <= 1
    assert held_over_vessels / 120 < 0.88


def test_equal_methods_rarely_differ_and_p_is_spread_out():
    """300 pairs of equal methods: p is below 0.05 in at most 8 % (5 % nominal), and below 0.5 in about half."""
    generator = np.random.default_rng(1)
    p_values = []
    for study in range(300):
        world = World(generator)
        one, other = world.answers(f"one {study}", 3), world.answers(f"other {study}", 3)
        p_values.append(Bootstrap(400).difference([(one, other)], "MacroF1").p)
    assert np.mean(np.array(p_values) < 0.05) <= 0.08
    assert 0.35 <= np.mean(np.array(p_values) < 0.5) <= 0.6


def test_a_better_method_is_found():
    world = World(np.random.default_rng(2), vessels=100)
    difference = Bootstrap(2000).difference([(world.answers("good", 5, 3.0), world.answers("bad", 5, 0.0))], "MacroF1")
    assert difference.low > 10 and difference.p < 0.002


@pytest.mark.parametrize("same", [True, False])
def test_difference_has_no_side(same):
    world = World(np.random.default_rng(3))
    other_world = world if same else World(np.random.default_rng(4), vessels=45)
    one, other = world.answers("one", 3), other_world.answers("other", 2)
    assert same_chips(one, other) == same
    there = Bootstrap(500).difference([(one, other)], "MacroF1")
    back = Bootstrap(500).difference([(other, one)], "MacroF1")
    assert (back.value, back.low, back.high, back.p) == pytest.approx((-there.value, -there.high, -there.low, there.p))


def test_same_chips_are_paired():
    """Two networks that stumble over the same vessels: their difference is surer than if they had met others."""
    world = World(np.random.default_rng(5))
    world.difficulty *= 4
    one, other = world.answers("one", 1), world.answers("other", 1)
    elsewhere = Answers("other", [replace(r, vessels=[f"x{v}" for v in r.vessels]) for r in other.results])
    bootstrap = Bootstrap(2000)
    paired, unpaired = (bootstrap.difference([(one, each)], "MacroF1") for each in (other, elsewhere))
    assert paired.value == unpaired.value
    assert paired.high - paired.low < 0.8 * (unpaired.high - unpaired.low)
    # Without a common vessel both vary on their own: variances add.
    widths = [np.subtract(*bootstrap.interval(each, "MacroF1")) for each in (one, elsewhere)]
    assert unpaired.high - unpaired.low == pytest.approx(np.hypot(*widths), rel=0.1)


def test_same_weights_are_paired_by_seed():
    """One more chip right in each seed: the difference is the same in every draw of seeds, if both sides share it."""
    world = World(np.random.default_rng(6))
    before = world.answers("before", 3, seed_spread=2)
    after = Answers("after", [_one_mended(result) for result in before.results])
    loose, tight = (Bootstrap(500).difference([(after, before)], "Accuracy", paired) for paired in (False, True))
    assert loose.value == tight.value == pytest.approx(100 / len(world.labels))
    assert tight.high - tight.low < 0.3 * (loose.high - loose.low)
    assert tight.low >= 0


def _one_mended(result: SetResult) -> SetResult:
    probabilities = result.probabilities.copy()
    wrong = np.flatnonzero(result.predictions != result.labels)[0]
    probabilities[wrong] = np.eye(3)[result.labels[wrong]]
    return replace(result, probabilities=probabilities)


def test_mean_difference_counts_a_vessel_once_in_all_its_test_sets():
    """Twice the same comparison is no more certain than once."""
    world = World(np.random.default_rng(7))
    pair = world.answers("one", 1), world.answers("other", 1)
    bootstrap = Bootstrap(500)
    assert bootstrap.difference([pair, pair], "MacroF1") == pytest.approx(bootstrap.difference([pair], "MacroF1"))


def test_equal_answers_differ_by_nothing():
    answers = random_answers(8, seeds=1)
    assert Bootstrap(200).difference([(answers, answers)], "MacroF1") == (0, 0, 0, 1)
    assert same_answers(answers, answers)


def test_recall_of_a_class_that_is_not_there_has_no_interval():
    answers = Answers("no tanker", [make_result([0, 0, 1, 1], [0, 1, 1, 2])])
    bootstrap = Bootstrap(100)
    assert np.isnan([*bootstrap.interval(answers, "Recall Tanker")]).all()
    assert np.isnan([*bootstrap.difference([(answers, answers)], "Recall Tanker")]).all()


def test_seeds_on_other_chips_are_refused():
    with pytest.raises(ValueError, match="CNN: its seeds were tested on different chips of Fusar"):
        Answers("CNN", [make_result([0, 1], [0, 1]), make_result([0, 2], [0, 1], seed=2)])
    with pytest.raises(ValueError, match="no results"):
        Answers("CNN", [])


def test_common_seeds():
    answers = random_answers(9, seeds=3)
    first, last = (Answers(name, results) for name, results in (("f", answers.results[:2]), ("l", answers.results[1:])))
    for kept in common_seeds(first, last):
        assert [result.seed for result in kept.results] == [2]
    assert same_answers(first, last)  # of seed 2, which both have
    with pytest.raises(ValueError, match="no results"):
        common_seeds(Answers("f", answers.results[:1]), last)


def test_chips_of_unknown_vessels_are_vessels_of_their_own_in_every_test_set():
    result = make_result([0, 1, 2, 0], [0, 1, 1, 0], ["", "", "7", "7"])
    twins = replace(result, chips=["a", "a", "b", "c"])  # two sources may have a chip of one name
    assert len(Answers("one", [result]).vessels) == 3
    assert Answers("one", [twins]).vessels == (("chip", "a", 1), ("chip", "a", 2), ("vessel", "7"))
    assert len(Answers("one", [twins]).tallies) == 3


def test_seed_interval_by_hand():
    # t(0.975, 2) = 4.302653, s = 1, sqrt(3) = 1.732051
    assert seed_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)
    assert np.isnan([*seed_interval(np.array([5.0]))]).all()


def test_p_is_never_zero_and_never_above_one():
    assert two_sided_p(np.ones(99)) == pytest.approx(2 / 100)
    assert two_sided_p(np.array([-1.0, 1, 1, 1, 1, 1, 1, 1, 1])) == pytest.approx(2 * 2 / 10)
    assert two_sided_p(np.zeros(99)) == 1


def test_mcnemar_by_hand():
    """Nine chips only one is right on, one chip only the other: 2 (C(10, 0) + C(10, 1)) / 2**10."""
    labels = np.zeros(30, dtype=int)
    one, other = np.ones(30, dtype=int), np.ones(30, dtype=int)
    one[:9], other[9:10], one[10:20], other[10:20] = 0, 0, 0, 0
    sides = [Answers(name, [make_result(labels, answers)]) for name, answers in (("one", one), ("other", other))]
    assert mcnemar(*sides) == mcnemar(*reversed(sides)) == pytest.approx(22 / 1024)
    assert mcnemar(sides[0], sides[0]) == 1
    with pytest.raises(ValueError, match="one and other were tested on different chips"):
        mcnemar(sides[0], Answers("other", [make_result(labels, other, ["7"] * 30)]))


def test_mcnemar_counts_a_chip_once_however_many_seeds():
    labels = np.zeros(12, dtype=int)
    right, wrong = np.zeros(12, dtype=int), np.ones(12, dtype=int)
    one = [make_result(labels, right, seed=seed) for seed in (1, 2, 3, 4)]
    half = [make_result(labels, right, seed=1), make_result(labels, wrong, seed=2)]
    # One side is right in 4 of 4 seeds, the other in 1 of 2, on each of twelve chips.
    assert mcnemar(Answers("one", one), Answers("half", half)) == pytest.approx(2 / 2**12)
    # 2 of 4 and 1 of 2 are equal shares: no chip counts.
    even = [*one[:2], *[make_result(labels, wrong, seed=seed) for seed in (3, 4)]]
    assert mcnemar(Answers("even", even), Answers("half", half)) == 1


def test_holm_by_hand():
    # Ascending 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert np.isnan(holm([np.nan, 0.02])[0]) and holm([np.nan, 0.02])[1] == 0.02
    assert len(holm([])) == 0
