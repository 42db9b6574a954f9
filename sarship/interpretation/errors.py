"""Where a run's answers are wrong: from predictions.csv and the manifest alone, without the network.

Every share has its 95 % interval (Wilson 1927), over chips. Chips of one vessel look alike and are right or wrong
together, so where there are far fewer vessels than chips, the truth lies outside more often than that; tables of
classes count the vessels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, spearmanr

from sarship.command import UserError
from sarship.interpretation.neighbours import wilson
from sarship.prepared import PreparedSet
from sarship.scores import CALIBRATION_BINS, INTERVAL_PERCENT, SetResult, expected_calibration_error
from sarship.thinning import thinned

# Own bins: narrow where most fishing vessels and small freighters are, wide where only the largest ships are left.
LENGTH_EDGES_M = (0, 25, 50, 100, 150, 200, 300, np.inf)
ALL = "all"
TABLES = ("classes", "pairs", "mistakes", "datasets", "lengths", "reliability")
LEAST_CLASSES = 4  # the interval of a rank correlation divides by the number of classes minus three
CALIBRATED_DRAWS = 1000


def answer_table(result: SetResult, rows: pd.DataFrame) -> pd.DataFrame:
    """One row a test chip: chip, dataset, vessel, class, predicted, right, confidence, of_class, length_m.

    rows: the manifest rows of the test set, in its order. confidence: the probability of the answer; of_class: that of
    the true class. Raises UserError if the predictions are not of these chips.
    """
    classes = np.array(result.classes, dtype=object)
    labels, predictions = result.labels, result.predictions
    if rows["chip"].tolist() != list(result.chips) or rows["class"].tolist() != classes[labels].tolist():
        raise UserError(
            f"predictions.csv: {result.model} trained on {result.trained} answered other chips than prepared/"
            f"{result.tested}/manifest.csv has in its test split; run test_models.py again"
        )
    everyone = np.arange(len(labels))
    return pd.DataFrame(
        {
            "chip": rows["chip"],
            "dataset": rows["dataset"],
            "vessel": rows["vessel"],
            "class": classes[labels],
            "predicted": classes[predictions],
            "right": predictions == labels,
            "confidence": result.probabilities[everyone, predictions],
            "of_class": result.probabilities[everyone, labels],
            "length_m": rows["length_m"],
        }
    )


def class_table(answers: pd.DataFrame, classes: Sequence[str], train_chips: Mapping[str, int]) -> pd.DataFrame:
    """One row a class, the hardest first: class, chips, vessels, right, recall, low, high, train_chips, taken_for.

    recall: 0..1, NaN for a class without test chips, which stands last. taken_for: the most frequent wrong answer.
    train_chips: by class; a class that is not there has none.
    """
    rows = []
    for name in classes:
        of_class = answers[answers["class"] == name]
        wrong = of_class.loc[~of_class["right"], "predicted"].value_counts()
        unknown = of_class["vessel"] == ""
        rows.append(
            {
                "class": name,
                "chips": len(of_class),
                "vessels": of_class.loc[~unknown, "vessel"].nunique() + int(unknown.sum()),
                **_share("recall", of_class["right"]),
                "train_chips": train_chips.get(name, 0),
                "taken_for": wrong.index[0] if len(wrong) else "",
            }
        )
    return pd.DataFrame(rows).sort_values("recall", kind="stable", ignore_index=True)


def _share(name: str, right: pd.Series) -> dict[str, float]:
    """Columns of a share of chips: right, `name`, low, high; the last three NaN without chips."""
    low, high = wilson(right.sum(), len(right))
    return {"right": int(right.sum()), name: right.mean() if len(right) else np.nan, "low": low, "high": high}


def pair_table(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a class and wrong answer: class, predicted, chips, of_chips, share, low, high.

    share: of the class's chips, 0..1. In the order of `low`, the surest confusion first: one chip of two is half of the
    class and says little.
    """
    of_class = answers["class"].value_counts()
    counts = answers[~answers["right"]].groupby(["class", "predicted"]).size()
    rows = []
    for (name, predicted), chips in counts.items():
        low, high = wilson(chips, of_class[name])
        share = chips / of_class[name]
        rows.append((name, predicted, chips, of_class[name], share, low, high))
    columns = ["class", "predicted", "chips", "of_chips", "share", "low", "high"]
    return pd.DataFrame(rows, columns=columns).sort_values("low", ascending=False, kind="stable", ignore_index=True)


def mistake_table(answers: pd.DataFrame) -> pd.DataFrame:
    """The wrong answers, the most confident first: chip, dataset, class, predicted, confidence, of_class, length_m.

    index: the chip's number in the test set.
    """
    wrong = answers[~answers["right"]].sort_values("confidence", ascending=False, kind="stable")
    return wrong[["chip", "dataset", "class", "predicted", "confidence", "of_class", "length_m"]]


