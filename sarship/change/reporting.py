"""What parts of detect_changes.py show: tables, as printed and as files, and the figures beside them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sarship.change import figures
from sarship.change.cover import COVERS
from sarship.change.earlier import CLOSEST
from sarship.change.evaluation import COLUMNS, Score, Tally, comparable, predict
from sarship.change.injection import Changed
from sarship.change.predictor import Predictor, name_of, read_model
from sarship.change.sample_set import SampleSet
from sarship.change.series import POLARIZATIONS
from sarship.change.what_if import (
    MOST_CHANGED,
    Answer,
    Question,
    agreement,
    ask,
    choose_samples,
    with_truth,
)
from sarship.command import UserError, log
from sarship.files import whole_file

PUBLISHED = Path(__file__).resolve().parents[2] / "studies" / "published" / "change_detection.csv"
PREDICTED = "predicted image"  # "predicted image without weather" is in the published file, too
CHANGED_COLUMNS = (
    "change", "band", "cover", "samples", "pixels", "mean_db", "spread_db", "true_mean_db", "true_spread_db",
    "correlation", "slope", "share_where_changed",
)  # fmt: skip
FEWEST_PIXELS = 100  # of a cover that something is said of


def model_paths(folder: Path) -> list[Path]:
    """Trained models, the full one first. Raises UserError if there is none."""
    found = [path for path in folder.glob("*.pt") if not path.name.startswith(".")]
    if not found:
        raise UserError(f"{folder}: holds no model; run detect_changes.py train")
    return sorted(found, key=lambda path: (len(read_model(path)["meta"]["settings"]["without"]), path.name))


def check_data(predictor: Predictor, samples: SampleSet, path: Path) -> None:
    """UserError if a model was trained on other samples: places that test here may have trained it."""
    if predictor.meta["settings"]["data"] != samples.fingerprint():
        raise UserError(f"{path}: was trained on other samples; train again with --overwrite, or remove it")


def input_name(predictor: Predictor) -> str:
    """What the input of a classifier is called in tables."""
    without, seed = predictor.meta["settings"]["without"], predictor.meta["settings"]["seed"]
    name = f"{PREDICTED} without {name_of(without)}" if without else PREDICTED
    if predictor.withheld:
        name += f", {name_of(predictor.withheld)} withheld"
    return name if seed == 1 else f"{name}, seed {seed}"


def learning_of(path: Path, history: Sequence[dict], picked_epoch: int) -> None:
    """The learning curve beside a model file."""
    figures.learning(history, picked_epoch, path.with_suffix(".learning.png"), path.stem)


def write_csv(rows: Sequence[Mapping], columns: Sequence[str], path: Path) -> None:
    """Write a table, whole or not at all."""
    with whole_file(path) as written, written.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_scores(rows: Sequence[Score], path: Path) -> None:
    """change_scores.csv."""
    write_csv([each.row() for each in rows], COLUMNS, path)


def published() -> dict[tuple[str, str, str], str]:
    """Published value by classifier, change and input; of a value that stands in two tables, the later."""
    with PUBLISHED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    renamed = {"previous image (method 1)": CLOSEST}
    return {(row["classifier"], row["change"], renamed.get(row["input"], row["input"])): row["value"] for row in rows}


def table(rows: Sequence[Score]) -> str:
    """The scores in the form of the published tables, Markdown, with the published figures beside."""
    beside = published()
    head = ("classifier", "change", "difference image by", "metric", "value [95 %]", "gain on the best previous image")
    lines = [f"| {' | '.join((*head, 'published'))} |", "|---|---|---|---|---:|---:|---:|"]
    for row in sorted(rows, key=lambda each: (each.classifier != "threshold", each.change, -each.value)):
        gain = "" if row.gain is None else f"{row.gain:+.3f} [{row.gain_interval[0]:+.3f}, {row.gain_interval[1]:+.3f}]"
        value = f"{row.value:.3f} [{row.interval[0]:.3f}, {row.interval[1]:.3f}]"
        printed = beside.get((row.classifier, row.change, row.input), "")
        lines.append(f"| {row.classifier} | {row.change} | {row.input} | {row.metric} | {value} | {gain} | {printed} |")
    counts = sorted({(row.change, row.samples, row.places) for row in rows})
    said = "; ".join(f"{change}: {samples} samples of {places} places" for change, samples, places in counts)
    return "\n".join([*lines, "", f"{said}. Intervals are over places."])


def draw_rocs(tallies: Mapping[str, Tally], path: Path, change: str, samples: int) -> None:
    """ROC curves of thresholds on all difference images."""
    curves = {name: (*one.counts.roc(), float(one.counts.auc()[0])) for name, one in tallies.items()}
    figures.roc_curves(curves, path, f"Simulated change: {change}, {samples} samples")


def draw_samples(
    samples: SampleSet, changed: Changed, named: tuple[str, Predictor], max_angle_deg: float, path: Path
) -> None:
    """A sheet of samples, evenly over them, of those with the most change the first each."""
    name, predictor = named
    fitting = comparable(samples, changed, max_angle_deg)
    rows = []
    for part in np.array_split(np.arange(len(fitting)), min(figures.MOST_SAMPLES, len(fitting))):
        number, choice = max((fitting[index] for index in part), key=lambda each: changed.masks[each[0]].sum())
        sample = changed.samples[number]
        earlier = samples.earlier_images(sample)[choice[CLOSEST]]
        predicted = predict(predictor, samples, [sample])[0]
        newest = changed.images[number].astype(np.float32)
        rows.append({"newest": newest, "predicted": predicted, "earlier": earlier, "mask": changed.masks[number]})
    title = f"Simulated change in the forest: {changed.title}"
    figures.changed_samples(rows, (name, "previous image (method 1)"), path, title)


# -- conditions


def ask_and_draw(
    predictor: Predictor, samples: SampleSet, question: Question, most: int, series: Path, folder: Path
) -> list[dict]:
    """Rows of conditions.csv for one question, a band each; draws conditions_<name>.png below `folder`."""
    chosen = choose_samples(samples, question, most)
    if not chosen:
        raise UserError(f"--change {question.name}: no test sample has the weather for it; leave it out")
    answers = ask(predictor, samples, chosen, question)
    if all((series / area / "simulation.json").exists() for area in {each.area for each in chosen}):
        answers = with_truth(answers, samples, series, question)
    else:
        log(f"{series}: is not the simulated series of these samples; without it nothing says what truly changes")
    shown = sorted(answers, key=lambda each: -float(np.square(each.change if each.truth is None else each.truth).sum()))
    shown = shown[: len(shown) // 2 + 1][:: max(1, len(shown) // 8)][: figures.MOST_SAMPLES]
    elevations = [samples.elevation(each.sample) for each in shown]
    path = folder / f"conditions_{question.name}.png"
    figures.what_if(shown, question.heads, elevations, path, f"Only {question.title}")
    covers = np.stack([samples.cover(each.sample) for each in answers])
    kinds = {"all": np.ones_like(covers, bool)} | {name: covers == code for name, code in COVERS.items()}
    return [
        _changed_row(question, answers, band, name, chosen)
        for band in range(2)
        for name, chosen in kinds.items()
        if chosen.sum() >= FEWEST_PIXELS
    ]


def _changed_row(question: Question, answers: Sequence[Answer], band: int, cover: str, chosen: np.ndarray) -> dict:
    """A row of conditions.csv. chosen: (n, p, p) bool, the pixels of a cover."""
    changes = np.stack([answer.change[band] for answer in answers])[chosen]
    row = {"change": question.name, "band": POLARIZATIONS[band], "cover": cover, "samples": len(answers)}
    row |= {"pixels": changes.size, "mean_db": f"{changes.mean():.3f}", "spread_db": f"{changes.std():.3f}"}
    if answers[0].truth is None:
        return row
    return row | {name: f"{value:.3f}" for name, value in agreement(answers, band, chosen).items()}


def what_if_table(found: Mapping[str, list[dict]], path: Path) -> str:
    """Write conditions.csv and say what is in it."""
    rows = [row for part in found.values() for row in part]
    write_csv(rows, CHANGED_COLUMNS, path)
    lines = [f"| {' | '.join(CHANGED_COLUMNS)} |", f"|---|---|---|{'---:|' * (len(CHANGED_COLUMNS) - 3)}"]
    lines += [f"| {' | '.join(str(row.get(name, '')) for name in CHANGED_COLUMNS)} |" for row in rows]
    lines += [
        "",
        f"share_where_changed: of the predicted change's energy, what lies in the {100 * MOST_CHANGED:.0f} % of pixels "
        "that truly change most.",
        f"Table: {path}  Pictures: {path.with_name('conditions_<change>.png')}",
    ]
    return "\n".join(lines)
