"""What was run: scores.csv, with predictions.csv and history.csv beside it, as configurations.

A configuration is a model with its training set and options; its runs differ in the seed only. scores.csv says which
runs there are. Every figure is computed anew from predictions.csv, and refused if it is not what scores.csv says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from sarship.command import UserError, log
from sarship.comparison.statistics import Answers
from sarship.names import BASELINES, HISTORY_COLUMNS, run_stem
from sarship.protocols import PROTOCOLS
from sarship.scores import FIRST_COLUMNS, LAST_COLUMNS, NEWER_COLUMNS, RUN_KEY, SetResult, macro_f1, read_predictions

CONFIGURATION_KEY = ["Model", "Trained", "Variant"]
# Options that make a configuration; in the runs of one, they are the same.
OPTION_COLUMNS = ["Protocol", "Loss", "Sampler", "Augment", "Heads", "Unfreeze", "LearningRate", "Flaws", "Changed"]
ROUNDING = 0.00501  # of a figure with two decimals; a little more, for the figure itself is rounded in binary


@dataclass(frozen=True, eq=False)
class Configuration:
    """A model with its training set and options, and what its runs answered on each test set.

    trained: a data set, or "<base>+<target>" of a transfer chain. changed: options that are not as in the protocol.
    folders: of scores.csv, by seed. answers: by test set.
    """

    model: str
    trained: str
    variant: str
    protocol: str
    changed: tuple[str, ...]
    loss: str
    sampler: str
    folders: Mapping[int, Path]
    answers: Mapping[str, Answers]

    @property
    def target(self) -> str:
        """The data set that it trains on, the last of a chain."""
        return self.trained.rpartition("+")[2]

    @property
    def own(self) -> Answers | None:
        """On the test set of the data set that it trains on; None where that is not among the test sets."""
        return self.answers.get(self.target)

    @property
    def is_plain(self) -> bool:
        return not self.changed

    @property
    def is_baseline(self) -> bool:
        return self.model in BASELINES

    @cached_property
    def name(self) -> str:
        return configuration_name(self.model, self.trained, self.variant)

    def stem(self, seed: int) -> str:
        """Name of the files of one run, without suffix, as test_models.py writes them."""
        return run_stem(self.model, self.trained, self.variant, seed)


def configuration_name(model: str, trained: str, variant: str) -> str:
    return f"{model} trained on {trained}" + (f" ({variant})" if variant else "")


def read_configurations(paths: Sequence[Path]) -> list[Configuration]:
    """All configurations of several scores.csv, in order of appearance.

    Raises UserError if a file is absent, damaged or of an older form, if predictions.csv beside it does not have the
    same runs and figures, if a run is there twice, or if runs do not belong together.
    """
    tables = [_read_scores(path) for path in paths]
    _refuse_duplicates(tables, paths)
    groups: dict[tuple, list[tuple[pd.Series, SetResult, Path]]] = {}
    for table, path in zip(tables, paths, strict=True):
        results = _results_of(path.with_name("predictions.csv"))
        for _, row in table.iterrows():
            result = _checked_result(row, results, path)
            groups.setdefault(tuple(row[CONFIGURATION_KEY]), []).append((row, result, path.parent))
    configurations = [_configuration(*key, members) for key, members in groups.items()]
    _refuse_mixed_classes(configurations)
    return configurations


def _read_scores(path: Path) -> pd.DataFrame:
    """The rows of one scores.csv, as text but for Seed, MacroF1 and TestChips."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: is not there; write it with test_models.py, or name another file") from error
    except (OSError, ValueError) as error:  # pandas' parser errors and bad UTF-8 are ValueErrors
        raise UserError(f"{path}: cannot be read as a table of scores ({error})") from error
    missing = [column for column in (*FIRST_COLUMNS, *LAST_COLUMNS) if column not in table]
    if missing == list(NEWER_COLUMNS):
        raise UserError(
            f"{path}: is of an older form, without {missing[0]} to {missing[-1]}; run test_models.py again, "
            "which writes it anew"
        )
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; write it with test_models.py")
    if table.empty:
        raise UserError(f"{path}: has no rows; run test_models.py")
    for column, kind in (("Seed", int), ("MacroF1", float), ("TestChips", int)):
        table[column] = [_number(cell, kind, column, path) for cell in table[column]]
    unknown = sorted(set(table["Protocol"]) - set(PROTOCOLS))
    if unknown:
        raise UserError(f"{path}: there is no protocol {unknown[0]!r}; there are {', '.join(PROTOCOLS)}")
    return table


def _number(cell: str, kind: type, column: str, path: Path):
    try:
        return kind(cell)
    except ValueError as error:
        raise UserError(f"{path}: {column} is {cell!r}, which is no number; write it with test_models.py") from error


