"""Sections that are all pictures: confusion matrices, learning curves and heatmaps of the runs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sarship.comparison.configurations import Configuration
from sarship.report.blocks import Confusion, Curve, Curves, Picture, Section
from sarship.scores import vessel_confusions

MOST_CURVES = 12  # that can be told apart in one plot


def gallery(configurations: Sequence[Configuration], history: pd.DataFrame) -> list[Section]:
    """Of configurations as their protocols have them, on the data set they train on. history: of read_histories.

    Transfer chains are left out of all but the heatmaps: there would be too many pictures to look at.
    """
    plain = [each for each in configurations if each.is_plain and each.own and each.model != "Majority"]
    single = [each for each in plain if each.trained == each.target]
    sections = [
        Section("Confusion matrices", [_confusion(each) for each in single], side_by_side=True),
        Section("Learning curves", _learning_curves(single, history), side_by_side=True),
        Section("Where networks look", [picture for each in plain for picture in _contact_sheet(each)]),
    ]
    return [section for section in sections if section.blocks]


def _name(configuration: Configuration) -> str:
    """Enough to tell those that are as their protocols have them."""
    return f"{configuration.model} ({configuration.trained}), {configuration.protocol}"


def _confusion(configuration: Configuration) -> Confusion:
    answers = configuration.own
    counts = sum(vessel_confusions(result).sum(axis=0) for result in answers.results)
    seeds = f"sum of {answers.seeds} seeds" if answers.seeds > 1 else "one seed"
    caption = f"{_name(configuration)}. Tested on {configuration.target}, {seeds}."
    return Confusion(caption, answers.classes, counts.astype(int).tolist())


def _learning_curves(configurations: Sequence[Configuration], history: pd.DataFrame) -> list[Curves]:
    """All networks of a training set and protocol in one pair of plots; each has its own where they are too many."""
    plots = []
    groups: dict[tuple[str, str], list[Configuration]] = {}
    for each in configurations:
        groups.setdefault((each.trained, each.protocol), []).append(each)
    for (trained, protocol), members in groups.items():
        runs = [(each.model, _epochs_of(each, history)) for each in members]
        if 2 * sum(len(by_seed) for _, by_seed in runs) <= MOST_CURVES:
            plots += _curves(f"Trained on {trained}, {protocol}", runs)
        else:
            for each, run in zip(members, runs, strict=True):
                plots += _curves(_name(each), [run])
    return plots


def _epochs_of(configuration: Configuration, history: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Rows of the history by seed; none of a baseline."""
    is_ours = history[["Model", "Trained", "Variant"]].eq(
        [configuration.model, configuration.trained, configuration.variant]
    )
    return dict(list(history[is_ours.all(axis=1)].groupby("Seed")))


def _curves(name: str, runs: Sequence[tuple[str, dict[int, pd.DataFrame]]]) -> list[Curves]:
    """Losses, and validation macro-F1 with the kept epoch set off, one curve a model and seed; none without any."""
    several = any(len(by_seed) > 1 for _, by_seed in runs)
    epochs = [
        (f"{model}, seed {seed}" if several else model, rows)
        for model, by_seed in runs
        for seed, rows in by_seed.items()
    ]
    losses = [
        _curve(f"{label}, {part}", rows, column)
        for label, rows in epochs
        for part, column in (("train", "TrainLoss"), ("val", "ValLoss"))
    ]
    scores = [_curve(label, rows, "ValMacroF1") for label, rows in epochs]
    plots = (
        (losses, "Losses: train by the loss of the run, val by plain cross-entropy.", "Loss (nats)"),
        (scores, "Validation macro-F1: the kept epoch is set off.", "Macro-F1 (%)"),
    )
    return [
        Curves(f"{name}. {text}", drawn, "Epoch", y_label)
        for curves, text, y_label in plots
        if (drawn := [curve for curve in curves if curve is not None])
    ]


def _curve(label: str, epochs: pd.DataFrame, column: str) -> Curve | None:
    """None where the column is empty: without validation chips."""
    values = [None if np.isnan(value) else float(value) for value in epochs[column]]
    if all(value is None for value in values):
        return None
    picked = epochs.loc[epochs["Picked"], "Epoch"]
    return Curve(label, epochs["Epoch"].tolist(), values, float(picked.iloc[0]) if len(picked) else None)


def _contact_sheet(configuration: Configuration) -> list[Picture]:
    """That of the first seed that has one, as grad_cams.py left it."""
    for seed, folder in sorted(configuration.folders.items()):
        path = folder / "Exp_images" / configuration.target / configuration.stem(seed) / "contact_sheet.png"
        if path.is_file():
            return [Picture(f"{_name(configuration)}. Seed {seed}, tested on {configuration.target}.", path)]
    return []
