"""Model cards: trained_models/<run>.md beside each model file, what whoever is handed it should know.

After Mitchell et al. 2019, "Model cards for model reporting", Conference on Fairness, Accountability, and Transparency.
Everything on a card is read off the model file, its scores and the manifests; nothing on it says when or where the run
was, so the same run has the same card.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from sarship.familiarity import Familiarity
from sarship.files import whole_file
from sarship.names import BASELINES
from sarship.prepared import SPLITS, PreparedSet, read_options
from sarship.protocols import SWITCHES
from sarship.report.blocks import Note, Section, Table
from sarship.report.text import as_markdown
from sarship.runs import read_run
from sarship.scene_sets import SCENE_SETS

FEW_CHIPS = 30  # of a class in a test set: one chip more or less moves its recall by 3 points and more
WIDE_POINTS = 10  # of a 95 % interval of macro-F1
BADLY_CALIBRATED = 5  # points of expected calibration error
SHIP_PAPERS = {
    "Fusar": "X. Hou et al., FUSAR-Ship: building a high-resolution SAR-AIS matchup dataset of Gaofen-3 for ship "
    "detection and recognition, Science China Information Sciences 63, 140303, 2020",
    "OpenSARShip": "L. Huang et al., OpenSARShip: a dataset dedicated to Sentinel-1 ship interpretation, IEEE JSTARS "
    "11(1), 2018",
}
HEADS_FLAW = "heads as the published code had them"
LEFT_OUT = ("data", "classes", *SWITCHES)  # of the settings: they have sections of their own


def write_model_card(
    path: Path, rows: Sequence[Mapping], view: Mapping[str, PreparedSet], has_weights: bool = True
) -> None:
    """Write the card of a model file; that of a baseline, which holds no network, is not written.

    path: of the model file. rows: its rows of scores.csv. view: the prepared sets as its run split them.
    has_weights: whether the file keeps them. Raises UserError if the file or prepared/options.json cannot be read.
    """
    content = read_run(path)
    meta = content["meta"]
    if meta["model"] in BASELINES:
        return
    scores = pd.DataFrame(list(rows))
    simulated = _is_simulated(view)
    sections = [
        Section("What it is", list(_what_it_is(content, path, has_weights))),
        Section("Trained on", list(_data(meta, view, simulated))),
        Section("Splits and protocol", list(_protocol(meta))),
        Section("How it was trained", [_settings(content)]),
        Section("Scores", list(_scores(scores, meta))),
        Section("Limits", [Note(f"- {text}") for text in _limits(content, scores, view, simulated)]),
    ]
    with whole_file(path.with_suffix(".md")) as written:
        written.write_text(f"# {path.stem}\n\n{as_markdown(sections)}", encoding="utf-8")


def _is_simulated(view: Mapping[str, PreparedSet]) -> bool:
    """Whether the chips were drawn by this project's simulator."""
    out = next(iter(view.values())).folder.parents[1]
    if not (out / "prepared" / "options.json").exists():
        return False
    return read_options(out)["options"].get("demo_chips") is not None


def _what_it_is(content: Mapping, path: Path, has_weights: bool) -> Iterator[Note]:
    meta = content["meta"]
    size, bands = meta["image_size"], "colour" if meta.get("bands") == "rgb" else "grey"
    yield Note(
        f"{meta['model']}, which tells {len(meta['classes'])} classes apart: {', '.join(meta['classes'])}. It takes "
        f"{bands} images of {size} x {size} pixels, 8 bit, and gives a probability for each class. Computed on "
        f"{meta['device']}, seed {meta['seed']}."
    )
    if has_weights:
        yield Note(f"Use: python predict.py {path.parent.name}/{path.name} IMAGES")
    else:
        yield Note(f"{path.name} holds its answers and not its weights (--no-weights): it can predict nothing new.")


def _data(meta: Mapping, view: Mapping[str, PreparedSet], simulated: bool) -> Iterator[Note | Table]:
    names = meta["trained"].split("+")
    if len(names) > 1:
        yield Note(f"First on {names[0]}, then from there on {names[1]}.")
    if simulated:
        yield Note("The chips are simulated. What is learnt from them holds for the simulator.", warning=True)
    for name in names:
        yield _counts(name, view[name], meta["classes"])
    manifest = pd.concat([view[name].manifest for name in names])
    taken = manifest[manifest["split"] == "train"]
    for column in ("sensor", "product", "polarization"):
        kinds = taken.loc[taken[column] != "", column].value_counts()
        if len(kinds):
            yield Note(
                f"{column.capitalize()}: {', '.join(f'{kind} ({count} chips)' for kind, count in kinds.items())}."
            )
    yield from _spacing(taken)
    yield from _papers(manifest)


def _counts(name: str, prepared: PreparedSet, classes: Sequence[str]) -> Table:
    table = pd.crosstab(prepared.manifest["class"], prepared.manifest["split"])
    table = table.reindex(index=list(classes), columns=list(SPLITS), fill_value=0)
    frame = table.rename_axis("class").rename_axis(None, axis=1).reset_index()
    return Table(f"Chips of {name}, manifest {prepared.fingerprint()[:12]}", frame)


def _spacing(manifest: pd.DataFrame) -> Iterator[Note]:
    spacing = manifest[["row_spacing_m", "col_spacing_m"]].stack().dropna()
    if len(spacing):
        yield Note(f"Pixel spacing of the source chips: {spacing.min():g} to {spacing.max():g} m.")


