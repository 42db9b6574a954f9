"""Scores: what a run's answers on one test set are worth, with their uncertainty.

Figures are computed from class probabilities, which `predictions.csv` keeps to the last bit: each
figure of `scores.csv` can be computed again from that file, and comes out the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
)

from sarship.command import UserError
from sarship.files import whole_file

BOOTSTRAP_DRAWS = (
    2000  # Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 13.3: 1000 or more for percentiles
)
INTERVAL_PERCENT = 95
COUNTS_AT_ONCE = 1 << 22  # of vessels in draws: 32 MB, where all draws of 40,000 vessels would be 640
CALIBRATION_BINS = 15  # Guo et al., On Calibration of Modern Neural Networks, ICML 2017, table 1

# The published tables shorten the three ship classes; every other class goes by its full name.
PREFIXES = {"Cargo": "C", "Fishing": "F", "Tanker": "T"}
FOUR = ("Accuracy", "Precision", "Recall", "F1")
FIRST_COLUMNS = ("Trained", "Tested", "Model", *FOUR)
SUMMARY_PERCENT = ("MacroF1", "BalancedAccuracy", "MCC", "AUROC", "ECE", "MacroF1_low", "MacroF1_high")
RUN_COLUMNS = ("Protocol", "Loss", "Sampler", "Backbone", "Seed", "Epochs", "Seconds")
NEWER_COLUMNS = ("Augment", "Heads", "Unfreeze", "LearningRate", "Flaws", "Changed", "Variant", "Stopped")
LAST_COLUMNS = (*SUMMARY_PERCENT, "Collapsed", *RUN_COLUMNS, "TestChips", *NEWER_COLUMNS)
RUN_KEY = ["Trained", "Tested", "Model", "Seed", "Variant"]


@dataclass(frozen=True, eq=False)
class SetResult:
    """The answers of one run on one test set.

    trained, tested: data sets; model: name of the network or baseline; seed, variant: the run's (protocols.Variant).
    classes: k names, in the order of the columns of `probabilities`.
    chips, vessels: n names and n vessel ids ("" where unknown: such a chip is a vessel of its own).
    labels: (n,) index of the true class. probabilities: (n, k), kept as float64.
    Raises ValueError if the lengths do not agree or there is no chip.
    """

    trained: str
    tested: str
    model: str
    seed: int
    classes: tuple[str, ...]
    chips: Sequence[str]
    vessels: Sequence[str]
    labels: np.ndarray
    probabilities: np.ndarray
    variant: str = ""

    def __post_init__(self):
        labels = np.asarray(self.labels, dtype=np.int64)
        probabilities = np.asarray(self.probabilities, dtype=np.float64)
        n = len(self.chips)
        if n == 0 or len(self.vessels) != n or labels.shape != (n,) or probabilities.shape != (n, len(self.classes)):
            raise ValueError(
                f"{n} chips, {len(self.vessels)} vessels, labels {labels.shape}, probabilities {probabilities.shape}"
            )
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "probabilities", probabilities)

    @property
    def predictions(self) -> np.ndarray:
        """(n,) index of the most probable class; the first of several that tie."""
        return self.probabilities.argmax(axis=1)


def score(result: SetResult, own_rows: bool = False) -> dict:
    """One row of scores.csv without what only the run knows (protocol, loss, sampler, backbone, epochs, seconds).

    All figures are in percent with two decimals; MCC runs from -100 to 100. Where a metric divides nothing by
    nothing it is 0 (scikit-learn's zero_division=0), so MacroF1, which averages over *all* classes of the task,
    falls when a class has no chip in the test set. BalancedAccuracy averages over the classes that have chips.
    Accuracy, precision, recall and F1 are weighted by class support; a class's own four are one-vs-rest over all
    chips. AUROC is the mean over classes of one-vs-rest, None where a class has no chip or all chips.
    own_rows: a class's four are computed on its own chips only, as the published code did: the precision of a class
    is then 100 or 0, whatever the model answers for the others.
    """
    labels, predictions, k = result.labels, result.predictions, len(result.classes)
    low, high = macro_f1_interval(result)
    fractions = {
        **_weighted_four(labels, predictions, k),
        **_class_fours(labels, predictions, result.classes, own_rows),
        "MacroF1": macro_f1(labels, predictions, k),
        # balanced_accuracy_score gives the same and warns about answers that are nobody's label.
        "BalancedAccuracy": recall_score(labels, predictions, labels=np.unique(labels), average="macro"),
        "MCC": _matthews(labels, predictions),
        "AUROC": area_under_roc(labels, result.probabilities),
        "ECE": expected_calibration_error(labels, result.probabilities),
        "MacroF1_low": low,
        "MacroF1_high": high,
    }
    return {
        "Trained": result.trained,
        "Tested": result.tested,
        "Model": result.model,
        **{column: None if value is None else round(100 * float(value), 2) for column, value in fractions.items()},
        "Collapsed": len(np.unique(predictions)) == 1,
        "Seed": result.seed,
        "TestChips": len(labels),
        "Variant": result.variant,
    }


def macro_f1(labels: np.ndarray, predictions: np.ndarray, k: int) -> float:
    """Mean F1 over all k classes, 0..1; 0 for a class that neither labels nor predictions have.

    labels, predictions: (n,) 0..k-1. What picks epochs and the SVM's C, and what scores.csv reports.
    """
    return float(f1_score(labels, predictions, labels=range(k), average="macro", zero_division=0))


def _weighted_four(labels: np.ndarray, predictions: np.ndarray, k: int) -> dict[str, float]:
    averages = precision_recall_fscore_support(
        labels, predictions, labels=range(k), average="weighted", zero_division=0
    )
    return dict(zip(FOUR, (accuracy_score(labels, predictions), *averages[:3]), strict=True))


def _class_fours(
    labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str], own_rows: bool
) -> dict[str, float]:
    fours = {}
    for index, name in enumerate(classes):
        judged = labels == index if own_rows else slice(None)
        is_class, is_answer = labels[judged] == index, predictions[judged] == index
        values = (0.0, 0.0, 0.0, 0.0)
        if len(is_class):
            precision, recall, f1, _ = precision_recall_fscore_support(
                is_class, is_answer, average="binary", zero_division=0
            )
            values = ((is_class == is_answer).mean(), precision, recall, f1)
        fours |= dict(zip(class_columns(name), values, strict=True))
    return fours


def _matthews(labels: np.ndarray, predictions: np.ndarray) -> float:
    if len(np.union1d(labels, predictions)) == 1:
        return 0.0  # what scikit-learn answers as well, with a warning
    return matthews_corrcoef(labels, predictions)


def class_columns(name: str) -> list[str]:
    """The four columns of one class: C-, F-, T- for the ship study's three, else the full name and a dash."""
    return [f"{PREFIXES.get(name, name)}-{figure}" for figure in FOUR]


def area_under_roc(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Mean over classes of the one-vs-rest area under the ROC curve, 0..1; None where a class has no or all chips.

    labels: (n,), probabilities: (n, k).
    """
    is_class = labels[:, None] == np.arange(probabilities.shape[1])  # (n, k)
    if is_class.all(axis=0).any() or not is_class.any(axis=0).all():
        return None
    return float(roc_auc_score(is_class, probabilities, average="macro"))


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean distance of confidence from accuracy over 15 equal bins ((m-1)/15, m/15] of confidence, 0..1.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3. labels: (n,), probabilities: (n, k).
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    inner_edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    bins = np.digitize(confidence, inner_edges, right=True)
    excess = np.bincount(bins, weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(excess).sum() / len(labels))


def macro_f1_interval(result: SetResult, draws: int = BOOTSTRAP_DRAWS, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap of macro F1 over vessels, 0..1.

    Chips of one vessel look alike, so vessels are drawn with replacement, each with all its chips; drawing chips
    would make the interval too narrow (Field and Welsh, Bootstrapping clustered data, JRSS B 69, 2007).
    """
    confusions = vessel_confusions(result)
    n_vessels, k, _ = confusions.shape
    rng = np.random.default_rng(seed)
    shares, of_vessels = np.full(n_vessels, 1 / n_vessels), confusions.reshape(n_vessels, k * k)
    drawn = np.empty((draws, k * k))
    for start in range(0, draws, max(1, COUNTS_AT_ONCE // n_vessels)):
        block = drawn[start : start + max(1, COUNTS_AT_ONCE // n_vessels)]
        # float64 counts exactly up to 2**53 and has a fast matrix product; integers have none.
        block[:] = rng.multinomial(n_vessels, shares, size=len(block)).astype(np.float64) @ of_vessels
    tail = (100 - INTERVAL_PERCENT) / 2
    low, high = np.percentile(macro_f1_of_confusions(drawn.reshape(draws, k, k)), (tail, 100 - tail))
    return float(low), float(high)


def vessel_confusions(result: SetResult) -> np.ndarray:
    """(vessels, k, k) counts of chips: rows true, columns predicted class. Chips without a vessel id are one each."""
    k = len(result.classes)
    owners = [("vessel", vessel) if vessel else ("chip", index) for index, vessel in enumerate(result.vessels)]
    index_of = {owner: index for index, owner in enumerate(dict.fromkeys(owners))}
    confusions = np.zeros((len(index_of), k, k))
    np.add.at(confusions, ([index_of[owner] for owner in owners], result.labels, result.predictions), 1)
    return confusions


def macro_f1_of_confusions(confusions: np.ndarray) -> np.ndarray:
    """Macro F1 over all classes, 0..1, of each of (..., k, k) confusion matrices; 0 for a class with no chip at all."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    total = confusions.sum(axis=-1) + confusions.sum(axis=-2)
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0).mean(axis=-1)


def write_scores(path: Path, rows: Sequence[dict]) -> None:
    """Write scores.csv: rows of `score`, joined with the run's columns; columns come in the order of the design.

    What a row lacks stays empty. Raises UserError if the folder cannot be written.
    """
    known = {*FIRST_COLUMNS, *LAST_COLUMNS}
    of_classes = list(dict.fromkeys(column for row in rows for column in row if column not in known))
    percent = {*FOUR, *of_classes, *SUMMARY_PERCENT}
    columns = [*FIRST_COLUMNS, *of_classes, *LAST_COLUMNS]
    cells = [[_cell(row.get(column), column in percent) for column in columns] for row in rows]
    with whole_file(path) as written:
        pd.DataFrame(cells, columns=columns).to_csv(written, index=False)


def _cell(value, percent: bool) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if percent else str(value)


def write_predictions(path: Path, results: Iterable[SetResult]) -> None:
    """Write predictions.csv: one row a run and test chip, each probability with all its digits.

    Raises UserError if the folder cannot be written.
    """
    frames = [_prediction_frame(result) for result in results]
    with whole_file(path) as written:
        pd.concat(frames, ignore_index=True).to_csv(written, index=False)


def _prediction_frame(result: SetResult) -> pd.DataFrame:
    run = dict(zip(RUN_KEY, (result.trained, result.tested, result.model, result.seed, result.variant), strict=True))
    names = np.array(result.classes, dtype=object)
    frame = pd.DataFrame({"chip": list(result.chips), "vessel": list(result.vessels), "label": names[result.labels]})
    for index, name in enumerate(result.classes):
        frame[f"p_{name}"] = result.probabilities[:, index]
    return pd.concat([pd.DataFrame(run, index=frame.index), frame], axis=1)


def read_predictions(path: Path) -> list[SetResult]:
    """The results in a predictions.csv, in its order, equal to those written.

    Raises UserError if the file cannot be read, lacks a column, or holds a label or probability that is none.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' parser errors and bad UTF-8 are ValueErrors
        raise UserError(f"{path}: cannot be read as a table of predictions ({error})") from error
    missing = [column for column in (*RUN_KEY, "chip", "vessel", "label") if column not in table]
    if missing or table.empty:
        raise UserError(f"{path}: has no {'column ' + missing[0] if missing else 'rows'}; write it with test_models.py")
    try:
        return [_result_of_group(key, group) for key, group in table.groupby(RUN_KEY, sort=False)]
    except ValueError as error:
        raise UserError(f"{path}: holds a value that is none ({error}); write it with test_models.py") from error


def _result_of_group(key: tuple[str, ...], group: pd.DataFrame) -> SetResult:
    trained, tested, model, seed, variant = key
    # A run on other classes leaves the columns of these classes empty.
    columns = [column for column in group if column.startswith("p_") and group[column].ne("").any()]
    classes = tuple(column.removeprefix("p_") for column in columns)
    return SetResult(
        trained=trained,
        tested=tested,
        model=model,
        seed=int(seed),
        classes=classes,
        chips=group["chip"].tolist(),
        vessels=group["vessel"].tolist(),
        labels=np.array([classes.index(label) for label in group["label"]]),
        probabilities=group[columns].astype(float).to_numpy(),  # Python's parser: exact, unlike the fast ones of pandas
        variant=variant,
    )


def format_table(rows: Sequence[dict]) -> str:
    """The rows of `score` as an aligned table that is Markdown too: for the terminal and for the README.

    Variant and Seed have a column where the rows differ in them.
    """
    names = ["Trained", "Tested", "Model"]
    names += [name for name in ("Variant", "Seed") if len({row[name] for row in rows}) > 1]
    header = [*names, "Accuracy", "F1", f"MacroF1 [{INTERVAL_PERCENT} %]", "Collapsed"]
    lines = [[*(str(row[name]) for name in names), *_figures(row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        left = [cell.ljust(width) for cell, width in zip(cells[: len(names)], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(cells[len(names) :], widths[len(names) :], strict=True)]
        return f"| {' | '.join(left + right)} |"

    left_rules = ["-" * width for width in widths[: len(names)]]
    right_rules = ["-" * (width - 1) + ":" for width in widths[len(names) :]]
    return "\n".join([line(header), f"| {' | '.join(left_rules + right_rules)} |", *map(line, lines)])


def _figures(row: dict) -> list[str]:
    interval = f"{row['MacroF1']:.2f} [{row['MacroF1_low']:.2f}, {row['MacroF1_high']:.2f}]"
    return [f"{row['Accuracy']:.2f}", f"{row['F1']:.2f}", interval, "yes" if row["Collapsed"] else "no"]
