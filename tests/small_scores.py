"""A study of many runs without training: scores.csv, predictions.csv and history.csv with made-up probabilities.

How good a run is follows from its model and options by QUALITY, so tests know what a comparison should find.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from sarship.protocols import PROTOCOLS, UNNAMED, Variant, one_at_a_time
from sarship.scores import SetResult, score, write_predictions, write_scores

CLASSES = ("Cargo", "Fishing", "Tanker")
CHIPS_OF_CLASS = (90, 24, 45)  # of each source, before the split; two chips a vessel
SOURCES = ("Fusar", "OpenSARShip")
TEST_SETS = (*SOURCES, "Mixed")
QUALITY = {"CNN": 1.2, "VGG": 2.6, "Fine_VGG": 2.0, "HOG_SVM": 1.0}  # of the logit of the true class
GAIN = {"random_split": 1.5, "inverted_split": -0.8, "heads": -0.7, "focal": 0.5, "balanced": 0.8, "chain": 0.5}
FOREIGN = -1.2  # on chips of a source that was not trained on
NOISE = 1.5  # of the logits; seeds share half of its variance


@dataclass(frozen=True)
class SmallRun:
    """A run to make up. variant: its protocol and options; collapsed: whether it answers the first class only."""

    model: str
    trained: str
    variant: Variant
    seed: int = 1
    collapsed: bool = False


def variant(protocol: str = "strict", **changed) -> Variant:
    return Variant(protocol, {**PROTOCOLS[protocol], **UNNAMED, **changed})


@cache
def standard_runs() -> list[SmallRun]:
    """Several seeds, both protocols, every flaw alone, losses x samplers, a chain, baselines, a collapsed run.

    The same objects in every call, so that their scores are computed once.
    """
    plain, published = variant(), variant("published")
    runs = [
        SmallRun(model, trained, plain, seed)
        for model in ("CNN", "VGG", "Fine_VGG")
        for trained in (*TEST_SETS, "Fusar+Mixed")
        for seed in (1, 2, 3)
    ]
    runs = [replace(run, collapsed=(run.model, run.trained, run.seed) == ("CNN", "Mixed", 2)) for run in runs]
    runs += [SmallRun("CNN", trained, published, seed) for trained in ("Fusar", "Mixed") for seed in (1, 2)]
    for turned in (one_at_a_time(plain)[1:], one_at_a_time(published)[1:4]):
        runs += [SmallRun("CNN", trained, each) for each in turned for trained in ("Fusar", "Mixed")]
    runs += [
        SmallRun("CNN", "Fusar", variant(loss=loss, sampler=sampler), seed)
        for loss in ("cross_entropy", "focal")
        for sampler in ("none", "balanced")
        for seed in (1, 2, 3)
        if (loss, sampler, seed) != ("cross_entropy", "none", 1)  # is among the flaws
    ]
    runs += [SmallRun("CNN", "Fusar+Mixed", variant(unfreeze="all"))]
    runs += [SmallRun(model, trained, plain) for model in ("Majority", "HOG_SVM") for trained in TEST_SETS]
    return runs


def result_of(run: SmallRun, tested: str) -> SetResult:
    """What the run would answer on the test set that its options deal."""
    chips, labels = _test_chips(tested, run.variant)
    quality = QUALITY.get(run.model, 0) + _gain(run)
    known = run.trained.split("+")
    foreign = np.array(["Mixed" not in known and chip.split("_")[0] not in known for chip in chips])
    logits = np.stack(
        [_chip_noise(chip, "shared") + _chip_noise(chip, f"{run.model} {run.trained} {run.seed}") for chip in chips]
    )
    logits[np.arange(len(chips)), labels] += quality + FOREIGN * foreign
    logits[:, 0] += 0.5  # the most frequent class is answered more often
    if run.collapsed or run.model == "Majority":
        logits = np.tile([2.0, 0.0, 1.0], (len(chips), 1))
    return SetResult(
        trained=run.trained,
        tested=tested,
        model=run.model,
        seed=run.seed,
        classes=CLASSES,
        chips=chips,
        vessels=["_".join(chip.split("_")[:2]) + str(int(chip.split("_")[2]) // 2) for chip in chips],
        labels=labels,
        probabilities=softmax(logits, axis=1),
        variant=run.variant.label,
    )


def _gain(run: SmallRun) -> float:
    options = run.variant.options
    turned = [name for name in run.variant.flaws if name.replace("-", "_") in GAIN]
    gains = [GAIN[name.replace("-", "_")] for name in turned]
    gains += [GAIN[name] for name in (options["loss"], options["sampler"]) if name in GAIN]
    gains += [GAIN["heads"]] * (options["heads"] == "published") + [GAIN["chain"]] * ("+" in run.trained)
    return sum(gains)


def _test_chips(tested: str, variant: Variant) -> tuple[list[str], np.ndarray]:
    """A third of the chips, by vessel or by chip; the other two thirds where the split is the wrong way round."""
    options = variant.options
    step = 1 if options["random_split"] else 2  # chips dealt together
    shift = options["overlapping_mix"] and tested == "Mixed"
    chips, labels = [], []
    for source in SOURCES if tested == "Mixed" else [tested]:
        for label, count in enumerate(CHIPS_OF_CLASS):
            for number in range(count):
                if ((number // step + shift) % 3 == 0) != options["inverted_split"]:
                    chips.append(f"{source}_{CLASSES[label]}_{number}")
                    labels.append(label)
    return chips, np.array(labels)


@cache
def _chip_noise(chip: str, run: str) -> np.ndarray:
    """(classes,) the same for every call; seeds and models share that of "shared"."""
    return np.random.default_rng([*f"{chip}/{run}".encode()]).normal(0, NOISE / 2**0.5, len(CLASSES))


def score_row(run: SmallRun, result: SetResult) -> dict:
    """The row of scores.csv that test_models.py would write."""
    options, network = run.variant.options, run.model in ("CNN", "VGG", "Fine_VGG")
    return {
        **score(result, own_rows=options["own_rows_scores"]),
        "Protocol": run.variant.protocol,
        **{column: options[column.lower()] if network else "" for column in ("Loss", "Sampler", "Augment", "Heads")},
        "Backbone": "random",
        "Epochs": 3 if network else 0,
        "Seconds": 1.0,
        "Unfreeze": options["unfreeze"] if "+" in run.trained else "",
        "LearningRate": (options["learning_rate"] or 1e-4) if network else "",
        "Flaws": " ".join(run.variant.flaws),
        "Changed": " ".join(run.variant.changed),
    }


def history_rows(run: SmallRun) -> list[dict]:
    """Three epochs; without validation chips where the last epoch is taken."""
    key = {"Trained": run.trained, "Model": run.model, "Seed": run.seed, "Variant": run.variant.label}
    with_val = not run.variant.options["last_epoch"]
    epochs = [(1, 1.1, 1.2, 40.0), (2, 0.8, 1.0, 55.0), (3, 0.6, 1.1, 50.0)]
    return [
        key
        | {"Epoch": epoch, "TrainLoss": train, "ValLoss": val if with_val else None}
        | {"ValMacroF1": macro_f1 if with_val else None, "Picked": epoch == (2 if with_val else 3)}
        for epoch, train, val, macro_f1 in epochs
    ]


def make_scores(out: Path, runs: Iterable[SmallRun] | None = None) -> Path:
    """Write the three files below `out`; without runs, those of standard_runs(). Returns scores.csv.

    Plain runs are tested on every test set, the others on their own.
    """
    answered = _answered(tuple(standard_runs() if runs is None else runs))
    write_scores(out / "scores.csv", [row for _, row, _ in answered])
    write_predictions(out / "predictions.csv", [result for _, _, result in answered])
    networks = dict.fromkeys(run for run, _, _ in answered if run.model not in ("Majority", "HOG_SVM"))
    epochs = pd.DataFrame([row for run in networks for row in history_rows(run)])
    epochs.to_csv(out / "history.csv", index=False)
    return out / "scores.csv"


@cache
def _answered(runs: tuple[SmallRun, ...]) -> list[tuple[SmallRun, dict, SetResult]]:
    """Each run on each of its test sets, with its row of scores.csv."""
    answered = []
    for run in runs:
        for tested in [run.trained.rpartition("+")[2]] if run.variant.changed else TEST_SETS:
            result = result_of(run, tested)
            answered.append((run, score_row(run, result), result))
    return answered