def dataset_table(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a data set that chips come from: dataset, chips, right, accuracy, low, high."""
    groups = answers.groupby("dataset", sort=True)["right"]
    return pd.DataFrame([{"dataset": name, "chips": len(right), **_share("accuracy", right)} for name, right in groups])


def length_table(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a class and length bin, ALL classes first: class, from_m, to_m, chips, right, recall, low, high.

    Bins [from_m, to_m) of LENGTH_EDGES_M that have chips. Without a known length there are no rows. Long ships are of
    other classes than short ones, so it is the rows of one class that show what length does.
    """
    known = answers[answers["length_m"].notna()]
    bins = np.digitize(known["length_m"], LENGTH_EDGES_M[1:-1])
    rows = []
    for name in (ALL, *sorted(known["class"].unique())) if len(known) else ():
        of_class = np.full(len(known), True) if name == ALL else (known["class"] == name).to_numpy()
        for index in np.unique(bins[of_class]):
            right = known.loc[of_class & (bins == index), "right"]
            edges = {"from_m": LENGTH_EDGES_M[index], "to_m": LENGTH_EDGES_M[index + 1]}
            rows.append({"class": name, **edges, "chips": len(right), **_share("recall", right)})
    columns = ["class", "from_m", "to_m", "chips", "right", "recall", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def calibration_table(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a bin of confidence that has chips: above, up_to, chips, confidence, right, accuracy, low, high.

    Bins as of ECE in scores.csv; confidence: the mean in the bin. The curve is the reliability diagram of Guo et al.,
    On calibration of modern neural networks, ICML 2017.
    """
    edges = np.arange(CALIBRATION_BINS + 1) / CALIBRATION_BINS
    bins = np.digitize(answers["confidence"], edges[1:-1], right=True)
    rows = []
    for index in np.unique(bins):
        of_bin = answers[bins == index]
        ends = {"above": edges[index], "up_to": edges[index + 1], "chips": len(of_bin)}
        rows.append(ends | {"confidence": of_bin["confidence"].mean(), **_share("accuracy", of_bin["right"])})
    return pd.DataFrame(rows)


class Calibration(NamedTuple):
    """Expected calibration error, 0..1, and what it would be of answers as right as they are confident.

    by_chance: the mean; at_most: what it would stay below in 97.5 % of test sets of this size.
    """

    ece: float
    by_chance: float
    at_most: float


def calibration(result: SetResult, seed: int = 0) -> Calibration:
    """ECE beside its chance level, for it is above 0 of a perfect model, too, the more the fewer chips there are.

    Answers are drawn right with the probability that they give themselves (consistency resampling: Bröcker and Smith,
    Increasing the reliability of reliability diagrams, Weather and Forecasting 22, 2007).
    """
    confidence = result.probabilities.max(axis=1)
    drawn = np.random.default_rng(seed).random((CALIBRATED_DRAWS, len(confidence))) < confidence
    inner_edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    bins = np.digitize(confidence, inner_edges, right=True)
    is_in = bins[:, None] == np.arange(CALIBRATION_BINS)  # (chips, bins)
    by_draw = np.abs((drawn - confidence) @ is_in.astype(float)).sum(axis=1) / len(confidence)
    ece = expected_calibration_error(result.labels, result.probabilities)
    return Calibration(ece, float(by_draw.mean()), float(np.percentile(by_draw, (100 + INTERVAL_PERCENT) / 2)))


class SizeBias(NamedTuple):
    """Spearman's rank correlation of training chips with recall over classes, its 95 % interval and p-value."""

    rho: float
    low: float
    high: float
    p: float
    classes: int


def size_bias(classes: pd.DataFrame) -> SizeBias | None:
    """Whether classes with more training chips are found more often; None where that cannot be said.

    classes: a class_table. It takes LEAST_CLASSES classes with test chips, not all equally large nor all equally well
    found. The interval is that of Bonett and Wright, Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations, Psychometrika 65, 2000; NaN at a correlation of 1, where it has none.
    """
    tested = classes[classes["chips"] > 0]
    if len(tested) < LEAST_CLASSES or tested["train_chips"].nunique() < 2 or tested["recall"].nunique() < 2:
        return None
    rho, p = spearmanr(tested["train_chips"], tested["recall"])
    if abs(rho) > 1 - 1e-12:
        return SizeBias(float(rho), np.nan, np.nan, float(p), len(tested))
    half = norm.ppf((1 + INTERVAL_PERCENT / 100) / 2) * np.sqrt((1 + rho**2 / 2) / (len(tested) - 3))
    low, high = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    return SizeBias(float(rho), float(low), float(high), float(p), len(tested))


@dataclass(frozen=True, eq=False)
class ErrorTables:
    """What can be said of one run on one test set. sizes: None where nothing can be said of class sizes."""

    classes: pd.DataFrame
    pairs: pd.DataFrame
    mistakes: pd.DataFrame
    datasets: pd.DataFrame
    lengths: pd.DataFrame
    reliability: pd.DataFrame
    calibration: Calibration
    sizes: SizeBias | None


def tables_of(result: SetResult, rows: pd.DataFrame, train_chips: Mapping[str, int]) -> ErrorTables:
    """All tables of a result. rows: of its test set's manifest; train_chips: by class. Raises as `answer_table`."""
    answers = answer_table(result, rows)
    classes = class_table(answers, result.classes, train_chips)
    return ErrorTables(
        classes=classes,
        pairs=pair_table(answers),
        mistakes=mistake_table(answers),
        datasets=dataset_table(answers),
        lengths=length_table(answers),
        reliability=calibration_table(answers),
        calibration=calibration(result),
        sizes=size_bias(classes),
    )


def training_chips(settings: Mapping, prepared: PreparedSet, seed: int) -> dict[str, int]:
    """How many chips of each class a run was trained on. settings: the run's; empty, all of the train split."""
    classes = settings.get("classes") or prepared.classes
    labels = prepared.labels("train", classes)
    limits = {name: settings[name] for name in ("train_chips", "imbalance") if name in settings}
    if limits:
        labels = labels[thinned(labels, len(classes), seed, **limits)]
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))
