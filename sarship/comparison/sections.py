"""The comparison as sections of a report: every table with the notes and charts that go with it.

Sections without rows are left out. What stands in notes is counted from the tables.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from sarship.comparison import effects, tables
from sarship.comparison.configurations import Configuration
from sarship.comparison.statistics import Bootstrap
from sarship.names import BASELINES
from sarship.report.blocks import Bar, Bars, Block, HeatMap, Note, Section, Table
from sarship.scores import INTERVAL_PERCENT

SIGNIFICANT = 0.05
LONG_TABLE = 20  # rows; longer ones are folded in the page
MOST_NAMES = 8  # of collapsed runs in a sentence
HOW_TO_READ = (
    "All figures are computed from predictions.csv, in percent; differences are in percentage points. The figure of a "
    f"configuration is the mean over its seeds, with a {INTERVAL_PERCENT} % interval in brackets. Intervals of figures "
    "are over vessels: they are about these trained networks. Intervals and p-values of differences are over vessels "
    "and seeds: they are about the method, as far as there are several seeds on both sides. Holm p is corrected for "
    "the number of rows of its table; below 0.05, a difference is called real."
)


def all_sections(
    configurations: Sequence[Configuration],
    bootstrap: Bootstrap,
    published: pd.DataFrame | None,
    reference: str | None = None,
) -> list[Section]:
    """Summary, rankings, matrix, transfer, pairs, flaws, losses, other settings, all against one, and published
    figures, where there are rows. published: of tables.read_published; None leaves it out. reference: the variant that
    all are held against; None leaves it out."""
    pairs = tables.pairwise(configurations, bootstrap)
    sections = [
        Section("Summary", _summary(configurations, pairs, bootstrap)),
        *(
            Section(f"Ranking: tested on {tested}", _ranking(configurations, tested, bootstrap))
            for tested in tables.all_tested(configurations)
        ),
        Section("Trained on one set, tested on another", _matrix(tables.matrix(configurations, bootstrap))),
        Section("Transfer chains", _transfer(tables.transfer(configurations, bootstrap))),
        Section("Which model is better", _pairs(pairs)),
        Section("Published flaws, one at a time", _flaws(configurations, bootstrap)),
        *(
            Section(f"Losses and samplers: tested on {tested}", _losses(configurations, tested, bootstrap))
            for tested in tables.all_tested(configurations)
        ),
        Section("Other settings", _other(effects.other_settings(configurations, bootstrap))),
    ]
    if reference is not None:
        held = effects.against(configurations, reference, bootstrap)
        sections.append(Section(f"Against {reference or 'strict'}", _against(held)))
    if published is not None:
        beside = tables.published(published, configurations, bootstrap)
        sections.append(Section("Published figures", _published(beside)))
    return [section for section in sections if section.blocks]


def _summary(configurations: Sequence[Configuration], pairs: pd.DataFrame, bootstrap: Bootstrap) -> list[Block]:
    runs = sum(len(configuration.folders) for configuration in configurations)
    texts = _best(configurations, pairs, bootstrap)
    if len(pairs):
        real = int((pairs["Difference Holm p"] < SIGNIFICANT).sum())
        texts.append(f"{real} of {len(pairs)} differences between two models survive Holm's correction.")
    how = Note(f"{runs} runs of {len(configurations)} configurations. {HOW_TO_READ}")
    return [*map(Note, texts), *_cautions([each for each in configurations if each.own and not each.is_baseline]), how]


def _cautions(networks: Sequence[Configuration]) -> list[Note]:
    """Which runs collapsed on the data set that they train on, and how many configurations have a single seed."""
    notes = []
    collapsed = [
        network.stem(result.seed)
        for network in networks
        for result in network.own.results
        if len(set(result.predictions)) == 1
    ]
    if collapsed:
        more = f" and {len(collapsed) - MOST_NAMES} more" if len(collapsed) > MOST_NAMES else ""
        names = ", ".join(collapsed[:MOST_NAMES]) + more
        runs = sum(network.own.seeds for network in networks)
        notes.append(Note(f"Collapsed to one class, {len(collapsed)} of {runs} runs: {names}.", warning=True))
    single = sum(network.own.seeds == 1 for network in networks)
    if single:
        text = "what is said of these is about the one network, not about the method."
        notes.append(Note(f"{single} of {len(networks)} configurations have one seed only: {text}", warning=True))
    return notes


def _best(configurations: Sequence[Configuration], pairs: pd.DataFrame, bootstrap: Bootstrap) -> list[str]:
    """A sentence or two for each data set: the best model trained and tested on it, strict, and which are as good."""
    strict = [each for each in configurations if each.is_plain and each.protocol == "strict" and each.own]
    texts = []
    for trained in dict.fromkeys(each.trained for each in strict if "+" not in each.trained):
        models = [each for each in strict if each.trained == trained]
        best = max(models, key=lambda each: each.own.mean("MacroF1"))
        low, high = bootstrap.vessel_interval(best.own, "MacroF1")
        figure = f"a macro-F1 of {best.own.mean('MacroF1'):.2f} [{low:.2f}, {high:.2f}]"
        verb = "is best, with" if len(models) > 1 else "has"
        text = f"Trained and tested on {trained}, strict: {best.model} {verb} {figure}."
        of_best = pairs[(pairs["Trained"] == trained) & (pairs["Better"] == best.model)] if len(pairs) else pairs
        if len(of_best):
            as_good = of_best.loc[of_best["Difference Holm p"] >= SIGNIFICANT, "Other"]
            text += f" Not told apart from it: {', '.join(as_good)}." if len(as_good) else " It beats all others."
        texts.append(text)
    return texts


def _table(caption: str, frame: pd.DataFrame, with_interval: Sequence[str], marked: Mapping | None = None) -> Table:
    """A Table block in which `with_interval` are shown with their _low and _high, and p-values with four digits."""
    shown = frame.copy()
    for column in [name for name in frame if name == "p" or name.endswith(" p")]:
        shown[column] = [_p_text(p) for p in frame[column]]
    ends = {name: (f"{name}_low", f"{name}_high") for name in with_interval}
    return Table(caption, shown, intervals=ends, marked=dict(marked or {}), folded=len(frame) > LONG_TABLE)


def _p_text(p: float) -> str | None:
    if pd.isna(p):
        return None
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _bars(caption: str, unit: str, bars: Sequence[Bar], references: Mapping[str, float] | None = None) -> list[Bars]:
    return [Bars(caption, bars, unit, dict(references or {}))] if bars else []


def _bar(label: str, row: Mapping, name: str, group: str = "") -> Bar:
    low, high = (None if pd.isna(row[f"{name}_{end}"]) else row[f"{name}_{end}"] for end in ("low", "high"))
    return Bar(label, row[name], low, high, group)


def _ranking(configurations: Sequence[Configuration], tested: str, bootstrap: Bootstrap) -> list[Block]:
    ranked = tables.ranking(configurations, tested, bootstrap)
    if ranked.empty:
        return []
    marked = {index: f"{row['Collapsed']} of {row['Seeds']} runs collapsed" for index, row in _collapsed(ranked)}
    is_baseline = ranked["Model"].isin(BASELINES)
    marked |= dict.fromkeys(ranked.index[is_baseline], "baseline")
    own_baselines = ranked[is_baseline & (ranked["Trained"] == tested) & (ranked["Protocol"] == "strict")]
    is_chain = ranked["Trained"].str.contains("+", regex=False)
    networks = ranked[~is_baseline & ~is_chain].to_dict("records")
    bars = [_bar(f"{row['Model']} ({row['Trained']})", row, "MacroF1", row["Protocol"]) for row in networks]
    caption = (
        f"Networks and baselines on the test set of {tested}. Interval of MacroF1 over vessels; ± is half of that over "
        "seeds (t); Collapsed counts runs. Rows with another number of chips were tested on another split."
    )
    return [
        *_bars(
            f"Macro-F1 on {tested}. Training set in parentheses; interval over vessels. For chains, see the table.",
            "%",
            bars,
            _values(own_baselines),
        ),
        *_bars(
            f"Recall on {tested} by class. Interval over vessels.", "%", _class_bars(configurations, tested, bootstrap)
        ),
        _table(caption, ranked, ["MacroF1"], marked),
    ]


def _collapsed(ranked: pd.DataFrame) -> list[tuple[int, pd.Series]]:
    return [(index, row) for index, row in ranked.iterrows() if row["Collapsed"]]


def _values(baselines: pd.DataFrame) -> dict[str, float]:
    return dict(zip(baselines["Model"], baselines["MacroF1"], strict=True))


def _class_bars(configurations: Sequence[Configuration], tested: str, bootstrap: Bootstrap) -> list[Bar]:
    """Recalls of the networks that were trained on the set itself, strict, class by class; a class has one colour."""
    chosen = [
        each.own
        for each in configurations
        if each.is_plain and each.protocol == "strict" and each.trained == tested and each.own and not each.is_baseline
    ]
    return [
        Bar(f"{answers.results[0].model}: {name}", answers.mean(figure), *_ends(bootstrap, answers, figure), name)
        for answers in chosen
        for name in answers.classes
        for figure in [f"Recall {name}"]
    ]


def _ends(bootstrap: Bootstrap, answers, figure: str) -> tuple[float | None, float | None]:
    return tuple(None if pd.isna(end) else end for end in bootstrap.vessel_interval(answers, figure))


def _matrix(matrix: pd.DataFrame) -> list[Block]:
    """A heat map for each model and protocol that was tested on several sets, and all of them as one table."""
    if matrix.empty or matrix["Tested"].nunique() < 2:
        return []
    blocks: list[Block] = []
    lowest, highest = matrix["MacroF1"].min(), matrix["MacroF1"].max()
    matrix = matrix.assign(
        Interval=[f"[{low:.1f}, {high:.1f}]" for low, high in matrix[["MacroF1_low", "MacroF1_high"]].values]
    )
    for (model, protocol), part in matrix.groupby(["Model", "Protocol"], sort=False):
        frame, details = (_square(part, column) for column in ("MacroF1", "Interval"))
        caption = f"{model}, {protocol}. Macro-F1, interval over vessels."
        blocks.append(HeatMap(caption, frame, "Trained", "Tested", lowest, highest, details))
    ends = {"MacroF1": "", "MacroF1_low": "_low", "MacroF1_high": "_high"}
    key = ["Model", "Protocol", "Trained"]
    wide = matrix.drop_duplicates(key)[key].reset_index(drop=True)
    tested = list(matrix["Tested"].unique())
    for name in tested:
        part = matrix[matrix["Tested"] == name].rename(columns={column: name + end for column, end in ends.items()})
        wide = wide.merge(part[[*key, *(name + end for end in ends.values())]], on=key, how="left")
    return [*blocks, _table("Macro-F1 by training and test set. Interval over vessels.", wide, tested)]


def _square(part: pd.DataFrame, column: str) -> pd.DataFrame:
    square = part.pivot(index="Trained", columns="Tested", values=column)
    return square.reindex(index=part["Trained"].unique(), columns=part["Tested"].unique())


def _transfer(transfer: pd.DataFrame) -> list[Block]:
    if transfer.empty:
        return []
    rows = transfer.to_dict("records")
    caption = (
        "What transfer is worth in macro-F1. Over base: more than before it was trained on the target; over target "
        "alone: more than the same model trained on nothing else."
    )
    shown = transfer.drop(columns=["Over base p", "Over target alone p"])
    charts: dict[str, list[Bar]] = {}
    for row in rows:
        if row["Trained"].endswith(f"+{row['Tested']}") and not pd.isna(row["Over target alone"]):
            bar = _bar(f"{row['Model']} {row['Trained']}", row, "Over target alone")
            charts.setdefault(row["Variant"] or "strict", []).append(bar)
    title = "Gain of transfer over training on the target alone. In macro-F1, tested on the target"
    return [
        *(block for variant, bars in charts.items() for block in _bars(f"{title}; {variant}.", "points", bars)),
        _table(caption, shown, ["Over base", "Over target alone"]),
    ]


def _pairs(pairs: pd.DataFrame) -> list[Block]:
    if pairs.empty:
        return []
    caption = (
        "Two models on the same chips, strict, in macro-F1. McNemar takes chips as independent and the seeds as they "
        "are: its p is about the accuracy of these trained networks, and too small where vessels have several chips."
    )
    shown = pairs.rename(columns={"Difference p": "p", "Difference Holm p": "Holm p"})
    return [_table(caption, shown, ["Difference"])]


def _flaws(configurations: Sequence[Configuration], bootstrap: Bootstrap) -> list[Block]:
    summary = effects.flaw_summary(configurations, bootstrap)
    single = effects.flaws(configurations, bootstrap)
    if single.empty:
        return []
    sign = Note(
        "An effect is the figure with the option turned, less that of the protocol as it is, on the run's own test "
        "set. Turned on from strict, a positive one means that the flaw flatters; mended from published, that mending "
        "helps. Flaws of the split change who is tested, so such an effect mixes what the network learned with what it "
        "is asked. An effect of 0 without an interval means that every answer is the same."
    )
    blocks: list[Block] = [sign]
    for change, part in summary.groupby("Change", sort=False) if len(summary) else ():
        bars = [_bar(row["Option"], row, "MacroF1") for row in part.to_dict("records")]
        blocks += _bars(f"Effect on macro-F1, {change}. Mean over networks and training sets.", "points", bars)
    if len(summary):
        caption = "Each option, mean over the networks and training sets that it touches. Intervals hold for these."
        blocks.append(_effect_table(caption, summary))
    blocks.append(_effect_table("Each option, by model and training set.", single))
    precision = effects.own_rows_precision(configurations)
    if len(precision):
        caption = "What own-rows-scores does: precision of a class over all chips, and over the chips of that class."
        blocks.append(_table(caption, precision, []))
    return blocks


def _effect_table(caption: str, frame: pd.DataFrame) -> Table:
    dropped = [name for name in ("MacroF1 p", "Accuracy p", "Accuracy Holm p") if name in frame]
    names = {
        f"{figure}{end}": f"{figure} effect{end}" for figure in effects.EFFECT_FIGURES for end in ("", "_low", "_high")
    }
    shown = frame.drop(columns=dropped).rename(columns=names | {"MacroF1 Holm p": "Holm p"})
    return _table(caption, shown, [f"{figure} effect" for figure in effects.EFFECT_FIGURES])


def _losses(configurations: Sequence[Configuration], tested: str, bootstrap: Bootstrap) -> list[Block]:
    chosen = effects.loss_configurations(configurations, tested)
    if not chosen:
        return []
    answers = chosen[0].own
    rarest, *others = effects.classes_by_rarity(answers)
    counts = dict(zip(answers.classes, answers.chips_of_class, strict=True))
    note = (
        f"Strict but for loss and sampler. Gains are over {effects.REFERENCE_LOSS} without a sampler. The rarest class "
        f"of this test set is {rarest}, with {counts[rarest]} of {answers.chips} chips."
    )
    blocks: list[Block] = [Note(note)]
    missing = _without_reference(chosen)
    if missing:
        blocks.append(
            Note(f"No gains for {', '.join(missing)}: run test_models.py --loss cross_entropy for them.", True)
        )
    frame = effects.losses(configurations, tested, ("MacroF1",), bootstrap)
    blocks += [*_gain_bars("Gain in macro-F1.", frame, "MacroF1"), _loss_table("Macro-F1.", frame, ("MacroF1",))]
    for name in (rarest, *others):
        figures = (f"Recall {name}", f"F1 {name}")
        frame = effects.losses(configurations, tested, figures, bootstrap)
        blocks += _gain_bars(f"Gain in recall of {name}.", frame, figures[0])
        blocks.append(_loss_table(f"{name}, {counts[name]} test chips.", frame, figures))
    return blocks


def _without_reference(chosen: Sequence[Configuration]) -> list[str]:
    there = {(each.model, each.trained) for each in chosen if effects.is_reference(each)}
    return list(
        dict.fromkeys(f"{each.model} on {each.trained}" for each in chosen if (each.model, each.trained) not in there)
    )


def _gain_bars(caption: str, frame: pd.DataFrame, figure: str) -> list[Bars]:
    """One chart for each model and training set."""
    charts = []
    for (model, trained), rows in frame[frame[f"{figure} gain"].notna()].groupby(["Model", "Trained"], sort=False):
        bars = [
            _bar(row["Loss"], row, f"{figure} gain", f"sampler {row['Sampler']}") for row in rows.to_dict("records")
        ]
        charts += _bars(f"{caption} {model} trained on {trained}.", "points", bars)
    return charts


def _loss_table(caption: str, frame: pd.DataFrame, figures: Sequence[str]) -> Table:
    """The caption names the class, so that the heads of the columns need not."""
    shown = frame.drop(columns=[f"{figure} gain p" for figure in figures])
    kinds = {figure: figure.split(" ")[0] for figure in figures}
    for figure, kind in kinds.items():
        shown.columns = [kind + name.removeprefix(figure) if name.startswith(figure) else name for name in shown]
    return _table(caption, shown, [f"{kind} gain" for kind in kinds.values()])


def _other(other: pd.DataFrame) -> list[Block]:
    caption = "Whatever departs from its protocol in other ways. Effect: on macro-F1, over the protocol as it is."
    shown = other.rename(columns={"Effect p": "p", "Effect Holm p": "Holm p"})
    return [] if other.empty else [_table(caption, shown, ["Effect"])]


def _against(held: pd.DataFrame) -> list[Block]:
    effect_names = [f"{figure} effect" for figure in effects.EFFECT_FIGURES]
    rows = held[held[effect_names[0]].notna()].to_dict("records")
    caption = "Intervals of figures and effects are over chips and seeds."
    charts = [
        block
        for name in effect_names
        for block in _bars(f"{name}.", "points", [_bar(_against_label(row), row, name) for row in rows])
    ]
    shown = held.drop(columns=[f"{name} p" for name in effect_names])
    return [*charts, _table(caption, shown, [*effects.EFFECT_FIGURES, *effect_names])]


def _against_label(row: Mapping) -> str:
    return f"{row['Model']} ({row['Trained']}), {row['Variant'] or 'strict'}"


def _published(beside: pd.DataFrame) -> list[Block]:
    if beside.empty:
        return []
    figures = [f"{figure}, {protocol}" for protocol in ("published", "strict") for figure in tables.PUBLISHED_FIGURES]
    marked = dict.fromkeys(beside.index[beside["Collapsed, printed"]], "as printed, it answers one class only")
    caption = (
        "What was printed, and what comes out here under both protocols. Printed BalancedAccuracy is the mean of the "
        "recalls, which is what the printed accuracies of classes are. Intervals are over vessels and seeds."
    )
    return [_table(caption, beside, figures, marked)]
