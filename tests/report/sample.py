"""A report with every block in its usual size: made-up figures, as a comparison of seven models gives them."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from sarship.report import Bar, Bars, Block, Confusion, Curve, Curves, HeatMap, Note, Picture, Section, Table

ROOT = Path(__file__).resolve().parents[2]
SHEET = ROOT / "Exp_images" / "samples" / "CNN_Mixed.png"
TITLE = "Ship classification in SAR images: seven models on three data sets"
INTRO = (
    "Macro F1 in percent on the test chips of each set, means over five seeds, with 95 % intervals from a bootstrap "
    "over vessels. No vessel is in two splits. Baselines are grey in the tables: a network that does not pass them has "
    "learnt nothing that is worth its training.\n\nEvery figure here can be computed again from predictions.csv."
)
SETS = ("Fusar", "OpenSARShip", "Mixed")
CLASSES = ("Cargo", "Fishing", "Tanker")
MODELS = {
    "Fine_ResNet": 72.4,
    "Fine_VGG": 70.1,
    "ResNet": 66.0,
    "VGG": 63.2,
    "CNN": 58.9,
    "HOG_SVM": 55.3,
    "Majority": 26.7,
}
BASELINES = ("HOG_SVM", "Majority")
FLAWS = {
    "random_split": 8.7,
    "last_epoch": -1.2,
    "own_rows_scores": 11.9,
    "inverted_split": -7.4,
    "overlapping_mix": 5.6,
    "test_time_flip": -0.3,
    "carry_weights_over": 1.8,
    "drifting_batchnorm": -2.1,
    "detached_finetune": -4.4,
    "pooled_cam": 0.0,
    "published heads": -3.0,
    "published augmentation": -0.8,
    "learning rate 0.001 for every model": -1.6,
    "cross-entropy without class weights": -2.7,
}
LOSSES = (
    "cross_entropy",
    "weighted_cross_entropy",
    "focal",
    "class_balanced",
    "ldam",
    "logit_adjusted",
    "label_smoothing",
    "improved_cross_entropy",
    "balanced_softmax",
)
SAMPLERS = ("none", "balanced", "square_root")


def rich_sections() -> list[Section]:
    """Every kind of block; the same at every call."""
    random = np.random.default_rng(0)
    return [
        Section("Ranking", _ranking(random)),
        Section("Does it carry over to the other data set?", [_transfer(random)]),
        Section("What each flaw of the published protocol does", _flaws(random)),
        Section("Losses and samplers", [_losses(random)]),
        Section("How training went", _curves(random), side_by_side=True),
        Section("Which classes are confused", _confusions(random), side_by_side=True),
        Section("What the networks look at", _pictures()),
        Section("All runs", [_every_run(random)]),
    ]


def _ranking(random: np.random.Generator) -> Sequence[Block]:
    rows = []
    for place, (model, score) in enumerate(MODELS.items(), start=1):
        row = {"Model": model, "Rank": place}
        for name, shift in zip(SETS, (0, 6.4, 2.1), strict=True):
            mean, half = score + shift + random.normal(0, 1.5), random.uniform(3, 8)
            row |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
        known = None if model == "Majority" else score + 15
        rows.append(row | {"AUROC": known, "Seeds": 1 if model in BASELINES else 5})
    frame = pd.DataFrame(rows)
    marked = {5: "Baseline: a linear classifier on gradients", 6: "Baseline: always the commonest class"}
    bars = [
        Bar(f"{row.Model}, {name}", row[name], row[f"{name}_low"], row[f"{name}_high"], name)
        for name in SETS
        for _, row in frame.iloc[:5].iterrows()
    ]
    chart = (
        "Macro F1 on the test chips. The line in the bar is the 95 % interval; where they overlap, no order is shown."
    )
    table = "Mean over seeds, and interval. A click on a head sorts."
    intervals = {name: (f"{name}_low", f"{name}_high") for name in SETS}
    return [
        Note("Fine-tuned networks lead on every set, by less than the width of an interval. Which is first is open."),
        Note("Two runs of VGG on Fusar answer one class only; they count with what they scored.", warning=True),
        Bars(chart, bars, "%", {"Majority": 26.7, "HOG and linear SVM": 55.3}),
        Table(table, frame, intervals=intervals, marked=marked),
    ]


def _transfer(random: np.random.Generator) -> HeatMap:
    trained = [f"{model}, {name}" for model in ("Fine_ResNet", "VGG", "CNN") for name in SETS]
    same = np.tile(np.eye(3), (3, 1))
    scores = pd.DataFrame(42 + 27 * same + random.normal(0, 4, (9, 3)), index=trained, columns=SETS)
    scores.iloc[7, 1] = np.nan
    details = scores.map(lambda value: f"[{value - 5:.1f}, {value + 5:.1f}]")
    caption = "Macro F1 by training set and test set. Off the diagonal a network meets a sensor that it has never seen."
    return HeatMap(caption, scores, "Trained", "Tested", 20, 80, details)


def _flaws(random: np.random.Generator) -> Sequence[Block]:
    halves = random.uniform(0.8, 3, len(FLAWS))
    bars = [
        Bar(name, effect, effect - half, effect + half)
        for (name, effect), half in zip(FLAWS.items(), halves, strict=True)
    ]
    frame = pd.DataFrame(
        {
            "Flaw": list(FLAWS),
            "Effect": list(FLAWS.values()),
            "Low": [bar.low for bar in bars],
            "High": [bar.high for bar in bars],
            "Clear of zero": [bar.low > 0 or bar.high < 0 for bar in bars],
        }
    )
    caption = "What one flaw alone adds to macro F1. To the right: the published figure looks better than it is."
    return [
        Bars(caption, bars, "points"),
        Table("The same figures.", frame, intervals={"Effect": ("Low", "High")}, folded=True),
    ]


def _losses(random: np.random.Generator) -> Table:
    frame = pd.DataFrame([{"Loss": loss, "Sampler": sampler} for loss in LOSSES for sampler in SAMPLERS])
    scores = random.normal(64, 4, len(frame))
    frame = frame.assign(MacroF1=scores, Low=scores - 4.2, High=scores + 4.4)
    frame = frame.assign(**{"F-Recall": random.normal(50, 14, len(frame)), "ECE": random.uniform(2, 16, len(frame))})
    frame["Runs"] = 5
    frame.loc[4, ["MacroF1", "Low", "High", "ECE"]] = None
    marked = {4: "Collapsed: answers Cargo only"}
    caption = "Loss and sampler, CNN on Mixed."
    return Table(caption, frame, intervals={"MacroF1": ("Low", "High")}, marked=marked, folded=True)


def _curves(random: np.random.Generator) -> Sequence[Block]:
    epochs = list(range(1, 31))
    scores, losses = [], []
    for place in range(10):
        rise = 1 - np.exp(-np.array(epochs) / (3 + place))
        score = list((74 - 3 * place) * rise + random.normal(0, 1, 30))
        if place == 3:
            score[10:13] = [None] * 3
        scores.append(Curve(f"{list(MODELS)[place % 5]}, seed {place // 5 + 1}", epochs, score, 12 + place))
        loss = 1.1 - 0.8 * rise + 0.02 * place + random.normal(0, 0.02, 30)
        losses.append(Curve(scores[-1].label, epochs, list(loss)))
    caption = "Macro F1 on the val chips. The point is the epoch whose weights were kept."
    return [
        Curves(caption, scores, "Epoch", "Macro F1 (%)"),
        Curves("Loss on the train chips.", losses, "Epoch", "Loss (nats)"),
    ]


def _confusions(random: np.random.Generator) -> Sequence[Block]:
    return [
        Confusion(f"{model} on {name}.", CLASSES, (random.poisson(9, (3, 3)) + 60 * np.eye(3, dtype=int)).tolist())
        for model in ("Fine_ResNet", "CNN")
        for name in SETS
    ]


def _pictures() -> Sequence[Block]:
    text = "On each pair: the chip, and where the class activation lies. A constant map: the network looks nowhere."
    return [Note(text), Picture("CNN on Mixed. Correct answers bear a tick, wrong ones a cross.", SHEET)]


def _every_run(random: np.random.Generator) -> Table:
    scores = [
        f"{part}{score}" for part in ("", "C-", "F-", "T-") for score in ("Accuracy", "Precision", "Recall", "F1")
    ]
    rows = []
    for model, name, seed in product(("CNN", "VGG", "Fine_ResNet"), SETS, (1, 2)):
        row = {"Run": f"{model}_{name}_seed{seed}", "Trained": name, "Tested": name}
        row |= dict(zip(scores, random.uniform(20, 95, len(scores)), strict=True))
        row |= {"MCC": random.uniform(0, 0.6), "Protocol": "strict", "Seed": seed, "Seconds": random.uniform(40, 900)}
        rows.append(row)
    return Table("Every run, as in scores.csv.", pd.DataFrame(rows), folded=True)
