"""Comparison: how sure a figure is, and whether one configuration is better than another.

A configuration is a model with its training set and options; its runs differ in the seed only. Its figure is the mean
over its runs. Two things are left to chance, which vessels the test set holds and which seeds were drawn, so there are
three intervals:

    seed_interval               over seeds, on these chips
    Bootstrap.vessel_interval   over vessels: a claim about these trained networks
    Bootstrap.difference        over both: a claim about the method, which is what a comparison is about

Both at once is a bootstrap with two crossed factors, drawn independently of each other. It leans to the wide side where
runs err on other chips than their neighbours do (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007;
Owen and Eckles, Bootstrapping data arrays of arbitrary order, ibid. 6, 2012). There are but a few seeds, and S of them
drawn from S vary too little by the factor (S - 1) / S; so S - 1 are drawn, which is exact for a mean (Rao and Wu,
Resampling inference with complex survey data, JASA 83, 1988). With one seed nothing can be said of seeds, and the
interval is over vessels only.

Of repeated splits (--redeal), a seed is also a deal of the chips. A chip counts for the seeds that were tested on it,
and chips and seeds are drawn as above. Less is known of new data than the intervals say, for any two deals share most
of their training chips (Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from sarship.scores import BOOTSTRAP_DRAWS, INTERVAL_PERCENT, SetResult, vessel_confusions

# The smallest p is 2 / (1 + draws), and Holm multiplies it by the number of comparisons: with 10,000 draws a clear
# difference still comes out below 0.05 among 250 of them.
COMPARISON_DRAWS = 10_000
# What is kept in memory: 1000 draws of 5000 vessels are 40 MB as float64; 10,000 are 50 MB as uint8, and 1 MB once they
# have become the 13 figures of three classes.
DRAWS_AT_ONCE, KEPT_TIMES, KEPT_FIGURES = 1000, 8, 400
TAIL_PERCENT = (100 - INTERVAL_PERCENT) / 2
GENERAL_FIGURES = ("MacroF1", "Accuracy", "F1", "BalancedAccuracy")
CLASS_FIGURES = ("Recall", "Precision", "F1")


class Interval(NamedTuple):
    low: float
    high: float


class Difference(NamedTuple):
    """A difference in percentage points, its 95 % interval, and its p-value; all NaN where there is no figure."""

    value: float
    low: float
    high: float
    p: float


NO_INTERVAL = Interval(np.nan, np.nan)
NO_DIFFERENCE = Difference(np.nan, np.nan, np.nan, np.nan)


def figure_names(classes: Sequence[str]) -> list[str]:
    """Names of the figures, in the order in which they are computed: MacroF1 ..., Recall Cargo ..., F1 Tanker."""
    return [*GENERAL_FIGURES, *(f"{figure} {name}" for figure in CLASS_FIGURES for name in classes)]


def figures_of(tallies: np.ndarray) -> np.ndarray:
    """Figures in percent (..., 4 + 3 k), as `sarship.scores.score` has them, of tallies (..., 3 k).

    tallies: chips of each class that are right, that there are, and that are answered. The recall of a class without
    chips is NaN; its precision and F1 are 0, as in scores.csv. Without any chip all figures are NaN.
    """
    right, there, answered = np.split(np.asarray(tallies, dtype=np.float64), 3, axis=-1)
    chips = there.sum(axis=-1, keepdims=True)
    recall = _percent(right, there, np.nan)
    precision = _percent(right, answered, 0.0)
    f1 = _percent(2 * right, there + answered, 0.0)
    general = (
        f1.mean(axis=-1, keepdims=True),
        _percent(right.sum(axis=-1, keepdims=True), chips, np.nan),
        (f1 * there).sum(axis=-1, keepdims=True) / np.maximum(chips, 1),
        np.nansum(recall, axis=-1, keepdims=True) / np.maximum((there > 0).sum(axis=-1, keepdims=True), 1),
    )
    return np.where(chips > 0, np.concatenate([*general, recall, precision, f1], axis=-1), np.nan)


def _percent(part: np.ndarray, whole: np.ndarray, of_nothing: float) -> np.ndarray:
    return np.divide(100 * part, whole, out=np.full(part.shape, of_nothing), where=whole > 0)


@dataclass(frozen=True, eq=False)
class Answers:
    """What the runs of one configuration answered on one test set, one result a seed.

    name: of the configuration; its seeds are drawn by it, so on every test set the same runs are drawn.
    redealt: whether each seed has a split of its own, and so chips of its own.
    Raises ValueError if the results are not all of the same classes and, unless redealt, chips, vessels and labels.
    """

    name: str
    results: Sequence[SetResult]
    redealt: bool = False

    def __post_init__(self):
        if not self.results:
            raise ValueError(f"{self.name}: no results")
        first = self.results[0]
        if any(result.classes != first.classes for result in self.results) or not (
            self.redealt or all(_chips(result) == _chips(first) for result in self.results)
        ):
            raise ValueError(f"{self.name}: its seeds were tested on different chips of {first.tested}")

    @property
    def classes(self) -> tuple[str, ...]:
        return self.results[0].classes

    @property
    def seeds(self) -> int:
        return len(self.results)

    @property
    def chips(self) -> int:
        return len(self.results[0].chips)

    @cached_property
    def vessels(self) -> tuple[tuple, ...]:
        """Each vessel once, in order of appearance; a chip of unknown vessel is one of its own.

        A vessel is itself in every test set, so that Mixed and the sets it is made of can be drawn together.
        """
        results = self.results if self.redealt else self.results[:1]
        return tuple(dict.fromkeys(owner for result in results for owner in _owners(result)))

    @cached_property
    def tallies(self) -> np.ndarray:
        """(vessels, seeds, 3 k): see `figures_of`. Of a vessel that a seed was not tested on, nothing."""
        place, k = {vessel: index for index, vessel in enumerate(self.vessels)}, len(self.classes)
        confusions = np.zeros((len(place), self.seeds, k, k))
        for seed, result in enumerate(self.results):
            own = [place[vessel] for vessel in dict.fromkeys(_owners(result))]
            confusions[own, seed] = vessel_confusions(result)
        right = np.diagonal(confusions, axis1=-2, axis2=-1)
        return np.concatenate([right, confusions.sum(axis=-1), confusions.sum(axis=-2)], axis=-1)

    @cached_property
    def by_seed(self) -> np.ndarray:
        """(seeds, figures) in percent."""
        return figures_of(self.tallies.sum(axis=0))

    @cached_property
    def chips_of_class(self) -> np.ndarray:
        """(k,) test chips of each class."""
        return np.bincount(self.results[0].labels, minlength=len(self.classes))

    @cached_property
    def right_seeds(self) -> np.ndarray:
        """(chips,) how many of the seeds are right."""
        return sum((result.predictions == result.labels).astype(int) for result in self.results)

    @cached_property
    def collapsed(self) -> int:
        """How many of the seeds answer one class only."""
        return sum(len(np.unique(result.predictions)) == 1 for result in self.results)

    def index(self, figure: str) -> int:
        return figure_names(self.classes).index(figure)

    def of_seeds(self, figure: str) -> np.ndarray:
        """(seeds,) in percent."""
        return self.by_seed[:, self.index(figure)]

    def mean(self, figure: str) -> float:
        """Mean over seeds, in percent; NaN for the recall of a class without chips."""
        return float(self.of_seeds(figure).mean())


def _chips(result: SetResult) -> tuple:
    return tuple(result.chips), tuple(result.vessels), result.labels.tobytes()


def _owners(result: SetResult) -> list[tuple]:
    """Who owns each chip: a vessel; or the chip itself, told by number from others of its name."""
    seen: Counter[str] = Counter()
    owners = []
    for chip, vessel in zip(result.chips, result.vessels, strict=True):
        seen[chip] += not vessel
        owners.append(("vessel", vessel) if vessel else ("chip", chip, seen[chip]))
    return owners


def same_chips(one: Answers, other: Answers) -> bool:
    """Whether both were tested on the same chips, in the same order and with the same labels, whatever the seed."""
    if one.redealt or other.redealt:
        return False
    return _chips(one.results[0]) == _chips(other.results[0]) and one.classes == other.classes


def same_deals(one: Answers, other: Answers) -> bool:
    """Whether both are of repeated splits, and each seed has the same test chips on both sides."""
    if not (one.redealt and other.redealt and one.classes == other.classes and one.seeds == other.seeds):
        return False
    return all(_chips(ours) == _chips(theirs) for ours, theirs in zip(one.results, other.results, strict=True))


def common_seeds(one: Answers, other: Answers) -> tuple[Answers, Answers]:
    """Both without the seeds that only one of them has. Raises ValueError if there is no common one."""
    common = {result.seed for result in one.results} & {result.seed for result in other.results}
    return tuple(
        replace(answers, results=[result for result in answers.results if result.seed in common])
        for answers in (one, other)
    )


def same_answers(one: Answers, other: Answers) -> bool:
    """Whether the runs of all common seeds gave the same probabilities for the same chips, to the last bit."""
    of_other = {result.seed: result.probabilities for result in other.results}
    compared = [
        np.array_equal(result.probabilities, of_other[result.seed]) for result in one.results if result.seed in of_other
    ]
    return same_chips(one, other) and bool(compared) and all(compared)


def seed_interval(values: np.ndarray) -> Interval:
    """95 % t-interval of the mean of values (seeds,); NaN with fewer than two."""
    count = len(values)
    if count < 2:
        return NO_INTERVAL
    half = stats.t.ppf(1 - TAIL_PERCENT / 100, count - 1) * np.std(values, ddof=1) / np.sqrt(count)
    return Interval(float(np.mean(values) - half), float(np.mean(values) + half))


class Bootstrap:
    """Draws vessels once for all configurations, and remembers what each came to.

    draws: of vessels and seeds. Vessels of one test set are drawn by the same random numbers as in
    `sarship.scores.macro_f1_interval`: with one seed, vessel_interval is the one of scores.csv.
    """

    def __init__(self, draws: int = COMPARISON_DRAWS):
        self.draws = draws
        self._times_drawn = lru_cache(KEPT_TIMES)(_times_drawn)
        self._over_vessels = lru_cache(KEPT_FIGURES)(self._draw_vessels)
        self._over_both = lru_cache(KEPT_FIGURES)(self._draw_vessels_and_seeds)

    def vessel_interval(self, answers: Answers, figure: str) -> Interval:
        """95 % percentile interval over vessels of the mean over seeds; the seeds share each draw of vessels."""
        return _interval(self._over_vessels(answers)[:, answers.index(figure)])

    def interval(self, answers: Answers, figure: str) -> Interval:
        """95 % percentile interval over vessels and seeds of the mean over seeds."""
        return _interval(self._over_both(answers, answers.vessels, answers.name)[:, answers.index(figure)])

    def difference(
        self, pairs: Sequence[tuple[Answers, Answers]], figure: str, paired_seeds: bool = False
    ) -> Difference:
        """Mean over pairs (a, b) of a - b; interval and p over vessels and seeds.

        The vessels of all test sets concerned are drawn together. So a vessel counts equally often on both sides
        (chips that both sides share are paired), and test sets without a common vessel vary independently.
        paired_seeds: whether one seed is one set of weights or one deal on both sides, so that seeds are drawn for both
        at once.
        Otherwise each side's are drawn on their own: what was trained twice came out twice, whatever the number.

        p is two-sided: twice the share of draws on the rarer side of zero, counted as (1 + k) / (1 + draws), so that
        it is never 0 (Phipson and Smyth, Permutation p-values should never be zero, SAGMB 9, 2010). But for that 1, it
        is below 0.05 where the interval leaves out zero (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
        chapter 15).
        """
        pool = _pool([answers.vessels for pair in pairs for answers in pair])
        drawn = np.zeros(self.draws)
        value = 0.0
        for ahead, behind in pairs:
            value += (ahead.mean(figure) - behind.mean(figure)) / len(pairs)
            over_ahead = self._over_both(ahead, pool, ahead.name)
            over_behind = self._over_both(behind, pool, ahead.name if paired_seeds else behind.name)
            drawn += (over_ahead[:, ahead.index(figure)] - over_behind[:, behind.index(figure)]) / len(pairs)
        if np.isnan(value):
            return NO_DIFFERENCE
        return Difference(value, *_interval(drawn), two_sided_p(drawn))

    def _draw_vessels(self, answers: Answers) -> np.ndarray:
        """Figures (BOOTSTRAP_DRAWS, figures), mean over seeds, with vessels drawn."""
        blocks = self._draw(answers, answers.vessels, BOOTSTRAP_DRAWS)
        return np.concatenate([figures.mean(axis=1) for figures in blocks])

    def _draw_vessels_and_seeds(self, answers: Answers, pool: tuple, seeds_by: str) -> np.ndarray:
        """Figures (draws, figures), mean over drawn seeds, with vessels of `pool` drawn; seeds by a name."""
        shares = _seed_shares(answers.seeds, seeds_by, self.draws)
        drawn = np.concatenate(list(self._draw(answers, pool, self.draws)))  # (draws, seeds, figures)
        return np.einsum("dsf,ds->df", drawn, shares)

    def _draw(self, answers: Answers, pool: tuple, draws: int) -> Iterator[np.ndarray]:
        """Figures of each seed (draws at once, seeds, figures) with vessels of `pool` drawn."""
        place = {vessel: index for index, vessel in enumerate(pool)}
        places = [place[vessel] for vessel in answers.vessels]
        count, *shape = answers.tallies.shape
        times = self._times_drawn(len(pool), draws)
        for start in range(0, draws, DRAWS_AT_ONCE):
            # float64 counts exactly up to 2**53 and has a fast matrix product; integers have none.
            counted = times[start : start + DRAWS_AT_ONCE, places].astype(np.float64)
            yield figures_of((counted @ answers.tallies.reshape(count, -1)).reshape(-1, *shape))


def _times_drawn(count: int, draws: int) -> np.ndarray:
    """(draws, count) how often each vessel is drawn; uint8, for no vessel is drawn near 255 times."""
    rng = np.random.default_rng(0)
    sizes = [min(DRAWS_AT_ONCE, draws - start) for start in range(0, draws, DRAWS_AT_ONCE)]
    blocks = (rng.multinomial(count, np.full(count, 1 / count), size=size) for size in sizes)
    return np.concatenate([block.astype(np.uint8) for block in blocks])


def _seed_shares(count: int, name: str, draws: int) -> np.ndarray:
    """(draws, count) share of each seed in a draw of one seed fewer than there are."""
    if count == 1:
        return np.ones((draws, 1))
    rng = np.random.default_rng([*name.encode()])
    return rng.multinomial(count - 1, np.full(count, 1 / count), size=draws) / (count - 1)


def _pool(vessels: Sequence[tuple]) -> tuple:
    """All vessels of several test sets, in an order that does not depend on the order of the sets."""
    return vessels[0] if len(set(vessels)) == 1 else tuple(sorted(set().union(*vessels)))


def _interval(drawn: np.ndarray) -> Interval:
    """Percentile interval; draws without a value (recall, where a class has no chip) say nothing and are left out."""
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) == 0:
        return NO_INTERVAL
    low, high = np.percentile(drawn, (TAIL_PERCENT, 100 - TAIL_PERCENT))
    return Interval(float(low), float(high))


def two_sided_p(drawn: np.ndarray) -> float:
    """Twice (1 + k) / (1 + draws), at most 1; k counts the draws on the rarer side of zero, those at zero on both."""
    drawn = drawn[~np.isnan(drawn)]
    rarer = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return float(min(1.0, 2 * (1 + rarer) / (1 + len(drawn))))


def mcnemar(one: Answers, other: Answers) -> float:
    """Exact two-sided p of McNemar's test; with several seeds, of the sign test that it is.

    A chip counts for the side of which the larger share of seeds is right, and not at all where the shares are equal;
    under the hypothesis the chips that count fall on either side like a coin. With one seed these are the discordant
    chips of McNemar (Psychometrika 12, 1947). A majority vote of seeds would judge an ensemble that nobody has
    trained, and pooling the chips of all seeds would count each chip several times.
    Chips are taken as independent. Those of one vessel are not, so p is too small where vessels have several chips.
    Raises ValueError if the chips are not the same.
    """
    if not same_chips(one, other):
        raise ValueError(f"{one.name} and {other.name} were tested on different chips")
    lead = one.right_seeds * other.seeds - other.right_seeds * one.seeds
    for_one, for_other = int((lead > 0).sum()), int((lead < 0).sum())
    if for_one + for_other == 0:
        return 1.0
    return float(stats.binomtest(for_one, for_one + for_other).pvalue)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values corrected for their number, in their order; NaN stays NaN and is not counted.

    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979: the
    chance that any of the differences below 0.05 is none at all is below 0.05.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(p_values.shape, np.nan)
    counted = np.flatnonzero(~np.isnan(p_values))
    ascending = counted[np.argsort(p_values[counted], kind="stable")]
    times = np.arange(len(ascending), 0, -1)
    corrected[ascending] = np.minimum(1, np.maximum.accumulate(times * p_values[ascending]))
    return corrected