def _papers(manifest: pd.DataFrame) -> Iterator[Note]:
    known = {**SHIP_PAPERS, **{name: scene.citation for name, scene in SCENE_SETS.items()}}
    for source in sorted(set(manifest["dataset"])):
        if source in known:
            yield Note(f"Cite for {source}: {known[source]}.")


def _protocol(meta: Mapping) -> Iterator[Note | Table]:
    picked = "The last epoch was kept" if "last-epoch" in meta["flaws"] else "The validation chips picked the epoch"
    yield Note(f"Protocol {meta['protocol']}. {picked}; the test chips were asked once.")
    if not meta["flaws"]:
        yield Note("None of the published code's flaws is switched on.")
    else:
        count = len(meta["flaws"])
        yield Note(
            f"{count} flaw{'s' * (count > 1)} of the published code {'are' if count > 1 else 'is'} switched on: these "
            "scores are not those of a sound protocol.",
            warning=True,
        )
        what = [SWITCHES.get(flaw.replace("-", "_"), HEADS_FLAW) for flaw in meta["flaws"]]
        yield Table("Flaws", pd.DataFrame({"flaw": meta["flaws"], "what it does": what}))
    if meta["changed"]:
        yield Note(f"Other than in the protocol: {', '.join(meta['changed'])}.")


def _settings(content: Mapping) -> Table:
    meta = content["meta"]
    settings = {name: value for name, value in meta["settings"].items() if name not in LEFT_OUT and value != ""}
    settings["picked epoch"] = f"{meta['picked_epoch']} of {meta['epochs']}"
    if meta["seconds"] is not None:
        settings["seconds"] = f"{meta['seconds']:.1f}"
    frame = pd.DataFrame({"setting": list(settings), "value": [str(value) for value in settings.values()]})
    return Table("Settings", frame)


def _scores(scores: pd.DataFrame, meta: Mapping) -> Iterator[Table]:
    frame = scores[["Tested", "TestChips", "MacroF1", "MacroF1_low", "MacroF1_high", "Accuracy", "MCC", "Collapsed"]]
    marked = {index: "answers one class only" for index, row in scores.iterrows() if row["Collapsed"]}
    yield Table(
        "On each test set. In percent, with a 95 % interval over vessels, or over chips where these have none",
        frame.drop(columns="Collapsed"),
        intervals={"MacroF1": ("MacroF1_low", "MacroF1_high")},
        marked=marked,
    )
    of_classes = [column for column in scores if column.endswith("-F1")]
    frame = scores[["Tested", *of_classes]].rename(columns=dict(zip(of_classes, meta["classes"], strict=True)))
    flawed = ", on its own chips only" if "own-rows-scores" in meta["flaws"] else ""
    yield Table(f"F1 of each class{flawed}, in percent", frame)


def _limits(content: Mapping, scores: pd.DataFrame, view: Mapping[str, PreparedSet], simulated: bool) -> Iterator[str]:
    meta = content["meta"]
    for _, row in scores.iterrows():
        if row["Collapsed"]:
            yield f"On {row['Tested']}, it answers one class whatever it is shown."
        if row["MacroF1_high"] - row["MacroF1_low"] > WIDE_POINTS:
            width = row["MacroF1_high"] - row["MacroF1_low"]
            yield f"Its macro-F1 on {row['Tested']} is known to within {width:.0f} points only."
        if row["ECE"] > BADLY_CALIBRATED:
            yield (
                f"Its probabilities on {row['Tested']} are no frequencies: they are {row['ECE']:.0f} points off on "
                "average (expected calibration error)."
            )
    if meta.get("stopped"):
        yield f"Training ended early: {meta['stopped']}."
    yield from _elsewhere(scores, meta)
    yield from _few_chips(view, meta["classes"])
    sensors = {kind for name in meta["trained"].split("+") for kind in view[name].manifest["sensor"] if kind}
    if len(sensors) == 1:
        yield f"It has seen {sensors.pop()} only."
    if simulated:
        yield "It has seen no real ship."
    yield f"It knows {', '.join(meta['classes'])}, and answers with one of them whatever it is shown."
    if "familiarity" in content:
        familiarity = Familiarity.from_state(content["familiarity"])
        yield f"predict.py marks images unlike its training data. {familiarity.caveat}"


def _elsewhere(scores: pd.DataFrame, meta: Mapping) -> Iterator[str]:
    """What it loses on other sets than its own."""
    by_set = scores.set_index("Tested")["MacroF1"]
    target = meta["trained"].rpartition("+")[2]
    if target not in by_set:
        return
    for tested, macro_f1 in by_set.items():
        lost = by_set[target] - macro_f1
        if tested != target and lost > 0:
            yield f"On {tested} its macro-F1 is {lost:.1f} points below that on {target}."


def _few_chips(view: Mapping[str, PreparedSet], classes: Sequence[str]) -> Iterator[str]:
    for name, prepared in view.items():
        tested = prepared.manifest[prepared.manifest["split"] == "test"]
        counts = tested["class"].value_counts().reindex(list(classes), fill_value=0)
        few = [f"{count} of {kind}" for kind, count in counts.items() if count < FEW_CHIPS]
        if few:
            yield f"Few test chips in {name}: {', '.join(few)}."
