"""Tables of a comparison: which configuration is best, and whether the difference is real.

Every function gives a DataFrame, empty where nothing applies; figures are in percent and differences in percentage
points. A difference called "Name" has the columns "Name", "Name_low", "Name_high", "Name p" and "Name Holm p"; the last
is corrected over the rows of the table. What one option changes is in effects.py.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from sarship.command import UserError
from sarship.comparison.configurations import Configuration
from sarship.comparison.statistics import (
    NO_DIFFERENCE,
    Answers,
    Bootstrap,
    Difference,
    holm,
    mcnemar,
    same_chips,
    same_deals,
    seed_interval,
)
from sarship.scores import FOUR, class_columns

PUBLISHED_KEY = ["Trained", "Tested", "Model"]
PUBLISHED_FIGURES = ("Accuracy", "F1", "BalancedAccuracy")


def find(configurations: Iterable[Configuration], model: str, trained: str, protocol: str) -> Configuration | None:
    """The configuration that is as the protocol has it; None if there is none."""
    for configuration in configurations:
        found = (configuration.model, configuration.trained, configuration.protocol)
        if configuration.is_plain and found == (model, trained, protocol):
            return configuration
    return None


def all_tested(configurations: Iterable[Configuration]) -> list[str]:
    """Names of the test sets, in order of appearance."""
    return list(dict.fromkeys(tested for configuration in configurations for tested in configuration.answers))


def ranking(configurations: Sequence[Configuration], tested: str, bootstrap: Bootstrap) -> pd.DataFrame:
    """Configurations as their protocols have them, and baselines, on one test set; best macro-F1 first.

    MacroF1 has its interval over vessels; "± seeds" is half the width of that over seeds, "Collapsed" counts runs.
    """
    rows = []
    for configuration in configurations:
        answers = configuration.answers.get(tested)
        if not configuration.is_plain or answers is None:
            continue
        over_vessels, over_seeds = (
            bootstrap.vessel_interval(answers, "MacroF1"),
            seed_interval(answers.of_seeds("MacroF1")),
        )
        rows.append(
            {
                "Model": configuration.model,
                "Trained": configuration.trained,
                "Protocol": configuration.protocol,
                "Seeds": answers.seeds,
                "Collapsed": answers.collapsed,
                "Chips": answers.chips,
                "MacroF1": answers.mean("MacroF1"),
                "MacroF1_low": over_vessels.low,
                "MacroF1_high": over_vessels.high,
                "± seeds": (over_seeds.high - over_seeds.low) / 2,
                "BalancedAccuracy": answers.mean("BalancedAccuracy"),
                "Accuracy": answers.mean("Accuracy"),
                **{f"Recall {name}": answers.mean(f"Recall {name}") for name in answers.classes},
            }
        )
    table = pd.DataFrame(rows)
    return table if table.empty else table.sort_values("MacroF1", ascending=False, kind="stable", ignore_index=True)


def matrix(configurations: Sequence[Configuration], bootstrap: Bootstrap) -> pd.DataFrame:
    """Macro-F1 of each model and protocol by training set (chains too) and test set, with its interval over vessels."""
    rows = []
    for configuration in configurations:
        for tested, answers in configuration.answers.items() if configuration.is_plain else ():
            low, high = bootstrap.vessel_interval(answers, "MacroF1")
            run = {name: getattr(configuration, name.lower()) for name in ("Model", "Protocol", "Trained")}
            figures = {"MacroF1": answers.mean("MacroF1"), "MacroF1_low": low, "MacroF1_high": high}
            rows.append(run | {"Tested": tested} | figures)
    return pd.DataFrame(rows)


def transfer(configurations: Sequence[Configuration], bootstrap: Bootstrap) -> pd.DataFrame:
    """What each chain has more than its base, and more than training on its target alone, on every test set."""
    rows = []
    for chain in configurations:
        if "+" not in chain.trained or not set(chain.changed) <= {"unfreeze"}:
            continue
        base, _, target = chain.trained.rpartition("+")
        for tested, answers in chain.answers.items():
            rows.append(
                {
                    "Model": chain.model,
                    "Variant": chain.variant,
                    "Trained": chain.trained,
                    "Tested": tested,
                    "Seeds": answers.seeds,
                    "MacroF1": answers.mean("MacroF1"),
                }
            )
            for name, trained in (("Over base", base), ("Over target alone", target)):
                other = find(configurations, chain.model, trained, chain.protocol)
                reference = other.answers.get(tested) if other else None
                rows[-1] |= difference_columns(name, compare(answers, reference, "MacroF1", bootstrap))
    return with_holm(pd.DataFrame(rows), "Over base", "Over target alone")


def pairwise(configurations: Sequence[Configuration], bootstrap: Bootstrap) -> pd.DataFrame:
    """Every two models, strict, trained and tested on one set: macro-F1 of the better one less that of the other.

    Raises UserError if the two were not tested on the same chips.
    """
    rows = []
    chosen = [each for each in configurations if each.is_plain and each.protocol == "strict" and each.own]
    for trained in dict.fromkeys(each.trained for each in chosen if "+" not in each.trained):
        models = [each for each in chosen if each.trained == trained]
        models.sort(key=lambda each: -each.own.mean("MacroF1"))
        for better, other in combinations(models, 2):
            if not same_chips(better.own, other.own):
                raise UserError(
                    f"{better.name} and {other.name}: were tested on different chips of {trained}; "
                    "compare runs of one prepared folder only"
                )
            rows.append(
                {
                    "Trained": trained,
                    "Better": better.model,
                    "Other": other.model,
                    "Seeds": seed_counts(better.own, other.own),
                    **difference_columns("Difference", compare(better.own, other.own, "MacroF1", bootstrap)),
                    "McNemar p": mcnemar(better.own, other.own),
                }
            )
    return with_holm(pd.DataFrame(rows), "Difference")


def read_published(folder: Path, classes: Sequence[str]) -> pd.DataFrame:
    """The published tables of scores on these classes, with the column "Table" in front; other tables are left alone.

    BalancedAccuracy is the mean of the recalls. Collapsed: one recall is 100 and the others are 0.
    Raises UserError if the folder holds no such table, or one that cannot be read.
    """
    recalls = {class_columns(name)[FOUR.index("Recall")] for name in classes}
    tables = []
    for path in sorted(folder.glob("*.csv")):
        try:
            table = pd.read_csv(path, keep_default_na=False)
            if {*PUBLISHED_KEY, *FOUR, *recalls} <= set(table):
                tables.append(_with_balance(table.assign(Table=path.stem), sorted(recalls)))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as a published table ({error})") from error
    if not tables:
        raise UserError(f"--published: {folder} holds no table of scores on {', '.join(classes)}")
    return pd.concat(tables, ignore_index=True)


def _with_balance(table: pd.DataFrame, recalls: Sequence[str]) -> pd.DataFrame:
    values = np.sort(table[recalls].to_numpy(dtype=float), axis=1)  # (rows, classes)
    table["BalancedAccuracy"] = values.mean(axis=1)
    table["Collapsed"] = (values[:, -1] == 100) & (values[:, :-1] == 0).all(axis=1)
    return table[["Table", *PUBLISHED_KEY, *PUBLISHED_FIGURES, "Collapsed"]]


def published(
    published_rows: pd.DataFrame, configurations: Sequence[Configuration], bootstrap: Bootstrap
) -> pd.DataFrame:
    """Published figures beside those of both protocols, with their interval over vessels and seeds.

    Only what was run here: rows without a figure of either protocol are left out.
    """
    rows = []
    for published_row in published_rows.to_dict("records"):
        tested = published_row["Tested"]
        found = {
            protocol: find(configurations, published_row["Model"], published_row["Trained"], protocol)
            for protocol in ("published", "strict")
        }
        ours = {protocol: each.answers[tested] for protocol, each in found.items() if each and tested in each.answers}
        if not ours:
            continue
        rows.append({name: published_row[name] for name in ("Table", *PUBLISHED_KEY)})
        rows[-1]["Collapsed, printed"] = published_row["Collapsed"]
        for figure in PUBLISHED_FIGURES:
            rows[-1][f"{figure}, printed"] = published_row[figure]
            for protocol in found:
                rows[-1] |= figure_columns(f"{figure}, {protocol}", figure, ours.get(protocol), bootstrap)
    return pd.DataFrame(rows)


def figure_columns(name: str, figure: str, answers: Answers | None, bootstrap: Bootstrap) -> dict[str, float]:
    """A figure under a name, with its interval over vessels and seeds."""
    if answers is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
    low, high = bootstrap.interval(answers, figure)
    return {name: answers.mean(figure), f"{name}_low": low, f"{name}_high": high}


def compare(answers: Answers, reference: Answers | None, figure: str, bootstrap: Bootstrap) -> Difference:
    """answers - reference; NO_DIFFERENCE without a reference."""
    if reference is None:
        return NO_DIFFERENCE
    return bootstrap.difference([(answers, reference)], figure, paired_seeds=same_deals(answers, reference))


def seed_counts(one: Answers, other: Answers | None) -> str:
    """ "3 / 1": how many seeds stand on each side of a difference."""
    return f"{one.seeds} / {other.seeds if other else 0}"


def difference_columns(name: str, difference: Difference) -> dict[str, float]:
    return {
        name: difference.value,
        f"{name}_low": difference.low,
        f"{name}_high": difference.high,
        f"{name} p": difference.p,
    }


def with_holm(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The table with "<name> Holm p" after each "<name> p"."""
    for name in names if len(table) else ():
        table.insert(table.columns.get_loc(f"{name} p") + 1, f"{name} Holm p", holm(table[f"{name} p"]))
    return table