def _refuse_duplicates(tables: Sequence[pd.DataFrame], paths: Sequence[Path]) -> None:
    seen: dict[tuple, Path] = {}
    for table, path in zip(tables, paths, strict=True):
        for key in table[RUN_KEY].itertuples(index=False, name=None):
            if key in seen:
                where = f"{path} twice" if seen[key] == path else f"{seen[key]} and in {path}"
                raise UserError(f"{_run_name(key)}: is in {where}; take its rows out of one, or name other files")
            seen[key] = path


def _run_name(key: tuple) -> str:
    trained, tested, model, seed, variant = key
    return f"{configuration_name(model, trained, variant)}, seed {seed}, tested on {tested}"


def _results_of(path: Path) -> dict[tuple, SetResult]:
    if not path.exists():
        raise UserError(f"{path}: is not there; keep it beside scores.csv, as test_models.py writes both")
    return {
        (result.trained, result.tested, result.model, result.seed, result.variant): result
        for result in read_predictions(path)
    }


def _checked_result(row: pd.Series, results: Mapping[tuple, SetResult], path: Path) -> SetResult:
    key, predictions = tuple(row[RUN_KEY]), path.with_name("predictions.csv")
    if key not in results:
        raise UserError(f"{predictions}: lacks {_run_name(key)}, which {path.name} has; write both with test_models.py")
    result = results[key]
    computed = 100 * macro_f1(result.labels, result.predictions, len(result.classes))
    if not abs(computed - row["MacroF1"]) <= ROUNDING or len(result.chips) != row["TestChips"]:
        raise UserError(
            f"{predictions}: gives {_run_name(key)} a MacroF1 of {computed:.2f} on {len(result.chips)} chips, but "
            f"{path.name} says {row['MacroF1']:.2f} on {row['TestChips']}; write both with test_models.py"
        )
    return result


def _configuration(
    model: str, trained: str, variant: str, members: Sequence[tuple[pd.Series, SetResult, Path]]
) -> Configuration:
    name, first = configuration_name(model, trained, variant), members[0][0]
    for row, _, _ in members:
        for column in OPTION_COLUMNS:
            if row[column] != first[column]:
                raise UserError(
                    f"{name}: has runs with {column} {first[column]!r} and {row[column]!r}; compare them apart"
                )
    epochs = list(dict.fromkeys(row["Epochs"] for row, _, _ in members))
    if len(epochs) > 1:
        log(f"warning: {name}: has runs of {' and '.join(epochs)} epochs, which are averaged")
    by_test_set: dict[str, list[SetResult]] = {}
    for _, result, _ in sorted(members, key=lambda member: member[1].seed):
        by_test_set.setdefault(result.tested, []).append(result)
    try:
        redealt = "redeal" in first["Changed"].split()
        answers = {tested: Answers(name, results, redealt) for tested, results in by_test_set.items()}
    except ValueError as error:
        raise UserError(f"{error}; compare runs of one prepared folder only") from error
    return Configuration(
        model=model,
        trained=trained,
        variant=variant,
        protocol=first["Protocol"],
        changed=tuple(first["Changed"].split()),
        loss=first["Loss"],
        sampler=first["Sampler"],
        folders={result.seed: folder for _, result, folder in members},
        answers=answers,
    )


def _refuse_mixed_classes(configurations: Sequence[Configuration]) -> None:
    found: dict[tuple[str, ...], str] = {}
    for configuration in configurations:
        for answers in configuration.answers.values():
            found.setdefault(answers.classes, configuration.name)
    if len(found) > 1:
        (some, one), (others, other) = list(found.items())[:2]
        raise UserError(
            f"{one} tells {', '.join(some)} apart, {other} {', '.join(others)}; compare runs on the same classes only"
        )


def read_histories(paths: Sequence[Path]) -> pd.DataFrame:
    """The rows of history.csv beside each scores.csv, epochs in order; none where there is no such file.

    Losses in nats, ValMacroF1 in percent (NaN without validation chips), Picked a bool.
    Raises UserError if a file cannot be read or lacks a column.
    """
    histories = [path.with_name("history.csv") for path in paths]
    tables = [_read_history(path) for path in histories if path.exists()]
    for path in histories:
        if not path.exists():
            log(f"{path}: is not there, so there are no learning curves of its runs")
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(HISTORY_COLUMNS))


def _read_history(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        missing = [column for column in HISTORY_COLUMNS if column not in table]
        if missing:
            raise UserError(f"{path}: has no column {', '.join(missing)}; write it with test_models.py")
        table = table.astype({"Seed": int, "Epoch": int})
        for column in ("TrainLoss", "ValLoss", "ValMacroF1"):
            table[column] = table[column].replace("", "nan").astype(float)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a table of epochs ({error})") from error
    table["Picked"] = table["Picked"] == "True"
    return table.sort_values("Epoch", kind="stable")
